"""The vector instructions that torch computes with on a CPU.

They decide how sums are rounded, so a training gives the same bits only in the same set. A process
keeps to one: its libraries read the variables at their first computation.
"""

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType

from mnist_ops.core.errors import InvalidInput

AUTO = "auto"
BF16 = "AVX512_CORE_BF16"
# oneDNN's names, the smallest set first, each with what ATen and MKL call it. From AVX-512 on MKL
# is left to itself.
_OTHER_NAMES = MappingProxyType(
    {
        "SSE41": ("default", "SSE4_2"),
        "AVX2": ("avx2", "AVX2"),
        "AVX512_CORE": ("avx512", ""),
        BF16: ("avx512", ""),
        "AVX512_CORE_AMX": ("avx512", ""),
    }
)
SETS = tuple(_OTHER_NAMES)
VARIABLE = "ONEDNN_MAX_CPU_ISA"
# oneDNN's sets between these, which differ from the one here in nothing that a training computes.
_BETWEEN = MappingProxyType(
    {
        "AVX": "SSE41",
        "AVX2_VNNI": "AVX2",
        "AVX512_CORE_VNNI": "AVX512_CORE",
        "AVX512_CORE_FP16": BF16,
        "AVX10_1_512": BF16,
    }
)

# Linux's flags of what oneDNN asks for in each set.
_FLAGS = MappingProxyType(
    {
        "AVX2": {"avx2"},
        "AVX512_CORE": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
        BF16: {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"},
        "AVX512_CORE_AMX": {"avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"},
    }
)


@cache
def of_cpu() -> str:
    """Return the largest set that the CPU has; empty for one that is not of x86."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    with suppress(OSError):
        # Linux tells without torch, which takes seconds to import.
        flags = set(_flags().split())
        has = (name for name, needed in reversed(tuple(_FLAGS.items())) if needed <= flags)
        return next(has, "SSE41")
    from torch import cpu

    if cpu._is_amx_tile_supported():
        return "AVX512_CORE_AMX"
    if cpu._is_avx512_bf16_supported():
        return BF16
    if cpu._is_avx512_supported():
        return "AVX512_CORE"
    return "AVX2" if cpu._is_avx2_supported() else "SSE41"


def chosen(asked: str = AUTO) -> str:
    """Return the set to compute with: the one asked for, or the largest that is allowed.

    ``auto`` is the CPU's largest set, unless oneDNN's variable `VARIABLE` names a smaller one.

    Raises:
        InvalidInput: the CPU lacks it.
    """
    largest = of_cpu()
    if asked == AUTO:
        limit = os.environ.get(VARIABLE, "").upper()
        limit = _BETWEEN.get(limit, limit)
        return limit if limit in _up_to(largest) else largest
    if asked not in SETS:
        raise InvalidInput.not_one_of("instruction set", asked, (AUTO, *SETS))
    if not can(asked):
        raise InvalidInput(
            f"this CPU lacks the instruction set {asked}: use {largest or AUTO} or leave "
            "--instruction-set out"
        )
    return asked


def can(name: str) -> bool:
    """Return whether the CPU has the set `name`."""
    return name in _up_to(of_cpu())


@cache
def current() -> str:
    """Return the set that this process computes with; empty for a CPU that is not of x86."""
    return chosen()


def environment(asked: str = AUTO) -> dict[str, str]:
    """Return the variables under which a new process computes with a set.

    Where nothing limits the CPU there are none: what else the CPU has is used, too.

    Raises:
        InvalidInput: the CPU lacks it.
    """
    name = chosen(asked)
    if asked == AUTO and name == of_cpu():
        return {}
    aten, mkl = _OTHER_NAMES[name]
    variables = {VARIABLE: name, "ATEN_CPU_CAPABILITY": aten}
    return variables | ({"MKL_ENABLE_INSTRUCTIONS": mkl} if mkl else {})


def apply(asked: str = AUTO) -> None:
    """Let this process, before it computes anything, compute with a set.

    Raises:
        InvalidInput: the CPU lacks it, or the process computes with another one already.
    """
    variables = environment(asked)
    if current.cache_info().currsize:
        require(asked)
    os.environ |= variables


def require(asked: str) -> None:
    """Refuse a set that is not the one of this process.

    Raises:
        InvalidInput: it is not; or the CPU lacks it.
    """
    if (name := chosen(asked)) != current():
        raise InvalidInput(
            f"this process computes with {current()} already: use at least 1 worker, or start it "
            f"with {VARIABLE}={name}"
        )


def recorded(tag: str | None, cpu: str | None) -> str:
    """Return the set that a run was computed with, by two of its tags; empty if they do not tell.

    Args:
        tag: the set; None for a run from before there was the tag.
        cpu: the name of its CPU.
    """
    # The recorded runs from before the tag, whose machines named their CPU without its model.
    return tag or (BF16 if cpu == "AMD EPYC" else "")


def _up_to(largest: str) -> tuple[str, ...]:
    return SETS[: SETS.index(largest) + 1] if largest else ()


def _flags() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
