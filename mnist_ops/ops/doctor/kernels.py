"""Check that torch computes a training with kernels made for this processor."""

import hashlib
import os
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from platformdirs import user_cache_path

from mnist_ops.core import atomic_files, instruction_set, onednn
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.issue import Examination, Issue, note

_SUBJECT = "kernels"
PROBE = Path(__file__).with_name("kernel_probe.py")
TIMEOUT_S = 120


def check_kernels(context: Context) -> Examination:
    """Check for a product or a convolution that torch leaves to a reference kernel."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Examination(_SUBJECT, "not checked without torch", looked=False)
    computed = onednn.kernels(_told(version))
    slow = {str(kernel): kernel.type for kernel in computed if kernel.is_reference}
    ok = "has fast kernels for" if computed else "does not use oneDNN here for"
    ok = f"torch {version} {ok} products and convolutions"
    return Examination(_SUBJECT, ok, tuple(_issues(version, slow)))


def _issues(version: str, slow: dict[str, str]) -> list[Issue]:
    if not slow:
        return []
    another = "install another version of torch and torchvision"
    return [
        note(
            "reference-kernel",
            f"torch {version} leaves {len(slow)} of a training's operations to a reference kernel, "
            "which is many times slower",
            another if "f32" in slow.values() else f"`--amp off` computes in float32; or {another}",
            tuple(slow),
        )
    ]


def _told(version: str) -> str:
    """Return what oneDNN tells of the probe: it depends on torch and the processor alone."""
    made_of = (version, instruction_set.current(), str(os.environ.get("ONEDNN_MAX_CPU_ISA")))
    of_this = hashlib.sha256(
        "\n".join((*made_of, PROBE.read_text(encoding="utf-8"))).encode()
    ).hexdigest()[:16]
    kept = user_cache_path("mnist-ops") / "kernels" / f"{of_this}.txt"
    with suppress(OSError):
        return kept.read_text(encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(PROBE)], capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise MnistOpsError(f"torch {version} computed nothing in {TIMEOUT_S} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MnistOpsError(f"torch {version} cannot compute: {last}")
    with suppress(OSError, MnistOpsError):
        atomic_files.replace(kept, done.stdout.encode())
    return done.stdout
