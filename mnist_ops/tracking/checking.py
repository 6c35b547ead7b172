"""Check the runs of a store, which anyone may have written.

`fault` checks the form of every run that is searched for, `cell_of` whether it is valid as the
result of a cell. A run that is not is named in a line, and left out.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mlflow.entities import Run, RunStatus

from mnist_ops.core import keys
from mnist_ops.core.escaping import portable_text
from mnist_ops.study import validity
from mnist_ops.study.validity import MAX_TAG, MAX_TIME, shown

LeftOut = Callable[[str], None]

_OURS = "mnist_ops."
_STATUSES = frozenset(RunStatus.to_string(number) for number in RunStatus.all_status())
# How far a clock may have been put back while a run was computed.
_CLOCK_MS = 86_400_000


@dataclass(frozen=True)
class Invalid:
    """A run that does not count.

    Attributes:
        run: as `named` has it.
        reason: why, as the end of a sentence about it.
        other_version: whether it may be good, but this version cannot tell.
    """

    run: str
    reason: str
    other_version: bool = False

    @classmethod
    def of(cls, run: Run, reason: str, *, other_version: bool = False) -> "Invalid":
        """`run` with the reason why it does not count."""
        return cls(named(run), reason, other_version)

    def __str__(self) -> str:
        return f"{self.run}: {self.reason}; left out"


def named(run: Run) -> str:
    """Return how messages name a run: by its name, and the beginning of its id."""
    name = run.info.run_name if isinstance(run.info.run_name, str) else ""
    shown_name = " ".join(portable_text(name, 100).split()) or "without a name"
    return f"run {shown_name} ({str(run.info.run_id)[:8]})"


def nobody(line: str) -> None:
    """Ignore a line on what is left out."""


def once(log: LeftOut) -> LeftOut:
    """`log`, but each line once: a command reads the same run more than once."""
    told: set[str] = set()

    def tell(line: str) -> None:
        if line not in told:
            told.add(line)
            log(line)

    return tell


def fault(run: Run) -> Invalid | None:
    """Return what is wrong with the status, times or tags of a run; None where nothing is."""
    try:
        _check_form(run)
    except ValueError as error:
        return _invalid(run, error)
    return None


def cell_of(run: Run, *, known_spec: bool = True) -> str | Invalid:
    """Return the fingerprint of a run's cell, or why the run is not valid.

    Its tags, params and metrics are valid, its spec or its params give the fingerprint, and if it
    is FINISHED it has an accuracy (see `validity.check_cell`).

    Args:
        run: has passed `fault`.
        known_spec: whether a fingerprint that neither a spec nor the params give is refused;
            another program computes fingerprints in its own way.
    """
    finished = run.info.status == "FINISHED"
    try:
        if finished and run.info.end_time is None:
            raise ValueError("it is finished and has no end")
        data = run.data
        spec = validity.check_cell(data.tags, data.params, data.metrics, finished=finished)
        if spec is None and known_spec:
            raise ValueError("its fingerprint fits neither a spec nor its params")
    except ValueError as error:
        return _invalid(run, error)
    return str(run.data.tags[keys.FINGERPRINT])


def valid_cells(runs: Iterable[Run], left_out: LeftOut = nobody) -> Iterator[tuple[str, Run]]:
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
            raise ValueError(f"its {name} is {shown(time)}, no time")
    if info.end_time is not None and info.end_time < info.start_time - _CLOCK_MS:
        raise ValueError("it ended more than a day before it began")
    if not isinstance(info.run_name, str | None):
        raise ValueError(f"its name is {shown(info.run_name)}, no text")
    if not isinstance(info.artifact_uri, str):
        raise ValueError("it has no place for its artifacts")
    for entries in (run.data.tags, run.data.params):
        for name, text in entries.items():
            if not isinstance(text, str):
                raise ValueError(f"its {shown(name)} is {shown(text)}, no text")
    for name, text in run.data.tags.items():
        if name.startswith(_OURS) and len(text) > MAX_TAG:
            raise ValueError(f"its tag {shown(name)} has {len(text):,} characters")
