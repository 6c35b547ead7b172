"""What nobody expected ends in one line, and leaves a file to be reported."""

import stat
import sys
from pathlib import Path

import click
import psutil
import pytest
import tracked_runs
from click.testing import CliRunner

from mnist_ops.cli import main


@pytest.fixture
def failing(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    @click.command()
    def fails() -> None:
        raise ZeroDivisionError("postgresql://me:secret@host/db cannot be divided")

    monkeypatch.setitem(main.commands, "fails", fails)
    return home / "state" / "errors"


def test_unforeseen_error_is_one_line_and_a_file(failing: Path) -> None:
    done = CliRunner().invoke(main, ["fails"])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    (file,) = failing.iterdir()
    assert line.startswith("mnist-ops: unforeseen error, ZeroDivisionError: ")
    assert str(file) in line
    assert "Traceback" in file.read_text()
    assert "secret" not in file.read_text() + line
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_debug_prints_the_traceback(failing: Path) -> None:
    done = CliRunner().invoke(main, ["--debug", "fails"])
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert "secret" not in done.stderr


def test_errors_of_use_stay_what_they_are(home: Path) -> None:
    assert CliRunner().invoke(main, ["run", "nothing"]).exit_code == 2
    assert not (home / "state" / "errors").exists()


@pytest.mark.slow
def test_browser_that_never_answers_costs_the_images_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = home / "browser"
    browser.write_text("#!/bin/sh\nexec sleep 1000\n")
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER_PATH", str(browser))
    module = sys.modules["mnist_ops.compare.figures.export"]
    monkeypatch.setattr(module, "START_TIMEOUT_S", 3.0)
    tracked_runs.write(1)
    done = CliRunner().invoke(main, ["summarize", "--format", "html,png"])
    assert done.exit_code == 0
    assert "no SVG and PNG figures, as the browser failed" in done.stderr
    assert Path("report/index.html").exists()
    running = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
    assert ["sleep", "1000"] not in running
