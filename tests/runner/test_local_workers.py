"""Local workers are forks of one process that has imported what they need."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mnist_ops.core import cuda
from mnist_ops.runner.workers.local import local_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or cuda.is_available(), reason="workers are spawned"
    ),
]

MODULE = "mnist_ops.fitting.resnet.train"


def _looked_at(module: str) -> tuple[bool, int, str]:
    """Return whether this process has imported a module, its parent, and the memory for SVMs."""
    return module in sys.modules, os.getppid(), os.environ["MNIST_OPS_SVM_MEMORY"]


def test_they_share_imports_and_end_with_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Modules are not taken from the user's folder.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yaml.py").write_text("raise SystemExit('not the yaml that was meant')")
    before = set(psutil.Process().children())
    # Another cluster of the process has other modules, and another share of memory.
    for modules, memory in (([MODULE], 2.0), ([], 1.0)):
        with local_cluster(2, memory, lambda line: None, modules=modules) as client:
            seen = set(client.run(_looked_at, MODULE).values())
        (found,) = seen
        has_imported, parent, share = found
        assert has_imported is bool(modules)
        assert parent != os.getpid()
        assert float(share) == memory / 2
        left = [p for p in set(psutil.Process().children()) - before if p.status() != "zombie"]
        assert not [p for p in left if "forkserver" in " ".join(p.cmdline())]
    assert "PYTHONSAFEPATH" not in os.environ


def test_an_import_that_fails_is_left_to_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("raise OSError('libbroken.so: cannot open shared object')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with local_cluster(1, None, lambda line: None, modules=["broken", MODULE]) as client:
        ((has_imported, parent, _),) = client.run(_looked_at, MODULE).values()
    assert has_imported
    assert parent != os.getpid()
    assert "Traceback" not in capfd.readouterr().err


def test_without_a_socket_they_are_spawned(tmp_path: Path) -> None:
    # The name of a socket has 107 characters at most.
    folder = tmp_path / ("temporary" * 12)
    folder.mkdir()
    code = (
        "import os; from mnist_ops.runner.workers.local import local_cluster\n"
        "with local_cluster(1, None, print) as client:\n"
        "    assert list(client.run(os.getppid).values()) == [os.getpid()]"
    )
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(folder)}, check=True
    )
