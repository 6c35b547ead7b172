"""The runs recorded with the project: what the documents say is what they say."""

import json
from pathlib import Path

import pytest

from mnist_ops import compare
from mnist_ops.compare.extra_analyses import to_markdown
from mnist_ops.compare.findings import baseline
from mnist_ops.compare.markdown_summary import best_results, markdown_summary
from mnist_ops.compare.sections import BEYOND, RESULTS, SUMMARY, marks
from mnist_ops.ops.reports import write_report
from mnist_ops.tracking import exchange
from pipelines.paper import PAPER

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "mlruns" / "recorded"
PICTURES = ROOT / "docs" / "results"
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> compare.Report:
    with exchange.ExportedRuns([RECORDED]) as runs:
        return write_report(tmp_path_factory.mktemp("recorded"), runs=runs, formats=["json"])


def test_they_are_of_the_study_s_own_size_and_have_a_past(report: compare.Report) -> None:
    assert report.results.selection.preset == "paper"
    runs = report.results.selection.runs
    assert len(runs) == sum(row.finished + row.extra for row in report.results.selection.coverage)
    assert (runs["git_commit"].str.len() == 40).all()
    assert runs["hardware_cpu"].notna().all()
    assert runs["version_torch"].notna().all()


def test_every_table_is_rebuilt(report: compare.Report) -> None:
    assert [table.number for table in report.results.tables] == list(range(1, 12))
    assert len(report.results.agreement) == 160
    lacking = report.results.agreement[report.results.agreement["agrees"] == "not measured"]
    assert (lacking["note"] != "").all()


def test_the_readme_and_the_page_of_results_say_what_they_say(report: compare.Report) -> None:
    best = best_results(PAPER, report.results)
    assert _section(ROOT / "README.md", SUMMARY) == best.strip(), "run: make results"
    expected = markdown_summary(
        PAPER, report.results, {stem: f"results/{stem}.png" for stem in PAPER.summary_figures}
    )
    assert _section(ROOT / "docs" / "results.md", RESULTS) == expected.strip(), "run: make results"
    for stem in PAPER.summary_figures:
        assert (PICTURES / f"{stem}.png").is_file()


def test_the_baseline_is_what_they_found(report: compare.Report) -> None:
    assert report.lost() == []
    assert baseline.recorded(PAPER.baseline) == json.loads(
        baseline.to_json(report.results.findings)
    ), "run: make results"


def test_the_page_beyond_the_study_says_what_they_say(report: compare.Report) -> None:
    stems = [topic.figure.stem for topic in report.results.topics if topic.figure is not None]
    expected = to_markdown(report.results.topics, {stem: f"results/{stem}.png" for stem in stems})
    page = ROOT / "docs" / "beyond-the-study.md"
    assert _section(page, BEYOND) == expected.strip(), "run: make results"
    for stem in stems:
        assert (PICTURES / f"{stem}.png").is_file()


def _section(path: Path, name: str) -> str:
    begin, end = marks(name)
    text = path.read_text(encoding="utf-8")
    return text.partition(f"\n{begin}\n")[2].partition(f"\n{end}\n")[0].strip()


def test_they_are_small() -> None:
    size = sum(path.stat().st_size for path in RECORDED.iterdir())
    assert size < 15 * MEGABYTE
