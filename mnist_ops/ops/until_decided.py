"""Plan and run the further seeds that decide claims of a paper.

A claim's plan is made from the runs that there are before its first: what its test needs at the
level of the last look, in rounds of about as many seeds. Where no number of seeds is enough for
that, it is what the finding says it needs. Nothing about a plan is stored but a tag on its runs. A
plan that was interrupted is made again, from the same runs, and goes on.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import pandas as pd

from mnist_ops import compare, tracking
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.findings import all_findings, sequential
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Finding, Verdict
from mnist_ops.compare.findings.need import MoreSeeds, configuration_of
from mnist_ops.compare.findings.sequential import Look
from mnist_ops.compare.runs import START_TIME, typed
from mnist_ops.core import cancellation, cuda, keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.ops.claim_plans import Added, ClaimPlan, Ended, Plan, Result, union, within_budget
from mnist_ops.ops.reports import source_of
from mnist_ops.runner import engine
from mnist_ops.runner.settings import Display, Settings
from mnist_ops.runner.study_report import StudyReport
from mnist_ops.runner.workers.local import usable_cores
from mnist_ops.study.grids import Choices, Study
from mnist_ops.study.specs import Spec

_Log = Callable[[str], None]
# Of a claim without a plan.
_FIRST = Look(sequential.FIRST_SEEDS, 1, 1)


class Decider:
    """Plans and runs what decides claims of `paper`, in MLflow's current store."""

    def __init__(self, paper: compare.Paper, settings: Settings, log: _Log = lambda line: None):
        """`settings` are those of each round; its preset counts where `plan` gets none."""
        self._paper = paper
        self._claims = {claim.id: claim for section in paper.claims for claim in section.claims}
        self._settings = settings
        self._log = log
        self._workers = settings.workers or (len(usable_cores()) if settings.workers is None else 1)

    def plan(self, names: Sequence[str], preset: str | None, hours: float | None) -> Plan:
        """Plan the claims called `names`, or all that are undecided.

        Args:
            names: of claims.
            preset: the size of the cells; None takes the one with the most finished cells.
            hours: what may be spent; None is no limit.

        Raises:
            InvalidInput: the paper has no such claim, or none of its studies such a preset.
            NoRuns: there are no runs, or none at `preset`.
            TrackingUnavailable: the store cannot be read.
        """
        for name in names:
            if name not in self._claims:
                raise InvalidInput.not_one_of("claim", name, self._claims)
        presets = dict.fromkeys(name for study in self._paper.studies for name in study.presets)
        if preset is not None and preset not in presets:
            raise InvalidInput.not_one_of("preset", preset, presets)
        state = self._state(preset)
        asked = [
            self._claims[finding.id]
            for finding in state.findings.values()
            if finding.id in names or (not names and finding.verdict == Verdict.UNDECIDABLE)
        ]
        found = Plan(
            state.preset,
            tuple(self._of_claim(claim, state) for claim in asked),
            self._workers,
            hours,
        )
        return within_budget(found)

    def run(self, plan: Plan, display: Display) -> Result:
        """Run the rounds of a plan, until each claim is decided or the budget is spent.

        A round that fails is the last one; its reports tell.

        Raises:
            MnistOpsError: as a grid.
            KeyboardInterrupt: the user interrupted it; the same plan can be continued.
        """
        began = time.monotonic()
        deadline = None if plan.hours is None else began + plan.hours * 3600
        result = Result([Ended(c.finding, c.obstacle) for c in plan.claims if c.obstacle])
        active = plan.active
        while active:
            cells = union(each.cells(each.look.round) for each in active)
            names = ", ".join(f"{c.finding.id} round {c.look.round}" for c in active)
            self._log(f"{names}: {len(cells)} runs")
            reports = self._round(plan.preset, active, cells, deadline, display)
            if reports is None:
                result.ended += [Ended(c.finding, _spent(c)) for c in active]
                break
            result.reports += reports
            if not all(report.succeeded for report in reports):
                result.ended += [Ended(c.finding, "some of its runs failed") for c in active]
                break
            state = self._state(plan.preset)
            judged = [replace(c, finding=state.findings[c.finding.id]) for c in active]
            active = []
            for claim in judged:
                decided = claim.finding.verdict != Verdict.UNDECIDABLE
                if not decided and not claim.last:
                    active.append(_next_round(claim))
                elif not decided and claim.look.plan == sequential.FIRST_SEEDS:
                    active.append(self._of_claim(self._claims[claim.finding.id], state))
                else:
                    result.ended.append(Ended(claim.finding, _after(claim)))
            left = None if deadline is None else (deadline - time.monotonic()) / 3600
            now = within_budget(
                replace(plan, claims=tuple(active), hours=left),
                lambda claim: claim.cells(None if claim.look.round == 1 else claim.look.round),
            )
            result.ended += [Ended(c.finding, c.obstacle) for c in now.claims if c.obstacle]
            active = now.active
        order = [each.finding.id for each in plan.claims]
        result.ended.sort(key=lambda each: order.index(each.finding.id))
        result.spent_s = time.monotonic() - began
        return result

    def _state(self, preset: str | None) -> "_State":
        runs = tracking.StoredRuns()
        with tracking.tracking_errors(runs.uri):
            source = source_of(runs, self._paper, log=self._log)
            return _State(self._paper, replace(source, runs=typed(source.runs)), preset)

    def _of_claim(self, claim: Claim, state: "_State") -> ClaimPlan:
        """Plan a claim: go on with its latest plan, or make the next if that has ended."""
        finding = state.findings[claim.id]
        latest = sequential.latest(state.evidence.selection.runs).get(claim.id)
        if finding.verdict != Verdict.UNDECIDABLE:
            return ClaimPlan(finding, latest or _FIRST, obstacle="it is decided already")
        number = latest.plan if latest else sequential.FIRST_SEEDS
        found = self._made(claim, finding, number, state, state.before(claim.id, number))
        if latest is None or found.added:
            return found
        return self._made(claim, finding, number + 1, state, state)

    def _made(
        self, claim: Claim, finding: Finding, number: int, state: "_State", base: "_State"
    ) -> ClaimPlan:
        """Make the plan of a claim from the runs of `base`, without what is finished of it."""
        before = base.findings[claim.id]
        if number == sequential.FIRST_SEEDS and before.interval is not None:
            # It could be tested: that was a look.
            number = 1
        corrected = sequential.level(number, base.undecided)
        need = claim.hypothesis(replace(base.evidence, alpha=corrected)).grade.need
        is_sure = need is not None
        need = need or before.grade.need
        if need is None:
            why = f"it needs {finding.missing}"
            return ClaimPlan(finding, Look(number, 1, 1), obstacle=why)
        rounds = sequential.number_of_rounds(max(more.seeds for more in need.cells))
        planned = [self._added(more, rounds, base, state) for more in need.cells]
        # The rounds whose cells are all finished are over.
        unfinished = [any(each.cells[n] for each in planned) for n in range(rounds)]
        if not any(unfinished):
            return ClaimPlan(finding, Look(number, rounds, rounds))
        over = unfinished.index(True)
        look = Look(number, over + 1, rounds)
        added = tuple(replace(each, cells=each.cells[over:]) for each in planned)
        needs_cuda = any(cell.device == "cuda" for each in added for c in each.cells for cell in c)
        is_here = cuda.is_available() or self._settings.scheduler
        obstacle = "its runs need a CUDA device: none is here" if needs_cuda and not is_here else ""
        return ClaimPlan(finding, look, added, is_sure, obstacle)

    def _added(self, more: MoreSeeds, rounds: int, base: "_State", state: "_State") -> Added:
        """Return the next seeds of a configuration by number, round by round."""
        study = self._paper.study(more.study)
        used = {cell.params.get(keys.SEED) for cell in base.finished(more)}
        free = [seed for seed in range(len(used) + more.seeds) if seed not in used]
        have = sorted({int(cell.params[keys.SEED]) for cell in state.finished(more)})
        done = {cell.fingerprint for cell in state.finished(more)}
        fitting = study.with_axes(_axes(study, more))
        by_round = []
        for seeds in sequential.split(free[: more.seeds], rounds):
            cells = fitting.cells(state.preset, Choices(seeds=tuple(seeds))) if seeds else []
            by_round.append(tuple(cell for cell in cells if cell.fingerprint not in done))
        return Added(more, tuple(have), tuple(by_round))

    def _round(
        self,
        preset: str,
        active: Sequence[ClaimPlan],
        cells: Mapping[Spec, float],
        deadline: float | None,
        display: Display,
    ) -> list[StudyReport] | None:
        """Run the cells of a round; None if the budget ended before they did."""
        studies = [
            _study_of(self._paper.study(name), [c for c in cells if c.study == name], active)
            for name in dict.fromkeys(cell.study for cell in cells)
        ]
        settings = replace(
            self._settings,
            preset=preset,
            choices=Choices(seeds=tuple(sorted({cell.seed for cell in cells}))),
            only=frozenset(cells),
            tags={keys.UNTIL_DECIDED: sequential.tag({c.finding.id: c.look for c in active})},
        )
        with _stopping_at(deadline) as expired:
            try:
                return engine.run(studies, settings, display)
            except KeyboardInterrupt:
                if expired.is_set():
                    return None
                raise


class _State:
    """What the runs of a store say of the claims."""

    def __init__(self, paper: compare.Paper, source: compare.Source, preset: str | None):
        self._paper = paper
        self._before: dict[pd.Timestamp, _State] = {}
        self.source = source
        self.evidence: Evidence = compare.evidence_of(source, paper, preset)
        self.preset = self.evidence.selection.preset

    @cached_property
    def findings(self) -> dict[str, Finding]:
        """Return the finding of each claim."""
        return {each.id: each for each in all_findings(self.evidence, self._paper.claims)}

    @property
    def undecided(self) -> int:
        """Return how many tests there are whose claims are not decided."""
        claims = [claim for section in self._paper.claims for claim in section.claims]
        undecided = {
            claim.hypothesis
            for claim in claims
            if self.findings[claim.id].verdict == Verdict.UNDECIDABLE
            and self.findings[claim.id].p_value is not None
        }
        return len(undecided)

    def before(self, claim: str, plan: int) -> "_State":
        """Return what the runs say that a claim's plan was made from: those begun before its."""
        began = sequential.began(self.evidence.selection.runs, claim, plan)
        if began is None:
            return self
        if began not in self._before:
            runs = self.source.runs
            earlier = replace(self.source, runs=runs[runs[START_TIME] < began])
            self._before[began] = _State(self._paper, earlier, self.preset)
        return self._before[began]

    def finished(self, more: MoreSeeds) -> list[Cell]:
        """Return the finished cells of a configuration."""
        return [
            cell
            for cell in self.evidence.selection.of(more.study)
            if cell.finished and configuration_of(cell) == more.params
        ]


def _axes(study: Study, more: MoreSeeds) -> dict[str, tuple[Any, ...]]:
    """Return the axes of a study with the values of one configuration."""
    known = {*study.axes, keys.MODEL, keys.DEVICE}
    return {
        name: (_number(value) if name == keys.GAMMA else value,)
        for name, value in more.params.items()
        if name in known
    }


def _number(gamma: Any) -> Any:
    """Return gamma as a grid has it: a number, or the name of a rule."""
    try:
        return float(gamma)
    except ValueError:
        return gamma


def _study_of(study: Study, cells: Sequence[Spec], active: Sequence[ClaimPlan]) -> Study:
    """Return the study with a grid that has these cells, among others."""
    grids = [
        _axes(study, each.more)
        for claim in active
        for each in claim.added
        if each.more.study == study.name
    ]
    axes: dict[str, tuple[Any, ...]] = {}
    for grid in grids:
        for name, values in grid.items():
            axes[name] = tuple(dict.fromkeys((*axes.get(name, ()), *values)))
    return study.with_axes(axes)


def _next_round(claim: ClaimPlan) -> ClaimPlan:
    added = tuple(replace(each, cells=each.cells[1:]) for each in claim.added)
    return replace(claim, look=replace(claim.look, round=claim.look.round + 1), added=added)


def _after(claim: ClaimPlan) -> str:
    if claim.look.plan == sequential.FIRST_SEEDS:
        return "after the first seeds"
    return f"after round {claim.look.round} of {claim.look.rounds}"


def _spent(claim: ClaimPlan) -> str:
    return (
        f"the budget was spent in round {claim.look.round} of {claim.look.rounds}; the same "
        "command continues it"
    )


@contextmanager
def _stopping_at(deadline: float | None) -> Iterator[threading.Event]:
    """Ask the grid to stop at `deadline`; yield the event that it was."""
    expired, done = threading.Event(), threading.Event()

    def watch() -> None:
        while deadline is not None and not done.wait(max(0.2, deadline - time.monotonic())):
            # Again and again: a grid that begins forgets earlier requests.
            expired.set()
            cancellation.request()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield expired
    finally:
        done.set()
        watcher.join()
        if expired.is_set():
            cancellation.reset()
