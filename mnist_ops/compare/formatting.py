"""Findings and published numbers as people read them: rounded, with units, in words."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mnist_ops.compare.agreement import NO, NOT_COMPARABLE, NOT_MEASURED, YES
from mnist_ops.compare.findings.finding import Estimate, Finding, Grade, Verdict
from mnist_ops.compare.published import ACCURACY, QUANTITIES, Quantity
from mnist_ops.compare.render import minus, p_statement, p_text, readable
from mnist_ops.compare.runs import records
from mnist_ops.compare.statistics import Interval
from mnist_ops.compare.tables.table import Kind


def finding_texts(finding: Finding) -> dict[str, str]:
    """Return the numbers of a finding as formatted texts; empty where there are none."""
    grade, average = finding.grade, finding.grade.average
    decided = (finding.effect, finding.interval)
    elsewhere = average is not None and decided != (average.effect, average.interval)
    return {
        "verdict": str(finding.verdict)
        + (
            f" larger than {_short(grade.no_larger_than)}"
            if finding.verdict == Verdict.NO_DIFFERENCE and grade.no_larger_than
            else ""
        ),
        "effect": "" if finding.effect is None else _short(finding.effect),
        "interval": _interval(finding.interval),
        "p": p_text(finding.p_value),
        "n": f"{finding.n:,}" if finding.n else "",
        "average": f"{_estimate(average)}, {average.n} configurations"
        if average is not None and elsewhere
        else "",
        "probability": ""
        if grade.probability is None
        else f"a run with the first setting is above one with the second in "
        f"{grade.probability:.0%} of pairs",
        "detectable": "" if grade.detectable is None else _short(grade.detectable),
        "analyses": _analyses(grade),
        "confound": grade.confound,
    }


def _analyses(grade: Grade) -> str:
    """Return the estimates of the average side by side, and whether they conclude the same."""
    if grade.average is None or not grade.analyses:
        return ""
    parts = [f"{each.name} {_estimate(each)}" for each in (grade.average, *grade.analyses)]
    return f"{'; '.join(parts)}: {'all agree' if grade.agree else 'they do not all agree'}"


def _estimate(estimate: Estimate) -> str:
    interval = _interval(estimate.interval)
    return _short(estimate.effect) + (f" ({interval})" if interval else "")


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{_short(interval[0])} to {_short(interval[1])}"


def _short(value: float) -> str:
    """Return a number as every number of the report is written: two digits behind the point."""
    if not math.isfinite(value):
        return "unbounded"
    return minus(f"{value:z.2f}")


def reason(finding: Finding) -> str:
    """Return in a line what decided on a claim: effect, interval and p, or what is missing."""
    texts = finding_texts(finding)
    if not texts["effect"]:
        return f"Not measured: needs {finding.missing}" if finding.missing else finding.explanation
    said = f"{texts['effect']} {finding.effect_unit}".rstrip()
    said += f" ({texts['interval']})" if texts["interval"] else ""
    said += "" if finding.p_value is None else f", {p_statement(finding.p_value)}"
    return f"{said}. Would decide it: {finding.missing}" if finding.missing else said


def agreement_sentences(agreement: pd.DataFrame) -> list[str]:
    """Return how many published numbers agree, how wide the ranges are, and what was not judged."""
    counts = Counter(agreement["agrees"])
    judged = counts[YES] + counts[NO]
    said = [f"{counts[YES]} of the {judged} published numbers that can be judged agree."]
    widths = (agreement["high"] - agreement["low"])[agreement["metric"] == ACCURACY].dropna()
    if not widths.empty:
        said.append(
            "An accuracy agrees where it lies in a range that is "
            f"{widths.median():.2f} points wide in the median, {widths.min():.2f} to "
            f"{widths.max():.2f} in all: a smaller difference would not be seen."
        )
    others = [f"{counts[word]} {word}" for word in (NOT_COMPARABLE, NOT_MEASURED) if counts[word]]
    return [*said, f"Not judged: {', '.join(others)}."] if others else said


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
                "verdict": {YES: "agrees", NO: "differs"}.get(str(row["agrees"]), ""),
                "interval": f"{low} to {high}" if low and high else "",
                "agrees": str(row["agrees"]),
                "note": "; ".join(part for part in (note, _official(row, kind)) if part),
            }
        )
    return rows


def _official(row: Mapping[Any, Any], kind: Kind) -> str:
    """Return the value on official test images; empty without any."""
    either = " either" if row["agrees"] == NO else ""
    verdict = {YES: "agrees", NO: f"does not agree{either}"}.get(row["agrees_official"])
    if verdict is None:
        return ""
    texts = [_number(row[name], kind) for name in ("official", "official_low", "official_high")]
    return f"on official test images {texts[0]} ({texts[1]} to {texts[2]}): {verdict}"


def _number(value: Any, kind: Kind) -> str:
    if value is None or pd.isna(value):
        return ""
    return minus(readable(float(value), kind))
