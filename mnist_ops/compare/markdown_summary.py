"""The report in a page of Markdown, as a README shows it: what was measured, how it compares.

The same runs give the same text. What is formatted into `Markdown` is escaped by it.
"""

from collections import Counter
from collections.abc import Mapping

from mnist_ops.compare import agreement as published_numbers
from mnist_ops.compare.findings.finding import verdicts
from mnist_ops.compare.formatting import agreement_rows, finding_texts
from mnist_ops.compare.joint_agreement import sentence
from mnist_ops.compare.official_images import official_sentence
from mnist_ops.compare.paper import Paper
from mnist_ops.compare.provenance import provenance
from mnist_ops.compare.render import Markdown, markdown_table
from mnist_ops.compare.results import Results
from mnist_ops.compare.runs import STUDY, TIME
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.core import keys

_AGREEMENT_WORDS = (
    published_numbers.YES,
    published_numbers.NO,
    published_numbers.NOT_COMPARABLE,
    published_numbers.NOT_MEASURED,
)
_COUNTED = {
    published_numbers.YES: "agree",
    published_numbers.NO: "disagree",
    published_numbers.NOT_COMPARABLE: "are not comparable",
    published_numbers.NOT_MEASURED: "were not measured",
}


def markdown_summary(paper: Paper, results: Results, figures: Mapping[str, str]) -> str:
    """Return the report as Markdown.

    Args:
        paper: what was rerun.
        results: what was measured.
        figures: stem -> address of its picture, for those that are shown.
    """
    titles = paper.summary_figures
    parts = [
        _runs(results),
        _best(paper, results),
        _headlines(results),
        *(Markdown(f"![{titles[stem]}]({address})") for stem, address in figures.items()),
        _agreement(results),
        _disagreements(results),
        _findings(results),
        _times(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def best_results(paper: Paper, results: Results) -> str:
    """Return as Markdown the best results, and how many numbers and claims hold."""
    agreement = Counter(results.agreement["agrees"])
    numbers = ", ".join(f"{agreement[word]} {_COUNTED[word]}" for word in _AGREEMENT_WORDS)
    selection = results.selection
    return (
        f"{_best(paper, results)}\n\n"
        f"Of {len(results.agreement)} published numbers {numbers}. "
        f"Of {len(results.findings)} claims {_verdicts(results)}. "
        f"These are {selection.total.finished} of {selection.total.expected} cells at preset "
        f"{Markdown.code(selection.preset)}.\n"
    )


def _verdicts(results: Results) -> str:
    return ", ".join(f"{n} {verdict}" for verdict, n in verdicts(results.findings).items())


def _runs(results: Results) -> Markdown:
    selection = results.selection
    source = provenance(selection.runs)
    studies = Markdown(", ").join(
        Markdown("{} of {} of {}").format(row.finished, row.expected, Markdown.code(row.study))
        for row in selection.coverage
    )
    total = selection.total
    machines = "; ".join(f"{m.text} ({m.runs} runs)" for m in source.machines)
    libraries = ", ".join(f"{name} {'/'.join(v)}" for name, v in source.versions.items())
    without = Counter(cell.reason or cell.status for cell in selection.not_finished)
    lacking = Markdown().join(
        Markdown(" Without a result: {} ({}).").format(n, why) for why, n in without.items()
    )
    return Markdown(
        "Preset {}: {} of {} cells ({}).{}\n\nMeasured from {} to {} on {}, with {}.{}"
    ).format(
        Markdown.code(selection.preset),
        total.finished,
        total.expected,
        studies,
        lacking,
        source.first,
        source.last,
        machines,
        libraries,
        source.mix and f" {source.mix}",
    )


def _best(paper: Paper, results: Results) -> Markdown:
    head = (
        "Best accuracy (%)",
        "Published",
        "Measured, best by validation",
        "95% of repeats",
        "Agrees",
    )
    return markdown_table(head, paper.best(results), "lllrl")


def _headlines(results: Results) -> Markdown:
    return Markdown("\n").join(
        Markdown("- {}: {}").format(line.question, line.answer) for line in results.headlines
    )


def _agreement(results: Results) -> str:
    frame = results.agreement
    rows = []
    for (number, metric), part in frame.groupby(["table", "metric"], sort=False):
        counts = Counter(part["agrees"])
        rows.append((str(number), str(metric), *(str(counts[w] or "") for w in _AGREEMENT_WORDS)))
    totals = Counter(frame["agrees"])
    rows.append(("all", "", *(str(totals[word]) for word in _AGREEMENT_WORDS)))
    head = ("Table", "Metric", "Agree", "Disagree", "Not comparable", "Not measured")
    return (
        "**Published numbers, by table.** One agrees where it lies where a repeat of the "
        "measurement, with other seeds and images, falls 95% of the time. "
        f"{sentence(results.joint)} {official_sentence(results.official)}".rstrip()
        + f"\n\n{markdown_table(head, rows, 'llrrrr')}"
    )


def _disagreements(results: Results) -> str:
    rows = [
        (
            row["table"],
            row["description"],
            row["metric"],
            row["published"],
            row["measured"],
            row["interval"],
            row["note"],
        )
        for row in agreement_rows(results.agreement)
        if row["agrees"] == published_numbers.NO
    ]
    if not rows:
        return ""
    head = ("Table", "Of", "Metric", "Published", "Measured", "95% of repeats", "Note")
    summary = f"<summary>The {len(rows)} published numbers that disagree</summary>"
    table = markdown_table(head, rows, "lllrrrl")
    # The attribute is for MkDocs, which would leave what is inside as it is.
    return f'<details markdown="1">\n{summary}\n\n{table}\n\n</details>'


def _findings(results: Results) -> str:
    rows = []
    for finding in results.findings:
        texts = finding_texts(finding)
        interval = f" ({texts['interval']})" if texts["interval"] else ""
        effect = f"{texts['effect']} {finding.effect_unit}{interval}" if texts["effect"] else ""
        average = f"on average {texts['average']}" if texts["average"] else ""
        said = "; ".join(part for part in (effect, average, texts["confound"]) if part)
        rows.append((finding.id, finding.claim, Markdown(f"**{texts['verdict']}**"), said))
    head = ("", "Claim of the study", "Verdict", "Effect (95% interval)")
    return f"**Findings: {_verdicts(results)}**\n\n{markdown_table(head, rows, 'llll')}"


def _times(results: Results) -> str:
    runs = results.selection.runs
    rows = []
    for (study, model), part in runs.groupby([STUDY, keys.MODEL], sort=False):
        trained = part[part[TIME] != keys.TIME_ATTRIBUTED]
        hours = trained[keys.TRAIN_TIME_S].sum() / 3600
        attributed = len(part) - len(trained)
        rows.append(
            (
                Markdown.code(str(study)),
                model_label(str(model)),
                str(len(trained)),
                f"{hours:.2f} h" if hours >= 1 else f"{60 * hours:.1f} min",
                str(attributed or ""),
            )
        )
    head = ("Study", "Model", "Trainings", "Training time, one core each", "Cells that share one")
    return f"**How long it took**\n\n{markdown_table(head, rows, 'llrrr')}"
