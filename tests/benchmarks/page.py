"""The tables of speed in the documents, from the figures of the benchmarks.

    python -m tests.benchmarks.page --from build/benchmarks

takes the figures that are there into the project's own, docs/results/speed.json, and writes the
tables of all of these into README.md and docs/speed.md, between their marks.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
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
    names = opponents_of(figures)
    rows = [
        [
            title(case),
            f"{case['images_per_second']['median']:,.0f}",
            *(turns.shown(found(case, name, case["torch"])) for name in names),
        ]
        for case in figures["cases"]
    ]
    head = ["Network, batch size, optimizer", "Images/s", *(f"to {name}" for name in names)]
    return (
        f"How many times the images a second of each opponent, in its better precision, mnist-ops "
        f"trains on the whole machine: median (lowest to highest, turns). {where(figures)}.\n\n"
        + table(head, rows)
    )


def resnet(figures: dict[str, Any]) -> str:
    """Networks: all opponents, versions of torch, kernels."""
    cases = figures["cases"]
    versions = sorted({each["torch"] for case in cases for each in case["opponents"]})
    text = against(figures) + "\n" + floor(figures)
    if len(versions) > 1:
        rows = [
            [title(case), name, *(turns.shown(found(case, name, version)) for version in versions)]
            for case in cases
            for name in opponents_of(figures)
        ]
        text += (
            f"\nThe same with the opponents under other versions of torch, mnist-ops under "
            f"{cases[0]['torch']}, all in the same turns:\n\n"
            + table(["Network", "Opponent", *(f"torch {v}" for v in versions)], rows)
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
    """Kernels of oneDNN by contestant, and those that are reference kernels."""
    rows = []
    for case in cases:
        for each in (case | {"name": "mnist-ops", "precision": "bfloat16"}, *case["opponents"]):
            named = ", ".join(
                f"`{name}` {share:.0%}"
                for name, share in each["kernels"]["implementations"].items()
                if share >= SMALLEST_SHARE
            )
            reference = f"{each['kernels']['reference']:.0%}"
            rows.append(
                [title(case), each["name"], each["torch"], each["precision"], named, reference]
            )
    head = ["Network", "Trained by", "torch", "Precision", "Kernels", "Reference kernels"]
    return (
        "What oneDNN computed one step with, as shares of the step's time from "
        f"{SMALLEST_SHARE:.0%} on:\n\n" + table(head, rows)
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
    head = ["Start-up", "CPU seconds", "MB", "Imports"]
    return _before_and_after(
        figures,
        head,
        lambda side: [turns.shown(side["cpu_s"]), str(side["memory_mb"]), _words(side["imported"])],
    )


def report(figures: dict[str, Any]) -> str:
    """Time and memory of the report."""
    head = ["`summarize`", "Seconds", "CPU seconds", "MB"]
    return _before_and_after(
        figures,
        head,
        lambda side: [
            turns.shown(side["wall_s"]),
            turns.shown(side["cpu_s"]),
            str(side["memory_mb"]),
        ],
    )


def _before_and_after(figures: dict[str, Any], head: Sequence[str], cells: Any) -> str:
    sides = [side for side in ("before", "now") if side in figures["cases"][0]]
    rows = [
        [case["case"] + (f", {side}" if len(sides) > 1 else ""), *cells(case[side])]
        for case in figures["cases"]
        for side in sides
    ]
    which = f" Before is commit {figures['against'][:7]}." if figures["against"] else ""
    return f"{where(figures)}.{which}\n\n" + table(head, rows)


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


def opponents_of(figures: dict[str, Any]) -> list[str]:
    """Names of the opponents, in their order."""
    return list(
        dict.fromkeys(each["name"] for case in figures["cases"] for each in case["opponents"])
    )


def found(case: dict[str, Any], name: str, version: str) -> dict[str, float] | None:
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


def _words(names: list[str]) -> str:
    return ", ".join(names) or "none of the large ones"


if __name__ == "__main__":
    main()
