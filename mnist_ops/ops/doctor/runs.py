"""Check the runs of the store: status, completeness, and one per cell."""

import platform
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

import pandas as pd
from mlflow.entities import Run

from mnist_ops import tracking
from mnist_ops.compare import runs as columns
from mnist_ops.compare.selection import repeated
from mnist_ops.core import instruction_set, keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.ops.doctor.changes import Change, EndRun, SetDeleted
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, counted, not_checked, note
from mnist_ops.study.specs import from_canonical
from mnist_ops.tracking.claims import Claims
from mnist_ops.tracking.integrity import Defect, Missing, defects
from mnist_ops.tracking.provenance import instructions_of
from mnist_ops.tracking.queries import never_begun, unchecked_finished_runs
from mnist_ops.tracking.tracker import ENDED_BEFORE

_OPEN = "open runs"
_FINISHED = "finished runs"
_CLAIMS = "claims"
_NEVER_BUILT = "its environment was never built"

Defects = dict[str, Defect]


def check_open_runs(context: Context) -> Examination:
    """Check for RUNNING runs whose process has ended."""
    client = context.client
    if client is None:
        return not_checked(_OPEN)
    issues = []
    stale = []
    if context.store:
        stale = tracking.find_stale_runs(client, Claims(client, context.store), context.ended_among)
    if stale:
        issues.append(
            Issue(
                "ghost",
                f"{counted(len(stale), 'run')} RUNNING whose process has ended",
                "--fix ends them as KILLED; the command that started them resumes them",
                _names(stale),
                fix=lambda fixes: _kill(context, fixes, stale, lambda run: ENDED_BEFORE),
            )
        )
    if left := never_begun(client, round(context.now() * 1000)):
        issues.append(
            Issue(
                "never-begun",
                f"{counted(len(left), 'run')} that `mlflow run` opened over three hours ago and "
                "never started: building the environment failed",
                "--fix ends them as KILLED; with `--env-manager local` nothing needs to be built",
                _names(left),
                fix=lambda fixes: _kill(context, fixes, left, lambda run: _NEVER_BUILT),
            )
        )
    return Examination(_OPEN, "none whose process has ended", tuple(issues))


def check_finished_runs(context: Context) -> Examination:
    """Check for FINISHED runs that are incomplete, or not the only one of their cell."""
    if context.client is None:
        return not_checked(_FINISHED)
    odd: list[str] = []
    runs = list(unchecked_finished_runs(context.client, odd.append))
    found = defects(context.client, runs)
    extra = _superfluous(runs, found)
    extra_ids = {run.info.run_id for run in extra}
    needed = [run for run in runs if run.info.run_id not in extra_ids]
    issues = [
        *_without_result(context, needed, found),
        *_incomplete(context, needed, found),
        *_unreachable(needed, found),
        *_duplicates(context, extra),
        *_undecided(needed, found),
        *_odd(runs, found, odd),
        *_other_instructions(needed),
    ]
    ok = f"{counted(len(runs), 'run')}, each complete and the only one of its cell"
    return Examination(_FINISHED, ok if runs else "none yet", tuple(issues))


def check_claims(context: Context) -> Examination:
    """Check for claims of processes that have ended, which the next grid would take over."""
    client, store = context.client, context.store
    if client is None:
        return not_checked(_CLAIMS)
    owners = {f: owner for f, (_, owner) in context.entries.claims.items() if owner is not None}
    gone = context.ended_among(owners.values())
    abandoned = [fingerprint for fingerprint, owner in owners.items() if owner in gone]
    if not abandoned or store is None:
        return Examination(_CLAIMS, "none of a process that has ended")

    def release(fixes: Fixes) -> str:
        claims = Claims(client, store)
        with tracking.tracking_errors(context.uri):
            # Claims that another process takes over meanwhile are not released.
            claims.release(claims.claim(abandoned))
            claims.close()
        return "released"

    return Examination(
        _CLAIMS,
        "",
        (
            note(
                "dead-claim",
                f"{counted(len(abandoned), 'cell')} claimed by processes that have ended: harmless",
                "the next grid takes them over, --fix releases them",
                fix=release,
            ),
        ),
    )


def _of(runs: Iterable[Run], found: Defects, missing_part: Missing) -> list[Run]:
    return [
        r
        for r in runs
        if (d := found.get(r.info.run_id)) is not None and d.missing_part is missing_part
    ]


def _without_result(context: Context, runs: list[Run], found: Defects) -> Iterable[Issue]:
    if those := _of(runs, found, Missing.RESULT):
        yield Issue(
            "half-logged",
            f"{counted(len(those), 'run')} FINISHED without a result",
            "--fix sets them to KILLED, and the next grid computes their cells again",
            _reasons(those, found),
            fix=lambda fixes: _kill(context, fixes, those, lambda run: _reason(run, found)),
        )


def _incomplete(context: Context, runs: list[Run], found: Defects) -> Iterable[Issue]:
    those = _of(runs, found, Missing.PART)
    if not those:
        return

    def invalidate(fixes: Fixes) -> str:
        return _kill(context, fixes, those, lambda run: _reason(run, found))

    yield Issue(
        "incomplete",
        f"{counted(len(those), 'run')} FINISHED with a result, but incomplete",
        "their accuracies count; `verify` and comparisons of predictions leave them out. Restore "
        "the files, or `mnist-ops doctor --fix --force` sets the runs to KILLED, and the next grid "
        "computes their cells again",
        _reasons(those, found),
        fix=invalidate if context.force else None,
    )


def _unreachable(runs: list[Run], found: Defects) -> Iterable[Issue]:
    if those := _of(runs, found, Missing.UNKNOWN):
        yield Issue(
            "artifacts-unreachable",
            f"the artifacts of {counted(len(those), 'run')} cannot be read from here",
            "restore their folder, or run doctor on the machine that has it; the runs stay "
            "unchanged",
            tuple(sorted({found[run.info.run_id].why for run in those})),
        )


def _odd(runs: list[Run], found: Defects, odd: list[str]) -> Iterable[Issue]:
    """Yield an issue of the invalid runs, which every command leaves out."""
    looked_at = [run for run in runs if run.info.run_id not in found]
    lines = [*odd, *(str(c) for c in map(tracking.cell_of, looked_at) if not isinstance(c, str))]
    if lines:
        yield note(
            "odd-values",
            f"{counted(len(lines), 'run')} that are left out as invalid",
            "correct or delete them in MLflow; their cells are computed again",
            tuple(lines),
        )


def _superfluous(runs: list[Run], found: Defects) -> list[Run]:
    """Return the runs of cells that have another complete one; reports use the latest of those."""
    # Only valid runs can make others superfluous.
    valid = [run for _, run in tracking.valid_cells(runs)]
    complete = [run for run in valid if run.info.run_id not in found]
    later = set(repeated(_frame(complete))[columns.RUN_ID])
    kept = {_cell(run) for run in complete}
    damaged = [run for run in _of(valid, found, Missing.PART) if _cell(run) in kept]
    return [run for run in complete if run.info.run_id in later] + damaged


def _frame(runs: list[Run]) -> pd.DataFrame:
    rows = [
        {
            columns.RUN_ID: run.info.run_id,
            columns.STATUS: run.info.status,
            columns.FINGERPRINT: _cell(run),
            columns.START_TIME: run.info.start_time,
            columns.END_TIME: run.info.end_time,
            keys.TEST_ACCURACY: run.data.metrics.get(keys.TEST_ACCURACY),
        }
        for run in runs
    ]
    frame = pd.DataFrame(rows)
    for time in (columns.START_TIME, columns.END_TIME):
        if time in frame:
            # Times out of range become missing.
            frame[time] = pd.to_datetime(frame[time], unit="ms", utc=True, errors="coerce")
    return columns.typed(frame)


def _duplicates(context: Context, extra: list[Run]) -> Iterable[Issue]:
    if extra:
        cells = len({_cell(run) for run in extra})
        yield Issue(
            "duplicate",
            f"{counted(len(extra), 'run')} too many: {counted(cells, 'cell')} finished twice",
            "--fix deletes all but the one that reports use, the latest complete one; `mlflow runs "
            "restore` restores a run",
            _names(extra),
            fix=lambda fixes: _each(
                context,
                fixes,
                extra,
                lambda run: SetDeleted("run", run.info.run_id, run.info.run_name, deleted=True),
                "deleted",
            ),
        )


def _undecided(runs: list[Run], found: Defects) -> Iterable[Issue]:
    """Yield an issue of duplicates of which it is unknown which ones are complete."""
    without = {run.info.run_id for run in _of(runs, found, Missing.RESULT)}
    counts = Counter(_cell(run) for run in runs if run.info.run_id not in without)
    if several := [r for r in runs if counts[_cell(r)] > 1 and r.info.run_id not in without]:
        yield note(
            "duplicate-undecided",
            f"{counted(len(several), 'run')} of cells that finished twice, not all known complete",
            "reports use the latest; all are kept. Run doctor again when their artifacts are back",
            _names(several),
        )


def _other_instructions(runs: list[Run]) -> Iterable[Issue]:
    """Yield a note on networks that were computed with another instruction set than is used now."""
    counts: Counter[str] = Counter()
    for _, run in tracking.valid_cells(runs):
        # A run of an unknown version of the spec tells nothing.
        with suppress(InvalidInput):
            spec = from_canonical(run.data.tags.get(keys.SPEC, ""))
            counts[instructions_of(run.data.tags, spec)] += 1
    now = instruction_set.current()
    for name, count in counts.items():
        if name in ("", now):
            continue
        cure = (
            f"`--instruction-set {name}` stays with theirs"
            if instruction_set.can(name)
            else "this CPU lacks theirs"
        )
        yield note(
            "instruction-set",
            f"{counted(count, 'run')} computed with {name}; new runs are computed with "
            f"{now or platform.machine()}",
            f"rounding differs, so the same bits cannot be expected; the report says so; {cure}",
        )


def _kill(context: Context, fixes: Fixes, runs: list[Run], why: Callable[[Run], str]) -> str:
    return _each(context, fixes, runs, lambda run: EndRun.killed(run, why(run)), "set to KILLED")


def _each(
    context: Context, fixes: Fixes, runs: list[Run], change: Callable[[Run], Change], done: str
) -> str:
    """Change those of `runs` whose status has not changed since the check."""
    assert context.client is not None
    changed = 0
    with tracking.tracking_errors(context.uri):
        for run in runs:
            now = context.client.get_run(run.info.run_id)
            if (now.info.status, now.info.lifecycle_stage) == (run.info.status, "active"):
                fixes.make(change(now))
                changed += 1
    return f"{counted(changed, 'run')} {done}"


def _cell(run: Run) -> str:
    return str(run.data.tags[keys.FINGERPRINT])


def _reason(run: Run, found: Defects) -> str:
    return f"half logged: {found[run.info.run_id].why}"


def _reasons(runs: Iterable[Run], found: Defects) -> tuple[str, ...]:
    return tuple(f"{run.info.run_name}: {found[run.info.run_id].why}" for run in runs)


def _names(runs: Iterable[Run]) -> tuple[str, ...]:
    return tuple(f"{run.info.run_name} ({run.info.run_id[:8]})" for run in runs)
