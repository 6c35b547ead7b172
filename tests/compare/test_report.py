"""The files of the report: formats, page, and all of them or none."""

import csv
import io
import json
import math

import pytest
from compare_runs import cuda_not_measured, expected, frame, store, summarize

from mnist_ops.compare import CannotWrite, NoRuns
from mnist_ops.compare.files import publish
from mnist_ops.compare.render import plain, readable, to_csv, to_latex, to_markdown
from mnist_ops.compare.tables.table import (
    F1,
    MILLIONS,
    PERCENT,
    PLAIN,
    RATIO,
    SECONDS,
    Column,
    build,
)

QUICK = expected("quick")
REASONS = cuda_not_measured(QUICK)
ON_CPU = [spec for spec in QUICK if spec.device == "cpu"]

NAMES = ["index.html", "findings.json", "published-vs-measured.csv"] + [
    f"tables/table-{n:02d}.{kind}" for n in range(1, 12) for kind in ("csv", "md", "tex")
]
FIGURES = ["01", "02a", "02b", "03", "04", "05", "06", "07", "08"]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("value", "kind", "program", "person"),
    [
        (98.956, PERCENT, "98.96", "98.96"),
        (0.004, PERCENT.difference, "0.00", "0.00"),
        (-0.004, PERCENT.difference, "0.00", "0.00"),
        (0.125, PERCENT.difference, "0.12", "+0.12"),
        (-3.0, PERCENT.difference, "-3.00", "-3.00"),
        (0.9, F1, "0.900", "0.900"),
        (341.64, SECONDS, "341.6", "341.6"),
        (0.01234, SECONDS, "0.0123", "0.0123"),
        (0.5, SECONDS, "0.500", "0.500"),
        (0.0, SECONDS, "0.0", "0.0"),
        (2.3737, RATIO, "2.37", "2.37×"),
        (11.17537, MILLIONS, "11.18", "11.18M"),
        (0.0001, PLAIN, "0.0001", "0.0001"),
        (True, PLAIN, "True", "True"),
        ("failed", PERCENT, "failed", "failed"),
        ("", PERCENT, "", "–"),
    ],
)
def test_values_are_rounded_by_their_kind(value, kind, program, person):
    assert plain(value, kind) == program
    assert readable(value, kind) == person


def test_text_is_escaped_in_every_format():
    columns = [Column("a", "A_b", is_key=True), Column("b", "100%")]
    table = build(2, "50% & more", columns, [{"a": "x|y <b> _z_", "b": 'say "hi"\nnow'}])
    assert list(csv.reader(io.StringIO(to_csv(table))))[1] == ["x|y <b> _z_", 'say "hi"\nnow']
    markdown = to_markdown(table, "source")
    assert r"x\|y &lt;b&gt; _z_" in markdown
    latex = to_latex(table, "source")
    assert r"x\textbar{}y \textless{}b\textgreater{} \_z\_" in latex
    assert r"\caption{50\% \& more}" in latex
    assert r"\toprule" in latex


def test_report_has_every_file(tmp_path):
    report = summarize(store(ON_CPU), expected, REASONS, tmp_path / "new" / "report")
    paths = [str(p.relative_to(report.out)) for p in report.paths]
    assert paths[: len(NAMES)] == NAMES
    drawn = {f"figures/figure-{n}.{kind}" for n in FIGURES for kind in ("html", "json")}
    assert drawn <= set(paths[len(NAMES) :])
    assert sorted(contents(report.out)) == sorted(paths)
    with (report.out / "tables/table-02.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert rows[0]["resnet18_accuracy_pct_measured"] == "90.00"
    assert rows[0]["resnet18_accuracy_pct_difference"] == "-8.95"


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(tmp_path):
    runs = store(ON_CPU)
    summarize(runs, expected, REASONS, tmp_path / "a")
    summarize(runs.sample(frac=1, random_state=3), expected, REASONS, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_runs_are_left_as_they_are(tmp_path):
    runs = store(ON_CPU[:4])
    before = runs.copy(deep=True)
    summarize(runs, expected, REASONS, tmp_path)
    assert runs.equals(before)


def test_report_as_json(tmp_path):
    runs = store(ON_CPU)
    runs.loc[0, "test_accuracy"] = math.nan
    report = summarize(runs, expected, REASONS, tmp_path)
    read = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert read["preset"] == "quick"
    assert read["cells"]["finished"] == 155
    assert read["cells"]["not_measured"] == 4
    assert len(read["tables"]) == 11
    assert read["not_finished"][0]["reason"] == "finished without a usable accuracy"
    assert "all: 155 of 160 cells finished, 1 failed, 4 not measured" in report.lines()


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "tables" / "table-99.csv").write_text("mine")
    (tmp_path / "index.html").write_text("old")
    summarize(store(ON_CPU[:3]), expected, {}, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "tables" / "table-99.csv").read_text() == "mine"
    assert (tmp_path / "index.html").read_text() != "old"


def test_out_is_a_file(tmp_path):
    out = tmp_path / "report"
    out.write_text("mine")
    with pytest.raises(CannotWrite, match="it is not a folder") as raised:
        summarize(store(ON_CPU[:3]), expected, {}, out)
    assert raised.value.exit_code == 1
    assert "\n" not in str(raised.value)
    assert out.read_text() == "mine"


def test_no_runs_write_nothing(tmp_path):
    with pytest.raises(NoRuns):
        summarize(frame([]), expected, {}, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    out = tmp_path / "report"
    summarize(store(ON_CPU[:3]), expected, {}, out)
    before = contents(out)
    written = []

    def full(descriptor):
        written.append(descriptor)
        if len(written) > 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("mnist_ops.compare.files.os.fsync", full)
    with pytest.raises(CannotWrite, match="No space left on device"):
        summarize(store(ON_CPU), expected, REASONS, out)
    assert contents(out) == before
    assert not list(out.glob(".*"))


def test_a_move_that_fails_is_taken_back(tmp_path):
    """A folder stands where the last file belongs: those moved before it are put back."""
    (tmp_path / "index.html").write_text("old")
    (tmp_path / "tables" / "table-01.md").mkdir(parents=True)
    files = {"index.html": b"new", "tables/table-01.csv": b"new", "tables/table-01.md": b"new"}
    with pytest.raises(CannotWrite):
        publish(files, tmp_path)
    assert contents(tmp_path) == {"index.html": b"old"}
    assert not list(tmp_path.glob(".mnist-ops-*"))


def test_a_failure_leaves_no_new_folders(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mnist_ops.compare.files.os.fsync", full)
    with pytest.raises(CannotWrite):
        publish({"index.html": b"new"}, tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CannotWrite, match="cannot write the report to"):
        publish({"index.html": b"new"}, tmp_path / "file" / "report")


def test_nothing_is_written_outside_the_folder(tmp_path):
    out, outside = tmp_path / "report", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (out / "tables").symlink_to(outside)
    for name in ("../evil.html", "tables/table-01.csv", str(outside / "evil.html")):
        with pytest.raises(CannotWrite, match="outside of it"):
            publish({"index.html": b"page", name: b"x"}, out)
    assert list(outside.iterdir()) == []
    assert [path.name for path in out.iterdir()] == ["tables"]
