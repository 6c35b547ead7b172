"""Findings and published numbers as people read them: rounded, with units, in words."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mnist_ops.compare.agreement import NO, YES
from mnist_ops.compare.findings.finding import Finding
from mnist_ops.compare.published import QUANTITIES, Quantity
from mnist_ops.compare.render import minus, readable
from mnist_ops.compare.runs import records
from mnist_ops.compare.tables.table import Kind


def finding_texts(finding: Finding) -> dict[str, str]:
    """Return the numbers of a finding as formatted texts."""
    interval = finding.interval
    return {
        "effect": "" if finding.effect is None else _short(finding.effect),
        "interval": "" if interval is None else f"{_short(interval[0])} to {_short(interval[1])}",
        "p": "" if finding.p_value is None else _p_value(finding.p_value),
        "n": f"{finding.n:,}" if finding.n else "",
    }


def _short(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    if not math.isfinite(value):
        return "unbounded"
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return minus(f"{value:.{min(digits, 6)}f}")


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def agreement_rows(agreement: pd.DataFrame) -> list[dict[str, str]]:
    """Return the published numbers as formatted texts, with a note on each."""
    rows = []
    for row in records(agreement):
        metric = str(row["metric"])
        quantity = QUANTITIES.get(metric, Quantity(metric))
        kind = quantity.kind
        low, high = (_number(row[end], kind) for end in ("low", "high"))
        difference = _number(row["difference"], kind.difference)
        note = "" if pd.isna(row["note"]) else str(row["note"])
        rows.append(
            {
                "table": str(row["table"]),
                "description": str(row["description"]) or "study",
                "metric": quantity.label,
                "published": _number(row["published"], kind),
                "measured": _number(row["measured"], kind),
                "difference": difference,
                "sign": {"+": "plus", "\N{MINUS SIGN}": "minus"}.get(difference[:1], ""),
                "interval": f"{low} to {high}" if low and high else "",
                "agrees": str(row["agrees"]),
                "note": "; ".join(part for part in (note, _official(row, kind)) if part),
            }
        )
    return rows


def _official(row: Mapping[Any, Any], kind: Kind) -> str:
    """Return the value on official test images for a number that disagrees; empty without any."""
    verdict = {YES: "agrees", NO: "does not agree either"}.get(row["agrees_official"])
    if verdict is None:
        return ""
    texts = [_number(row[name], kind) for name in ("official", "official_low", "official_high")]
    return f"on official test images {texts[0]} ({texts[1]} to {texts[2]}): {verdict}"


def official_sentence(agreement: pd.DataFrame) -> str:
    """Return a sentence on the numbers that agree on official test images; empty without any."""
    disagreeing = int((agreement["agrees"] == NO).sum())
    tried = agreement["agrees_official"].isin([YES, NO])
    agreeing = int((agreement["agrees_official"] == YES).sum())
    if not tried.any():
        return ""
    return (
        f"Of the {disagreeing} that disagree, {int(tried.sum())} were measured a second time, on "
        f"the data sets' official test images in place of images drawn from all: {agreeing} of "
        "these agree then. The study does not say where its test images are from."
    )


def _number(value: Any, kind: Kind) -> str:
    if value is None or pd.isna(value):
        return ""
    return minus(readable(float(value), kind))
