"""The command line: what it prints, and with which code it ends."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from mnist_ops.cli import COMMANDS, main
from mnist_ops.cli.summarize import FORMATS
from mnist_ops.cli.terminal import answer_in_words
from mnist_ops.core import keys
from mnist_ops.ops.reports import attach_report, write_report

SMALL = ["--workers", "0", "--device", "cpu", "--train-limit", "60", "--test-limit", "40"]
ONE_SVM = ["svm_grid", "--datasets", "MNIST", "--set", "kernel=rbf", "--set", "C=1"]
ONE_SVM += ["--set", "gamma=auto"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def one_line(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("mnist-ops: ")]
    return line


def test_help_fits_a_terminal_of_40_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for name in ["", *COMMANDS]:
        told = call(*filter(None, [name]), "--help").stdout
        assert max(map(len, told.splitlines())) <= 40, name


def test_a_terminal_breaks_sentences_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "Best on MNIST: 78.52% (74.75 to 81.85)"
    monkeypatch.setenv("COLUMNS", "20")
    answer_in_words(told)
    assert capsys.readouterr().out == f"{told}\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    answer_in_words(told)
    assert capsys.readouterr().out == "Best on MNIST:\n  78.52% (74.75 to\n  81.85)\n"


def test_every_command_has_help() -> None:
    context = click.Context(main)
    for name, summary in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.help is not None
        assert command.help.startswith(summary)
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.name}"


def test_dry_run_prints_the_cells_and_runs_nothing(home: Path) -> None:
    result = call("run", "all", "--dry-run", "--device", "cpu", "--preset", "paper")
    assert result.exit_code == 0
    names = [line.split()[2] for line in result.stdout.splitlines()]
    assert len(names) == 128 + 24 + 4
    assert "resnet18-mnist-adam-lr0.001-bs16-e5-pin0-s0" in names
    assert not (home / "mlruns").exists()


def test_dry_run_for_a_program(home: Path) -> None:
    result = call("run", "svm_grid", "--dry-run", "--json", "--seeds", "1,2", "--set", "C=3")
    cells = json.loads(result.stdout)
    assert len(cells) == 2 * 2 * 2 * 2
    assert {(cell["C"], cell["seed"]) for cell in cells} == {(3.0, 1), (3.0, 2)}


def test_a_data_set_may_be_set_as_an_axis(home: Path) -> None:
    by_axis = call("run", "svm_grid", "--set", "dataset=MNIST", "--dry-run")
    assert by_axis.stdout == call("run", "svm_grid", "--datasets", "MNIST", "--dry-run").stdout
    assert by_axis.stdout
    assert "fashion" not in by_axis.stdout


@pytest.mark.parametrize(
    "axes",
    [
        ["--set", "dataset=MNIST", "--datasets", "FashionMNIST"],
        ["--set", "C=1", "--set", "C=10"],
    ],
)
def test_an_axis_given_twice_is_refused(home: Path, axes: list[str]) -> None:
    result = call("run", "svm_grid", *axes, "--dry-run")
    assert result.exit_code == 2
    assert "given twice" in result.stderr


def test_an_axis_goes_to_the_studies_that_have_it(home: Path) -> None:
    result = call("run", "all", "--dry-run", "--json", "--device", "cpu", "--set", "C=7")
    cells = json.loads(result.stdout)
    assert {cell["C"] for cell in cells if cell["study"] == "svm_grid"} == {7.0}
    assert len([cell for cell in cells if cell["study"] == "resnet_grid"]) == 128


def test_unset_is_the_preset(home: Path) -> None:
    unset = [part for axis in ("kernel", "C", "gamma") for part in ("--set", f"{axis}=preset")]
    unset += ["--seeds", "preset", "--datasets", "preset", "--train-limit", "preset"]
    plain, named = (call("run", "svm_grid", "--dry-run", *more).stdout for more in ([], unset))
    assert plain == named


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "colour=red"], "must be one of"),
        (["--set", "C"], "AXIS=VALUES"),
        (["--set", "C=-1"], "C must be a positive number"),
        (["--set", "C=lots"], "C takes numbers"),
        (["--set", "kernel=cubic"], "kernel must be one of linear, poly, rbf, sigmoid"),
        (["--datasets", "CIFAR10"], "dataset must be one of MNIST, FashionMNIST"),
        (["--seeds", "one"], "seeds takes whole numbers"),
        (["--seeds", "-1"], "seed must be"),
        (["--workers", "many"], "--workers takes auto or a whole number"),
        (["--train-limit", "5"], "train_limit must be 0 (all images) or at least 10"),
        (["--test-limit", "1.5"], "--test-limit takes"),
    ],
)
def test_wrong_values_end_with_2_and_one_line(home: Path, arguments: list[str], told: str) -> None:
    result = call("run", "svm_grid", "--dry-run", *arguments)
    assert told in one_line(result, code=2)


@pytest.mark.parametrize(
    "arguments", [["--preset", "papr"], ["--device", "tpu"], ["--frobnicate"], ["--amp", "int8"]]
)
def test_wrong_flags_end_with_2(arguments: list[str]) -> None:
    result = call("run", "svm_grid", *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_run_then_summarize(small_data: Path, home: Path) -> None:
    ran = call("run", *ONE_SVM, *SMALL)
    assert ran.exit_code == 0, ran.output
    assert "svm_grid: 1 cell computed" in ran.stdout
    summary = call("summarize", "--json", "--format", "json")
    assert summary.exit_code == 0, summary.output
    assert (home / "report" / "index.html").exists()
    assert len(list((home / "report" / "tables").glob("table-*.csv"))) == 11
    json.loads(summary.stdout)


def test_a_report_is_put_on_the_run_of_the_grid(
    small_data: Path, home: Path, client: MlflowClient
) -> None:
    assert call("run", *ONE_SVM, *SMALL).exit_code == 0
    (grid,) = client.search_runs(
        [client.get_experiment_by_name("mnist-ops").experiment_id],
        f"tags.`{keys.ROLE}` = '{keys.ROLE_GRID}'",
    )
    run_id = grid.info.run_id
    attach_report(write_report(home / "report", formats=["json"]), run_id)
    assert {file.path for file in client.list_artifacts(run_id, "report")} >= {
        "report/index.html",
        "report/tables",
    }
    assert len(client.list_artifacts(run_id, "report/tables")) == 11
    note = client.get_run(run_id).data.tags["mlflow.note.content"]
    assert "- 1 cell computed" in note
    assert "- Best on MNIST, by validation: **" in note


def test_formats_of_the_command_line_are_those_of_the_figures() -> None:
    """They are written twice, since the figures take plotly a second to load."""
    from mnist_ops.compare.figures import export

    assert FORMATS == export.FORMATS


def test_summarize_takes_formats_and_an_experiment(small_data: Path, home: Path) -> None:
    call("run", *ONE_SVM, *SMALL)
    one = call("summarize", "--format", "json", "--experiment", "mnist-ops")
    assert one.exit_code == 0, one.output
    endings = {path.suffix for path in (home / "report" / "figures").iterdir()}
    assert endings == {".js", ".json"}
    assert "no experiment 'other'" in one_line(call("summarize", "--experiment", "other"), code=2)
    assert "--format takes" in one_line(call("summarize", "--format", "gif"), code=2)


@pytest.mark.slow
def test_check_against_a_baseline(small_data: Path, home: Path) -> None:
    call("run", *ONE_SVM, *SMALL)
    assert call("summarize", "--format", "json").exit_code == 0
    written = home / "report" / "findings.json"
    same = ["summarize", "--format", "json", "--check", "--baseline", "same.json"]
    (home / "same.json").write_text(written.read_text())
    assert call(*same).exit_code == 0
    findings = json.loads(written.read_text())
    findings[0]["verdict"] = "supported"
    (home / "same.json").write_text(json.dumps(findings))
    assert findings[0]["id"] in one_line(call(*same), code=1)


@pytest.mark.slow
def test_report_after_a_run_is_of_that_run(small_data: Path, home: Path) -> None:
    call("run", *ONE_SVM, "--workers", "0", "--train-limit", "80", "--test-limit", "40")
    ran = call("run", *ONE_SVM, *SMALL, "--report", "after")
    assert ran.exit_code == 0, ran.output
    assert str(home / "after" / "index.html") in ran.stdout
    assert "custom-60-40" in (home / "after" / "index.html").read_text()


def test_run_for_a_program(small_data: Path) -> None:
    (report,) = json.loads(call("run", *ONE_SVM, *SMALL, "--json").stdout)
    assert report["finished"][0]["name"] == "svm-mnist-rbf-c1-gauto-s0"
    assert 0 <= report["finished"][0]["test_accuracy"] <= 1
    (again,) = json.loads(call("run", *ONE_SVM, *SMALL, "--json").stdout)
    assert again["skipped"] == ["svm-mnist-rbf-c1-gauto-s0"]


def test_failed_cell_ends_with_1_and_its_name(small_data: Path) -> None:
    result = call("run", *ONE_SVM, "--workers", "0", "--train-limit", "50000")
    line = one_line(result, code=1)
    assert "svm-mnist-rbf-c1-gauto-s0" in line


def test_summarize_without_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "mnist-ops run all --preset quick" in one_line(call("summarize"), code=1)
    assert list(tmp_path.iterdir()) == []


def test_summarize_an_empty_store(home: Path) -> None:
    assert "mnist-ops run all --preset quick" in one_line(call("summarize"), code=1)
    assert not (home / "report").exists()


def test_summarize_a_store_of_another_program(home: Path) -> None:
    (home / "mlflow.db").unlink()
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    assert "another program" in one_line(call("summarize"), code=1)


def test_server_that_is_gone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert "does not answer" in one_line(call("summarize"), code=1)
    assert "does not answer" in one_line(call("run", "svm_grid"), code=1)


def test_report_folder_that_is_a_file(small_data: Path, home: Path) -> None:
    call("run", *ONE_SVM, *SMALL)
    (home / "taken").write_text("mine")
    one_line(call("summarize", "--out", "taken"), code=1)
    assert (home / "taken").read_text() == "mine"


def test_data_shows_state_path_digest_and_source(small_data: Path) -> None:
    result = call("data")
    assert result.exit_code == 0
    assert str(small_data / "MNIST" / "raw") in result.stdout
    assert result.stdout.count("intact") == 8
    states = json.loads(call("data", "MNIST", "--json").stdout)
    assert states[0]["intact"] is True
    assert states[0]["files"][0]["md5_found"] == states[0]["files"][0]["md5_expected"]


def test_data_check_finds_a_flipped_byte(small_data: Path) -> None:
    path = small_data / "MNIST" / "raw" / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    result = call("data", "--check")
    assert result.exit_code == 1
    assert "corrupt" in result.stdout
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_closed_pipe_is_no_error(home: Path) -> None:
    command = f"{sys.executable} -m mnist_ops run all --dry-run --device cpu | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.stderr.count("Traceback") == 0
