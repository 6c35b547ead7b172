"""The wheel, installed in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def install(folder: Path) -> Path:
    """Return the programs of an environment with the wheel, and the libraries of this one."""
    pip = [sys.executable, "-m", "pip"]
    run([*pip, "wheel", str(ROOT), "--no-deps", "--wheel-dir", str(folder)], folder)
    (wheel,) = folder.glob("*.whl")
    run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], folder)
    (libraries,) = (folder / "venv").glob("lib/python*/site-packages")
    # The folder alone: the links in it, as to this checkout, are not followed.
    (libraries / "ours.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    programs = folder / "venv" / "bin"
    python = str(programs / "python")
    run([*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)], folder)
    return programs


def environment(folder: Path) -> dict[str, str]:
    """Return the variables for programs that must not find this checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return env | {"MNIST_OPS_STATE": str(folder / "state")}


def run(command: list[str], folder: Path) -> str:
    """Return what a command printed that ended well."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
