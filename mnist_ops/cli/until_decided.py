"""``mnist-ops run --until-decided``: plan and run the seeds that decide claims."""

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from mnist_ops.cli.grid_output import problems, report_fields
from mnist_ops.cli.options import answer, log, runs
from mnist_ops.cli.progress import GridDisplay
from mnist_ops.cli.terminal import console
from mnist_ops.compare.findings import sequential
from mnist_ops.compare.findings.contrast import named
from mnist_ops.core import cancellation
from mnist_ops.core.durations import duration
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.ops.claim_plans import Added, ClaimPlan, Ended, Plan, Result
from mnist_ops.ops.reports import PAPER
from mnist_ops.ops.until_decided import Decider
from mnist_ops.study import lookup

if TYPE_CHECKING:
    from mnist_ops.cli.run import Output
    from mnist_ops.compare.findings.finding import Finding
    from mnist_ops.runner.settings import Settings

# Configurations of a claim that are listed; JSON has all.
_LISTED = 8
# Lines of text are not wider, however wide the terminal is.
_WIDTH = 80
# In a narrower terminal words of the table would be cut.
_TABLE_WIDTH = 72
_HEADINGS = ("Claim", "Verdict now", "Effect", "Configs", "Seeds now", "More runs", "Time")


def until_decided(
    claims: Sequence[str],
    preset: str | None,
    hours: float | None,
    settings: "Settings",
    output: "Output",
) -> None:
    """Print the plan for `claims`, carry it out unless it is a dry run, and print the verdicts."""
    tell = (lambda line: None) if output.quiet else log
    decider = Decider(lookup.find("papers", PAPER), settings, tell)
    plan = decider.plan(claims, preset, hours)
    if not output.as_json and not output.quiet:
        _print_plan(plan)
    if output.dry_run:
        if output.as_json:
            click.echo(json.dumps(_plan_fields(plan), indent=2))
        return
    cancellation.on_signals()
    result = decider.run(plan, GridDisplay(console(quiet=output.quiet)))
    if output.as_json:
        click.echo(json.dumps(_plan_fields(plan) | _result_fields(result), indent=2))
    elif not output.quiet:
        _print_result(result)
    if failed := problems(result.reports):
        raise MnistOpsError(failed)


def _print_plan(plan: Plan) -> None:
    if not plan.claims:
        answer(f"No claim is undecided at preset {plan.preset}.")
        return
    rows = [_row(plan, claim) for claim in plan.claims]
    if console(stderr=False).width < _TABLE_WIDTH:
        for row in rows:
            named = zip(_HEADINGS, row, strict=True)
            _wrapped(", ".join(f"{heading.lower()} {text}" for heading, text in named))
    else:
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
        for heading in _HEADINGS:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console(stderr=False).print(table)
    for claim in plan.claims:
        answer("")
        _wrapped(f"{claim.finding.id}: {claim.finding.claim}")
        unit = claim.finding.effect_unit
        for line in [*([f"Effect in {unit}."] if unit else []), *_lines(claim)]:
            _wrapped(line, "  ")
    answer("")
    if not plan.cells:
        answer("Nothing to run.")
        return
    limit = "" if plan.hours is None else f", of {plan.hours:g} h"
    workers = "1 worker" if plan.workers == 1 else f"{plan.workers} workers"
    takes = duration(plan.seconds(plan.cells))
    _wrapped(f"In all {runs(len(plan.cells))}, about {takes} with {workers}{limit}.")
    looks = {tuple(c.look.of_plan) for c in plan.active if c.look.plan != sequential.FIRST_SEEDS}
    for each in sorted(looks):
        _wrapped(_correction(each))


def _wrapped(text: str, indent: str = "") -> None:
    for line in textwrap.wrap(
        text,
        min(_WIDTH, console(stderr=False).width),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    ):
        answer(line)


def _row(plan: Plan, claim: ClaimPlan) -> list[str]:
    finding = claim.finding
    cells = claim.cells()
    first = [finding.id, str(finding.verdict), _effect(finding)]
    if not cells:
        return [*first, "-", "-", "-", "-"]
    seeds = sorted({len(each.have) for each in claim.added})
    now = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    configurations = str(len(claim.added))
    return [*first, configurations, now, str(len(cells)), duration(plan.seconds(cells))]


def _lines(claim: ClaimPlan) -> list[str]:
    """Return what is run of a claim, or why nothing is."""
    lines = [f"{_seeds(each)} of {named(each.more.params)}" for each in claim.added[:_LISTED]]
    more = len(claim.added) - len(lines)
    lines += [f"and of {more} more configurations"] if more else []
    if claim.obstacle:
        now, _, _ = claim.finding.explanation.partition(". ")
        return [*lines, f"Now: {now.removesuffix('.')}.", f"Nothing is run: {claim.obstacle}."]
    if claim.look.plan == sequential.FIRST_SEEDS:
        return [*lines, "These show how much seeds differ. What is then undecided gets a plan."]
    numbers = range(claim.look.round, claim.look.rounds + 1)
    counts = [f"{n}: {runs(len(claim.cells(n)))}" for n in numbers]
    lines.append(f"by round, {', '.join(counts)}")
    chance = "" if claim.is_sure else " before the corrections below, less after them"
    return [*lines, f"If the effect is as it seems, the chance to decide it is 80%{chance}."]


def _seeds(added: Added) -> str:
    seeds = [cell.seed for cells in added.cells for cell in cells]
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def _effect(finding: "Finding") -> str:
    from mnist_ops.compare.headlines import with_interval

    if finding.effect is None:
        return "not measured"
    return with_interval(finding.effect, finding.interval, "")


def _correction(looks: Sequence[sequential.Look]) -> str:
    factors = ", ".join(f"{each.factor:.3g}" for each in looks)
    share = 5 * sum(1 / each.factor for each in looks)
    times = "once" if len(looks) == 1 else f"{len(looks)} times"
    return (
        f"A claim's plan {looks[0].plan} looks at the runs {times}, with {share:.2g}% for all "
        f"looks: p-values are multiplied by {factors} (Bonferroni), then adjusted over all "
        "findings (Holm)."
    )


def _print_result(result: Result) -> None:
    answer("")
    for each in result.ended:
        _wrapped(f"{each.finding.id}: {_became(each)}")
    answer(f"Took {duration(result.spent_s)}. Tables: `mnist-ops summarize`.")


def _became(ended: Ended) -> str:
    p_value = ended.finding.p_value
    numbers = [f"effect {_effect(ended.finding)}"] if ended.finding.effect is not None else []
    numbers += [f"p {p_value:.2g} after the corrections"] if p_value is not None else []
    return f"{ended.finding.verdict} ({', '.join([ended.how, *numbers])})"


def _plan_fields(plan: Plan) -> dict[str, Any]:
    return {
        "preset": plan.preset,
        "hours": plan.hours,
        "workers": plan.workers,
        "runs": len(plan.cells),
        "seconds": plan.seconds(plan.cells),
        "claims": [
            {
                **_finding_fields(claim.finding),
                "plan": claim.look.plan,
                "round": claim.look.round,
                "factors": [look.factor for look in claim.look.of_plan],
                "chance_is_after_corrections": claim.is_sure,
                "obstacle": claim.obstacle or None,
                "seconds": plan.seconds(claim.cells()),
                "configurations": [
                    {
                        "study": each.more.study,
                        "params": dict(each.more.params),
                        "seeds_now": list(each.have),
                        "seeds_by_round": [[cell.seed for cell in cells] for cells in each.cells],
                        "seconds_of_one": each.more.seconds,
                    }
                    for each in claim.added
                ],
            }
            for claim in plan.claims
        ],
    }


def _result_fields(result: Result) -> dict[str, Any]:
    return {
        "ended": [_finding_fields(each.finding) | {"how": each.how} for each in result.ended],
        "spent_seconds": result.spent_s,
        "reports": [report_fields(report) for report in result.reports],
    }


def _finding_fields(finding: "Finding") -> dict[str, Any]:
    return {
        "id": finding.id,
        "claim": finding.claim,
        "verdict": str(finding.verdict),
        "effect": finding.effect,
        "effect_unit": finding.effect_unit,
        "interval": finding.interval,
        "p_value": finding.p_value,
    }
