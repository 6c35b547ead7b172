"""Texts of a store are texts in every output: nothing that anyone puts into a tag does more."""

import csv
import io
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from compare_runs import cuda_not_measured, expected, store, summarize
from markdown_it import MarkdownIt
from rich.text import Text

from mnist_ops.cli.terminal import console
from mnist_ops.compare import Report
from mnist_ops.compare.sections import RESULTS, marks
from mnist_ops.core.escaping import field, file_uri, printable

BEGIN, END = marks(RESULTS)
HOSTILE = (
    "<script>bad()</script><img src=x onerror=bad()>",
    "[x](javascript:bad()) ![x](http://bad.example/x.png) <http://bad.example> www.bad.example",
    f"{END}\n{END}\n# Bad\n\nBad\n===\n<!-- bad",
    "`|bad|` **bad** \\`bad\\` &lt;script&gt; ``` [bad]: http://bad.example",
    "\x1b[31mbad\x1b]8;;http://bad.example\x07 \u202ebad\u2066 \u200bbad\x9b2J",
    '=HYPERLINK("http://bad.example")',
    r"\input{bad} $bad$ %bad",
    "{{ bad }} {% bad %} <a href='http://bad.example'>bad</a> %{x}",
)
QUICK = expected("quick")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of a store where every text is hostile, but for what says which cell a run is of."""
    runs = store([spec for spec in QUICK if spec.device == "cpu"])
    texts = ("name", "git_commit", "hardware_cpu", "hardware_gpu", "version_torch", "optimizer")
    for place, column in enumerate(texts):
        runs[column] = [HOSTILE[(n + place) % len(HOSTILE)] for n in range(len(runs))]
    runs[f"version_{HOSTILE[0]}"] = HOSTILE[3]
    failed = runs.index[: len(HOSTILE)]
    runs.loc[failed, "status"] = "FAILED"
    runs.loc[failed, "error"] = list(HOSTILE)
    strangers = runs.tail(len(HOSTILE)).copy()
    strangers["fingerprint"] = [f"stranger{n}" for n in range(len(strangers))]
    for column in ("dataset", "model", "kernel", "gamma", "study"):
        strangers[column] = list(HOSTILE)
    reasons = dict.fromkeys(cuda_not_measured(QUICK), HOSTILE[2])
    every = pd.concat([runs, strangers], ignore_index=True)
    folder = tmp_path_factory.mktemp("hostile") / "report"
    return summarize(every, expected, reasons, folder, "quick", formats=["json", "html"])


def tokens(text: str) -> list[str]:
    """Return what a parser of GitHub's Markdown finds beside text."""
    parser = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    return [t.type for token in parser for t in (token, *(token.children or ()))]


def test_markdown_has_no_more_than_our_own(report: Report, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n\nMine.\n", encoding="utf-8")
    report.put_into(readme)
    once = readme.read_text(encoding="utf-8")
    assert "bad" in once
    assert once.endswith(f"\n{END}\n\nMine.\n")
    report.put_into(readme)
    assert readme.read_text(encoding="utf-8") == once
    own = once.replace(BEGIN, "").replace(END, "")
    pages = [
        own,
        *(path.read_text(encoding="utf-8") for path in report.paths if path.suffix == ".md"),
    ]
    for page in pages:
        found = set(tokens(re.sub(r"</?(details|summary)[^>]*>", "", page)))
        assert not found & {"html_block", "html_inline", "link_open", "image", "heading_open"}, page
        # GitHub makes links of bare addresses, though not in code.
        assert not re.search(r"https?://|www\.", re.sub(r"(?<!\\)`[^`]*`", "", page))


def test_no_output_steers_or_hides(report: Report) -> None:
    for path in report.paths:
        if path.name != "plotly.min.js":
            text = path.read_text(encoding="utf-8")
            assert all(line.isprintable() for line in re.split(r"[\n\t]", text)), path


def test_page_and_figures_have_no_foreign_tags(report: Report) -> None:
    for path in report.paths:
        if path.suffix in (".html", ".json") and path.name != "findings.json":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"<(img|a) [^>]*bad|<script>bad", text), path


def test_csv_has_no_formula(report: Report) -> None:
    for path in report.paths:
        if path.suffix == ".csv":
            for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))):
                assert not any(re.match(r"\s*[=@]|\s*[-+](?![\d.])", text) for text in row), row


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        ("+1+cmd", "'+1+cmd"),
        ("\t=1", "'\t=1"),
        ("-0.5", "-0.5"),
        ("+1e-05", "+1e-05"),
        ("-12.5%", "-12.5%"),
        ("resnet18", "resnet18"),
        ("", ""),
    ],
)
def test_formulas_are_texts_and_numbers_numbers(text: str, shown: str) -> None:
    assert field(text) == shown


def test_terminal_shows_texts_alone(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = console(stderr=False)
    for text in HOSTILE:
        terminal.print(Text(text), soft_wrap=True)
        assert printable(text).isprintable()
    terminal.print("[link=http://bad.example]x[/link] :smile: [/]")
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "[link=http://bad.example]x[/link] :smile: [/]" in shown


def test_address_of_a_file_has_every_byte_of_its_name() -> None:
    assert file_uri(Path(os.fsdecode(b"/a/caf\xe9 \n.png"))) == "file:///a/caf%E9%20%0A.png"
