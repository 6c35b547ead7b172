"""Findings as a file, and what has changed since one was recorded."""

import json
import math
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from mnist_ops.compare.findings.finding import Finding, Verdict
from mnist_ops.core.errors import InvalidInput, MnistOpsError

# Significant digits. Kernels of BLAS agree on about ten; with fewer, a number rarely lies where
# they round it differently.
_DIGITS = 6


class NoBaseline(MnistOpsError):
    """No findings were recorded to check against."""


def to_json(findings: Sequence[Finding]) -> str:
    """Return the findings as the text of ``findings.json``, a list of objects."""
    rows = [_rounded(finding.as_dict()) for finding in findings]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def recorded(source: Traversable | None) -> list[dict[str, Any]]:
    """Return the findings that are recorded with a paper; raises `NoBaseline` if none are."""
    if source is None or not source.is_file():
        raise NoBaseline("no baseline is recorded; name a findings.json to check against")
    return read(source)


def read(source: Path | Traversable) -> list[dict[str, Any]]:
    """Return a ``findings.json``.

    Raises:
        InvalidInput: `source` cannot be read as one.
    """
    if not source.is_file():
        raise InvalidInput(f"no such file: {source}")
    try:
        found = json.loads(source.read_text(encoding="utf-8"))
        if not all(isinstance(row["id"], str) and Verdict(row["verdict"]) for row in found):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{source} is not a findings.json of mnist-ops summarize") from None
    return list(found)


def check(findings: Sequence[Finding], baseline: Sequence[dict[str, Any]]) -> list[Finding]:
    """Return the findings supported in `baseline` and no longer, in the order of `findings`.

    A claim that the baseline does not have cannot have been lost.

    Raises:
        InvalidInput: the baseline is of runs of another size.
    """
    theirs = {_preset(str(row.get("scope", ""))) for row in baseline}
    ours = {_preset(finding.scope) for finding in findings}
    if baseline and theirs != ours:
        raise InvalidInput(
            f"the baseline is of preset {', '.join(sorted(theirs))}, these runs of "
            f"{', '.join(sorted(ours))}: choose with --preset, or name another --baseline"
        )
    held = {row["id"] for row in baseline if row["verdict"] == Verdict.SUPPORTED}
    return [f for f in findings if f.id in held and f.verdict != Verdict.SUPPORTED]


def _preset(scope: str) -> str:
    """Return the preset of a scope: ``paper`` of ``paper: the study's own sizes, 5 seeds``."""
    return scope.partition(":")[0].partition(",")[0]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
