"""An unforeseen error ends in one line, and leaves a file to be reported."""

import importlib
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import psutil
import pytest
import tracked_runs
from click.testing import CliRunner

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.core.errors import TrackingUnavailable


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
    module = importlib.import_module("mnist_ops.compare.figures.export")
    monkeypatch.setattr(module, "START_TIMEOUT_S", 3.0)
    tracked_runs.write(1)
    done = CliRunner().invoke(main, ["summarize", "--format", "html,png"])
    assert done.exit_code == 0
    assert "no SVG and PNG figures, as the browser failed" in done.stderr
    assert Path("report/index.html").exists()
    running = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
    assert ["sleep", "1000"] not in running


def test_program_that_is_no_mlflow_server_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bare)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(TrackingUnavailable, match="is not an MLflow server"):
            tracking.connect(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def test_ctrl_c_while_the_program_exits_prints_nothing(home: Path) -> None:
    code = (
        "import atexit, os, signal\n"
        "from mnist_ops.cli import main\n"
        # Registered first, it runs last, as what a library registered at its import does.
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "main(['data', '--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == ""
