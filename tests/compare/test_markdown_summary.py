"""The results in a README: what stands there is what the runs say, and the rest stays."""

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from compare_runs import cuda_not_measured, expected, store, summarize

from mnist_ops.compare import CannotWrite, Report, published
from mnist_ops.compare.formatting import agreement_rows
from mnist_ops.compare.markdown_summary import best_results, markdown_summary
from mnist_ops.compare.sections import BEYOND, RESULTS, SUMMARY, marks
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study.specs import SvmSpec
from pipelines.paper import PAPER

BEGIN, END = marks(RESULTS)
PAPER_SIZE = expected("paper")
OWN = "# Mine\n\nBefore, `{0}`.\n\n{0}\nold\n{1}\n\nAfter.\n"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One for all tests, which change nothing in it; beside its folder they write their own."""
    # Of the study's size: of another one no number disagrees.
    on_cpu = [spec for spec in PAPER_SIZE if spec.device == "cpu"]
    folder = tmp_path_factory.mktemp("digest") / "report"
    reasons = cuda_not_measured(PAPER_SIZE)
    return summarize(store(on_cpu, "paper"), expected, reasons, folder, formats=["json"])


def test_every_verdict_and_count_is_the_report_s(report: Report) -> None:
    text = markdown_summary(PAPER, report.results, {})
    total = report.results.selection.total
    assert f"{total.finished} of {total.expected} cells" in text
    lines = text.splitlines()
    for finding in report.results.findings:
        (line,) = [line for line in lines if line.startswith(f"| {finding.id} ")]
        assert f"**{finding.verdict}**" in line
    disagreeing = int((report.results.agreement["agrees"] == "no").sum())
    assert disagreeing
    assert f"The {disagreeing} published numbers that disagree" in text
    agreeing = Report(
        **vars(report)
        | {
            "results": dataclasses.replace(
                report.results, agreement=report.results.agreement.assign(agrees="yes")
            )
        }
    )
    assert "that disagree" not in markdown_summary(PAPER, agreeing.results, {})
    for headline in report.results.headlines:
        assert f"- {headline.question}: {headline.answer}" in lines


def test_the_best_results_are_named_as_what_they_are(report: Report) -> None:
    """Beside the study's best configuration stands the one that was measured, not its name."""
    text = best_results(PAPER, report.results)
    table = next(table for table in report.results.tables if table.number == 11)
    rows = table.frame[table.frame["chosen_on"] == "validation"]
    for configuration in rows["configuration_measured"]:
        assert f"({configuration})" in text
    assert f"Of {len(report.results.findings)} claims" in text
    assert len(text.splitlines()) == 2 + len(rows) + 2


def test_same_runs_same_text(report: Report) -> None:
    assert markdown_summary(PAPER, report.results, {}) == markdown_summary(
        PAPER, report.results, {}
    )


def test_only_the_section_is_replaced(report: Report, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(OWN.format(BEGIN, END))
    report.put_into(readme)
    once = readme.read_text()
    assert once.startswith(f"# Mine\n\nBefore, `{BEGIN}`.\n\n{BEGIN}\n\nPreset `paper`")
    assert once.endswith(f"{END}\n\nAfter.\n")
    assert "\nold\n" not in once
    report.put_into(readme)
    assert readme.read_text() == once


def test_a_file_gets_the_sections_that_it_has_marks_for(report: Report, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "\n".join(["above", *marks(BEYOND), "between", BEGIN, END, *marks(SUMMARY), "below", ""])
    )
    report.put_into(page)
    text = page.read_text()
    assert [topic.title for topic in report.results.topics] == [
        line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")
    ]
    assert text.index("## ") < text.index("between") < text.index("Preset `paper`")
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")


def test_pictures_are_linked_from_where_the_file_is(report: Report) -> None:
    picture = report.page.parent / "figures" / f"{next(iter(PAPER.summary_figures))}.png"
    shutil.copy(Path(__file__).parents[2] / "docs" / "predict.png", picture)
    drawn = Report(**vars(report) | {"paths": (*report.paths, picture)})
    readme = report.page.parent.parent / "pages" / "README.md"
    readme.parent.mkdir()
    readme.write_text(OWN.format(BEGIN, END))
    drawn.put_into(readme)
    assert f"](../report/figures/{picture.name})" in readme.read_text()
    copied = readme.parent / "pictures" / picture.name
    drawn.put_into(readme, copied.parent)
    assert f"](pictures/{picture.name})" in readme.read_text()
    assert copied.read_bytes() == picture.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        BEGIN,
        f"{END}\n{BEGIN}\n",
        f"{BEGIN}\n{BEGIN}\n{END}",
        f"{BEGIN}\n{END}\n{BEGIN}\n{END}",
        f"{BEGIN}\n{marks(BEYOND)[0]}\n{END}\n{marks(BEYOND)[1]}",
    ],
)
def test_a_file_without_the_marks_is_left_alone(report: Report, tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(InvalidInput, match="once each"):
        report.put_into(readme)
    assert readme.read_text() == text


def test_a_folder_in_the_way_is_named(report: Report, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(OWN.format(BEGIN, END))
    picture = report.page.parent / "figures" / f"{next(iter(PAPER.summary_figures))}.png"
    picture.write_bytes(b"")
    drawn = Report(**vars(report) | {"paths": (*report.paths, picture)})
    (tmp_path / "file").write_text(json.dumps(1))
    with pytest.raises(CannotWrite, match="not a folder"):
        drawn.put_into(readme, tmp_path / "file")
    assert readme.read_text() == OWN.format(BEGIN, END)


def test_a_file_that_is_no_text_is_named(report: Report, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="UTF-8"):
        report.put_into(readme)


@pytest.mark.slow
def test_all_numbers_are_compared_on_the_official_test_images_too(tmp_path: Path) -> None:
    """The study may have kept these apart: runs on them explain, and replace nothing."""
    specs = [spec for spec in expected("paper") if spec.study == "svm_grid"]
    apart = [
        dataclasses.replace(spec, parts="official", seed=seed) for spec in specs for seed in (0, 1)
    ]

    def of_pool(spec: SvmSpec) -> dict[str, float]:
        return {"test_accuracy": _published(spec) - 0.1, "test_f1": 0.1}

    def of_official(spec: SvmSpec) -> dict[str, float]:
        # As published but for C = 10, where both ways are wrong.
        off = -0.2 if spec.C == 10 else 0.001 * (-1) ** spec.seed
        return {"test_accuracy": _published(spec) + off, "test_f1": 0.2 + 0.001 * spec.seed}

    pooled, official = store(specs, "paper", of_pool), store(apart, "paper", of_official)
    runs = pd.concat([pooled, official.assign(run_id="o" + official["run_id"])])
    report = summarize(runs, lambda preset: specs, {}, tmp_path, formats=["json"])
    assert report.results.selection.preset == "paper"
    frame = report.results.agreement[report.results.agreement["table"].isin([5, 6])]
    accuracies = frame[frame["metric"] == "accuracy"]
    assert (accuracies["agrees"] == "no").all()
    assert Counter(accuracies["agrees_official"]) == {"yes": 16, "no": 8}
    rbf = "MNIST, SVM, RBF, C=1.0, gamma=scale"
    (row,) = (row for row in agreement_rows(accuracies) if row["description"] == rbf)
    assert row["note"].endswith("; on official test images 94.85 (93.55 to 95.93): agrees")
    sentence = "0 agree on the former, 16 on the latter."
    assert sentence in markdown_summary(PAPER, report.results, {})
    assert sentence in report.page.read_text()
    without = summarize(pooled, lambda preset: specs, {}, tmp_path, formats=["json"])
    assert (without.results.agreement["agrees_official"] == "").all()
    assert "official" not in markdown_summary(PAPER, without.results, {})


def _published(spec: SvmSpec) -> float:
    table = 5 if spec.dataset == "MNIST" else 6
    fields = {"kernel": spec.kernel, "C": spec.C, "gamma": spec.gamma}
    return PAPER.published.value(table, published.ACCURACY, **fields) / 100
