"""The doctor on the kernels that torch computes a training with."""

import sys
from pathlib import Path

import pytest

from mnist_ops.core.errors import MnistOpsError
from mnist_ops.ops.doctor import Context, Severity, kernels

# oneDNN trains an LSTM of float32 with its reference kernel on every processor.
SLOW = """
import torch
with torch.backends.mkldnn.verbose(1):
    torch.nn.LSTM(4, 4)(torch.zeros(2, 1, 4))
"""
CONTEXT = Context("sqlite:///mlflow.db")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def probe(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "probe.py"
    path.write_text(text)
    monkeypatch.setattr(kernels, "PROBE", path)


def test_torch_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = kernels.check_kernels(CONTEXT)
    assert seen.subject == "kernels"
    assert "products and convolutions" in seen.ok
    monkeypatch.setattr(sys, "executable", "no Python")
    assert kernels.check_kernels(CONTEXT) == seen


def test_reference_kernel_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe(SLOW, cache, monkeypatch)
    (issue,) = kernels.check_kernels(CONTEXT).issues
    assert (issue.kind, issue.severity) == ("reference-kernel", Severity.NOTE)
    assert issue.items == ("rnn forward_training f32: ref",)
    # In float32 already.
    assert "--amp off" not in issue.cure


def test_torch_that_cannot_compute(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe("raise OSError('libgomp.so.1: cannot open')", cache, monkeypatch)
    with pytest.raises(MnistOpsError, match=r"cannot compute: OSError: libgomp\.so\.1"):
        kernels.check_kernels(CONTEXT)
