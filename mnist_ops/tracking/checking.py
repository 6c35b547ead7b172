"""Check the runs of a store, whose content is untrusted.

`fault` checks the form of every run that a search returns, `cell_of` whether it is a valid result
of a cell. Invalid runs are reported in a line each and left out.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mlflow.entities import Run, RunStatus

from mnist_ops.core import keys
from mnist_ops.core.escaping import portable_text
from mnist_ops.study import validity
from mnist_ops.study.validity import MAX_TAG, MAX_TIME, shown

LeftOut = Callable[[str], None]

_OURS = "mnist_ops."
_LINES_LOGGED = 20
_STATUSES = frozenset(RunStatus.to_string(number) for number in RunStatus.all_status())
# Tolerance for a clock that was set back while a run was computed.
_CLOCK_MS = 86_400_000


@dataclass(frozen=True)
class Invalid:
    """A run that is left out.

    Attributes:
        run: its name by `named`.
        reason: the reason, as the end of a sentence about the run.
        other_version: whether it may be valid, but this version of the program cannot tell.
    """

    run: str
    reason: str
    other_version: bool = False

    @classmethod
    def of(cls, run: Run, reason: str, *, other_version: bool = False) -> "Invalid":
        """Create it for `run`, which is left out for `reason`."""
        return cls(named(run), reason, other_version)

    def __str__(self) -> str:
        return f"{self.run}: {self.reason}; left out"


def named(run: Run) -> str:
    """Return a run's name for messages: its name and the start of its id."""
    name = run.info.run_name if isinstance(run.info.run_name, str) else ""
    shown_name = " ".join(portable_text(name, 100).split()) or "without a name"
    return f"run {shown_name} ({str(run.info.run_id)[:8]})"


def ignore(line: str) -> None:
    """Ignore a line about a run that is left out."""


def once(log: LeftOut) -> LeftOut:
    """Return `log` without repetitions, as a command may read a run several times."""
    logged: set[str] = set()

    def log_once(line: str) -> None:
        if line not in logged:
            logged.add(line)
            log(line)

    return log_once


def first_lines(log: LeftOut) -> LeftOut:
    """Return `log` for the first 20 lines; of those that follow it gets one line in all."""
    lines = itertools.count(1)

    def log_first(line: str) -> None:
        number = next(lines)
        if number <= _LINES_LOGGED:
            log(line)
        elif number == _LINES_LOGGED + 1:
            log(
                "more are left out, without a line on each "
                "(mnist-ops doctor --json lists those of a store)"
            )

    return log_first


def fault(run: Run) -> Invalid | None:
    """Return what is invalid in the status, times or tags of a run; None if nothing is."""
    try:
        _check_form(run)
    except ValueError as error:
        return _invalid(run, error)
    return None


def cell_of(run: Run, *, known_spec: bool = True) -> str | Invalid:
    """Return the fingerprint of a run's cell, or why the run is not valid.

    A valid run has valid tags, params and metrics, a spec or params that match its fingerprint, and
    if it is FINISHED an accuracy (see `validity.check_cell`).

    Args:
        run: has passed `fault`.
        known_spec: whether the spec or the params must match the fingerprint; other programs may
            compute fingerprints in another way.
    """
    finished = run.info.status == "FINISHED"
    try:
        if finished and run.info.end_time is None:
            raise ValueError("it is finished but has no end time")
        data = run.data
        spec = validity.check_cell(data.tags, data.params, data.metrics, finished=finished)
        if spec is None and known_spec:
            raise ValueError("its fingerprint matches neither a spec nor its params")
    except ValueError as error:
        return _invalid(run, error)
    return str(run.data.tags[keys.FINGERPRINT])


def valid_cells(runs: Iterable[Run], left_out: LeftOut = ignore) -> Iterator[tuple[str, Run]]:
    """Yield the valid runs, each with the fingerprint of its cell; report the others."""
    for run in runs:
        cell = cell_of(run)
        if isinstance(cell, Invalid):
            left_out(str(cell))
        else:
            yield cell, run


def _invalid(run: Run, error: ValueError) -> Invalid:
    return Invalid.of(run, str(error), other_version=isinstance(error, validity.OtherVersion))


def _check_form(run: Run) -> None:
    info = run.info
    if info.status not in _STATUSES:
        raise ValueError(f"its status is {shown(info.status)}")
    times = {"start": info.start_time, "end": info.end_time}
    for name, time in times.items():
        absent = time is None and name == "end"
        if not absent and not (type(time) is int and 0 <= time <= MAX_TIME):
            raise ValueError(f"its {name} time is {shown(time)}, which is invalid")
    if info.end_time is not None and info.end_time < info.start_time - _CLOCK_MS:
        raise ValueError("it ended more than a day before it began")
    if not isinstance(info.run_name, str | None):
        raise ValueError(f"its name is {shown(info.run_name)}, not text")
    if not isinstance(info.artifact_uri, str):
        raise ValueError("it has no artifact location")
    for entries in (run.data.tags, run.data.params):
        for name, text in entries.items():
            if not isinstance(text, str):
                raise ValueError(f"its {shown(name)} is {shown(text)}, not text")
    for name, text in run.data.tags.items():
        if name.startswith(_OURS) and len(text) > MAX_TAG:
            raise ValueError(f"its tag {shown(name)} has {len(text):,} characters")
