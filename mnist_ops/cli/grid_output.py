"""Print plans and reports of grids."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mnist_ops.cli.options import answer, cells, log
from mnist_ops.cli.terminal import answer_in_words

if TYPE_CHECKING:
    from mnist_ops.runner.plan import Plan
    from mnist_ops.runner.study_report import StudyReport


def print_plans(plans: "Sequence[Plan]", *, as_json: bool) -> None:
    """Print the cells of plans."""
    listed = {cell: "" for a_plan in plans for cell in a_plan.cells}
    listed |= {cell: why for a_plan in plans for cell, why in a_plan.not_measured.items()}
    if as_json:
        for_program = [
            {"name": cell.name, "fingerprint": cell.fingerprint, "not_measured": why or None}
            | asdict(cell)
            for cell, why in listed.items()
        ]
        click.echo(json.dumps(for_program, indent=2))
        return
    for cell, why in listed.items():
        answer(f"{cell.fingerprint}  {cell.study:14}  {cell.name}{why and f'  ({why})'}")
    log(cells(len(listed)))


def print_reports(reports: "Sequence[StudyReport]", more: Sequence[str]) -> None:
    """Print how many cells of each study became what, then further lines."""
    for report in reports:
        parts = [f"{cells(len(report.finished))} computed"]
        parts += [f"{len(report.skipped)} finished before"] if report.skipped else []
        parts += [f"{len(report.failed)} failed"] if report.failed else []
        parts += [f"{len(report.stopped)} stopped"] if report.stopped else []
        parts += [f"{len(report.failed_before)} failed before"] if report.failed_before else []
        reasons = Counter(report.not_measured.values())
        parts += [f"{cells(count)} {why}" for why, count in reasons.items()]
        answer_in_words(f"{report.study}: {', '.join(parts)}")
    for line in more:
        answer_in_words(line)


def report_fields(report: "StudyReport") -> dict[str, Any]:
    """Return the report of a study as JSON types."""

    def fields(outcome: Any) -> dict[str, Any]:
        rest = {k: v for k, v in vars(outcome).items() if k != "spec"}
        return {"name": outcome.spec.name, "fingerprint": outcome.spec.fingerprint, **rest}

    return {
        "study": report.study,
        "finished": [fields(outcome) for outcome in report.finished],
        "failed": [fields(outcome) for outcome in report.failed],
        "stopped": [fields(outcome) for outcome in report.stopped],
        "failed_before": {spec.name: why for spec, why in report.failed_before.items()},
        "undelivered": report.pending,
        "skipped": [spec.name for spec in report.skipped],
        "not_measured": {spec.name: why for spec, why in report.not_measured.items()},
    }


def problems(reports: "Sequence[StudyReport]") -> str:
    """Describe what failed, and what to do about it; empty if nothing did."""
    now = [outcome.spec.name for r in reports for outcome in r.problems]
    before = [cell.name for r in reports for cell in r.failed_before]
    waiting = sum(r.pending for r in reports)
    lines = []
    if now:
        named = ", ".join(now[:5]) + (" and others" if len(now) > 5 else "")
        lines.append(
            f"{len(now)} of the cells failed: {named}; the reason is the tag mnist_ops.error of "
            "each run"
        )
    if before:
        lines.append(f"{cells(len(before))} failed before; --retry-failed tries again")
    if waiting:
        lines.append(f"{waiting} runs are not uploaded yet; `mnist-ops sync` uploads them")
    return "; ".join(lines)
