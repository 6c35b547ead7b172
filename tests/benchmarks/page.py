"""The tables of speed in the documents, from the figures of the benchmarks.

    python -m tests.benchmarks.page --from build/benchmarks

takes the figures that are there into the project's own, docs/results/speed.json, and writes the
tables of all of these into README.md and docs/speed.md, between their marks.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mnist_ops.compare.sections import replace_sections
from mnist_ops.core import keys
from mnist_ops.fitting.resnet.catalog import MODELS
from tests.benchmarks import turns

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "results" / "speed.json"
PARTS = ("resnet", "svm", "start_up", "report")
# Mark and document of each section.
SUMMARY, SPEED = "speed summary", "speed"
DOCUMENTS = {SUMMARY: ROOT / "README.md", SPEED: ROOT / "docs" / "speed.md"}
SMALLEST_SHARE = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="new figures, a file a benchmark"
    )
    options = parser.parse_args()
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    if options.source:
        figures |= {
            part: json.loads(file.read_text(encoding="utf-8"))
            for part in PARTS
            if (file := options.source / f"{part}.json").exists()
        }
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for name, text in sections(figures).items():
        replace_sections(DOCUMENTS[name], {name: text})


def sections(figures: dict[str, Any]) -> dict[str, str]:
    """Text of each section, which is empty without figures."""
    written = {"resnet": resnet, "svm": svm, "start_up": start_up, "report": report}
    parts = [write(figures[part]) for part, write in written.items() if part in figures]
    summary = against(figures["resnet"]) if "resnet" in figures else ""
    return {SUMMARY: summary, SPEED: "\n".join(parts)}


def against(figures: dict[str, Any]) -> str:
    """Networks against each opponent under the same torch."""
    cases = figures["cases"]
    names = dict.fromkeys(each["name"] for case in cases for each in case["opponents"])
    rows = [
        [
            title(case),
            f"{case['images_per_second']['median']:,.0f}",
            *(turns.shown(ratio(case, name, case["torch"])) for name in names),
        ]
        for case in cases
    ]
    head = ["Network, batch size, optimizer", "Images/s", *(f"Against {name}" for name in names)]
    return (
        "How many times as many images a second mnist-ops trains on as each opponent, on the whole "
        f"machine: median (lowest to highest, number of turns). {where(figures)}.\n\n"
        + table(head, rows)
    )


def resnet(figures: dict[str, Any]) -> str:
    """Networks: all opponents, versions of torch, kernels."""
    cases = figures["cases"]
    versions = sorted({each["torch"] for case in cases for each in case["opponents"]})
    rows = [
        [title(case), name, *(turns.shown(ratio(case, name, version)) for version in versions)]
        for case in cases
        for name in dict.fromkeys(
            each["name"] for each in case["opponents"] if each["torch"] != case["torch"]
        )
    ]
    text = against(figures) + "\n" + floor(figures)
    if rows:
        head = [
            "Network, batch size, optimizer",
            "Against",
            *(f"torch {release(v)}" for v in versions),
        ]
        text += (
            "\nThe same with the opponents under other versions of torch, in the same turns; "
            f"mnist-ops has {release(cases[0]['torch'])}:\n\n" + table(head, rows)
        )
    return f"{text}\n{kernels(cases)}"


def floor(figures: dict[str, Any]) -> str:
    """Share of the floor, memory, and the whole grid."""
    rows = [
        [title(case), f"{case['share_of_floor']:.0%}", f"{case['worker_memory_mb']:,.0f}"]
        for case in figures["cases"]
    ]
    grid = figures["grid"]
    return (
        table(["Network, batch size, optimizer", "Share of the floor", "MB a worker"], rows)
        + f"\nAt these rates the {grid['cells']} cells of preset `paper` take {grid['hours']:.1f} "
        f"hours, without evaluation: {grid['trainings']} trainings, as cells that are one training "
        "share it (see [Presets and protocol](protocol.md)).\n"
    )


def kernels(cases: list[dict[str, Any]]) -> str:
    """Kernels of oneDNN by contestant in the first case, and reference kernels in all."""
    steps = [
        [case | {"name": "mnist-ops", "precision": "bfloat16"}, *case["opponents"]]
        for case in cases
    ]
    rows = [
        [
            each["name"],
            release(each["torch"]),
            each["precision"],
            ", ".join(
                f"`{name}` {share:.0%}"
                for name, share in each["kernels"]["implementations"].items()
                if share >= SMALLEST_SHARE
            ),
        ]
        for each in steps[0]
    ]
    reference = max(each["kernels"]["reference"] for found in steps for each in found)
    return (
        f"What oneDNN computed a step of {title(cases[0])} with, as shares of the step's time from "
        f"{SMALLEST_SHARE:.0%} on:\n\n"
        + table(["Trained by", "torch", "Precision", "Kernels"], rows)
        + (
            f"\nReference kernels take up to {reference:.1%} of a step.\n"
            if reference
            else "\nNo step that was measured has a reference kernel.\n"
        )
    )


def svm(figures: dict[str, Any]) -> str:
    """Support vector machines against each opponent."""
    rows = [
        [
            dataset,
            name,
            turns.shown(each["ratio"]),
            turns.shown(each["cpu_ratio"]),
            f"{each['agreement']:.2%}",
        ]
        for dataset, summary in figures["summary"].items()
        for name, each in summary["opponents"].items()
    ]
    head = ["Data set", "Opponent", "Times as long", "Times the CPU time", "Least agreement"]
    return (
        f"Support vector machines, {figures['train_limit']:,} training images: how many times as "
        "long the 12 configurations take elsewhere, and the share of predictions that agree in the "
        f"configuration where fewest do. {where(figures)}.\n\n" + table(head, rows)
    )


def start_up(figures: dict[str, Any]) -> str:
    """Imports and memory by command."""
    measures = {
        "CPU seconds": lambda side: turns.shown(side["cpu_s"]),
        "MB": lambda side: str(side["memory_mb"]),
    }
    text = before_and_after("Start-up", figures, measures)
    return f"Start-up of commands, on a store with one run, and of workers: {text}"


def report(figures: dict[str, Any]) -> str:
    """Time and memory of the report."""
    measures = {
        "seconds": lambda side: turns.shown(side["wall_s"]),
        "CPU seconds": lambda side: turns.shown(side["cpu_s"]),
        "MB": lambda side: str(side["memory_mb"]),
    }
    return f"The report: {before_and_after('`summarize`', figures, measures)}"


def before_and_after(
    what: str, figures: dict[str, Any], measures: dict[str, Callable[[dict[str, Any]], str]]
) -> str:
    """A row a case; a column a measure, or two if there is an older checkout."""
    sides = [side for side in ("before", "now") if side in figures["cases"][0]]
    columns = [(name, side) for name in measures for side in sides]
    rows = [
        [
            case["case"],
            *(measures[name](case[side]) if case[side] else "-" for name, side in columns),
        ]
        for case in figures["cases"]
    ]
    head = [what, *(f"{name}, {side}" if len(sides) > 1 else name for name, side in columns)]
    which = f" Before is commit {figures['against'][:7]}." if figures["against"] else ""
    return f"median (lowest to highest, number). {where(figures)}.{which}\n\n" + table(head, rows)


def where(figures: dict[str, Any]) -> str:
    """The machine and the date in a line."""
    machine = figures["machine"]
    parts = [
        machine[f"{keys.HARDWARE}.cpu"],
        f"{machine[f'{keys.HARDWARE}.cores']} cores",
        machine[keys.INSTRUCTION_SET],
        f"torch {machine[f'{keys.VERSION}.torch']}",
        machine["date"][:10],
    ]
    return ", ".join(part for part in parts if part)


def title(case: dict[str, Any]) -> str:
    """A case in a table."""
    return f"{MODELS[case['model']].title}, {case['batch_size']}, {case['optimizer']}"


def release(version: str) -> str:
    """A version without the kind of its build."""
    return version.partition("+")[0]


def ratio(case: dict[str, Any], name: str, version: str) -> dict[str, float] | None:
    """The ratio to an opponent under a version of torch; None where there is none."""
    return next(
        (
            each["ratio"]
            for each in case["opponents"]
            if (each["name"], each["torch"]) == (name, version)
        ),
        None,
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
