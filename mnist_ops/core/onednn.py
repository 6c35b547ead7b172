"""Kernels of oneDNN, the library by which torch computes on a CPU, as it reports them."""

import re
from dataclasses import dataclass

# Implementations that are there to be right, not fast: ``ref:any``, ``simple_nchw:any``,
# ``gemm:ref``.
_REFERENCE = re.compile(r"(^|:)(ref|simple)(_|:|$)")
# Engine, operation, implementation, direction, shapes and types, milliseconds.
_EXECUTED = re.compile(
    r"^onednn_verbose,(?:v\d+,)?primitive,exec,[^,]+,([^,]+),([^,]+),([^,]+),(.*),([\d.]+)$", re.M
)
_TYPE = re.compile(r"\bsrc(?:_layer)?:(\w+)")


@dataclass(frozen=True)
class Kernel:
    """One computation.

    Attributes:
        operation: as oneDNN names it, for example ``matmul``.
        direction: of a layer, for example ``backward_weights``; ``undef`` of what has none.
        type: of its input, for example ``bf16``.
        implementation: for example ``brg_conv_fwd:avx512_core_bf16``.
        ms: milliseconds that it took.
    """

    operation: str
    direction: str
    type: str
    implementation: str
    ms: float

    @property
    def is_reference(self) -> bool:
        """Return whether it is slow code for any processor; of a copy that is usual."""
        return self.operation != "reorder" and bool(_REFERENCE.search(self.implementation))

    def __str__(self) -> str:
        direction = "" if self.direction == "undef" else f" {self.direction}"
        return f"{self.operation}{direction} {self.type}: {self.implementation}"


def kernels(verbose: str) -> list[Kernel]:
    """Read what oneDNN printed under ``ONEDNN_VERBOSE=1``; other lines are passed over."""
    found = []
    for operation, implementation, direction, shapes, ms in _EXECUTED.findall(verbose):
        described = _TYPE.search(shapes)
        kind = described[1] if described else ""
        found.append(Kernel(operation, direction, kind, implementation, float(ms)))
    return found
