"""From all runs of a store to the cells that the tables are made of."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mnist_ops.compare import cells as states
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.matching import matched_fingerprints
from mnist_ops.compare.runs import (
    END_TIME,
    ERROR,
    FINGERPRINT,
    NAME,
    PRESET,
    RUN_ID,
    STATUS,
    STUDY,
    TIME,
    records,
)
from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.core.escaping import printable
from mnist_ops.study.grids import Study
from mnist_ops.study.specs import DEVICES, OFFICIAL, Spec

# What a training time is that no training had which had its device for itself.
_NOT_ITS_OWN = {
    keys.TIME_ATTRIBUTED: "attributed: the cells share a training with a cell whose time was "
    "measured (--no-share times each)",
    keys.TIME_SHARED: "of trainings side by side on one CUDA device: longer than each would take "
    "alone (--streams 1 times each)",
}


class NoRuns(MnistOpsError):
    """The store has no runs to compare."""


@dataclass(frozen=True)
class Note:
    """Something that a reader of the tables should know about the runs behind them.

    Attributes:
        text: one sentence.
        names: the runs that it is about.
    """

    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coverage:
    """How many cells of a study became what.

    ``expected`` is the sum of the five that follow it.

    Attributes:
        study: name of the study; empty for the total.
        expected: cells that the preset asks for.
        finished: of those, with a usable result.
        failed: ended with an error, or without a usable accuracy.
        unfinished: started, but killed or never heard of again.
        not_measured: could not be run, for a reason that was given.
        missing: never started.
        extra: cells started beyond the preset's, of the user's own grid.
    """

    study: str
    expected: int
    finished: int
    failed: int
    unfinished: int
    not_measured: int
    missing: int
    extra: int


@dataclass(frozen=True)
class Selection:
    """What the tables are made of.

    Attributes:
        preset: the size of the cells.
        cells: expected ones in the order of the grids, then the user's own by name.
        runs: the runs of the finished cells, one row a cell, columns as of `runs.typed`.
        coverage: one entry a study.
        notes: what was left out, and what else to know of the runs.
        studies: those whose cells are expected.
    """

    preset: str
    cells: tuple[Cell, ...]
    runs: pd.DataFrame
    coverage: tuple[Coverage, ...]
    notes: tuple[Note, ...]
    studies: tuple[Study, ...] = ()

    @property
    def total(self) -> Coverage:
        """Return the coverage of all studies together."""
        return _coverage("", self.cells)

    @property
    def not_finished(self) -> tuple[Cell, ...]:
        """Return the cells without a usable result, in the order of `cells`."""
        return tuple(cell for cell in self.cells if not cell.finished)

    def of(self, study: str) -> list[Cell]:
        """Return the cells of `study`."""
        return [cell for cell in self.cells if cell.study == study]


def select(
    runs: pd.DataFrame,
    expected: Callable[[str], Sequence[Spec]],
    not_measured: Mapping[str, str],
    preset: str | None = None,
    left_out: Sequence[str] = (),
    studies: Sequence[Study] = (),
) -> Selection:
    """Choose the preset, and for each of its cells the one run that counts.

    A finished run without a usable accuracy counts for nothing; of several good runs of a cell
    the latest counts. Which cell a run is of, its fingerprint says, or else its params. Where a
    study has runs on two devices, the one with more finished cells is used, unless its grid is
    about both.

    Args:
        runs: as `runs.typed` gives them.
        expected: preset -> the cells that it should have; asked for the known presets only, as
            a size of the user's own has no cells that it should have.
        not_measured: fingerprint -> why the cell could not be run.
        preset: which cells; None takes the preset with the most finished ones.
        left_out: a line on each run that is not among `runs`, as it cannot be right.
        studies: those whose cells are expected; they tell which presets there are.

    Raises:
        NoRuns: there are no runs, or none at `preset`.
    """
    ours = runs[runs[STUDY].notna()].copy()
    if ours.empty:
        raise NoRuns("no runs to summarize; first run: mnist-ops run all --preset quick")
    ours[PRESET] = ours[PRESET].fillna("no preset")
    presets = list(dict.fromkeys(name for study in studies for name in study.presets))
    chosen = preset or _most_finished(ours, studies, presets)
    notes: list[Note] = []
    if left_out:
        text = f"{_runs(len(left_out))} with values that cannot be right not used."
        notes.append(Note(text, tuple(left_out)))
    ours = _at_preset(ours, chosen, studies, notes)
    ours = _with_fingerprint(ours, notes)
    ours, used = _on_one_device(ours, studies, notes)
    specs = [_moved(spec, used) for spec in (expected(chosen) if chosen in presets else ())]
    ours = _as_cells(ours, specs, notes)
    counted = _counted(ours, notes)
    cells = _cells(specs, counted, not_measured, own_size=chosen not in presets)
    usual = {study.name: states.usual_params(study) for study in studies}
    cells = [dataclasses.replace(cell, usual=usual.get(cell.study, {})) for cell in cells]
    finished = counted.set_index(FINGERPRINT, drop=False)
    order = [cell.fingerprint for cell in cells if cell.finished]
    _note_times(finished.loc[order], notes)
    return Selection(
        preset=chosen,
        cells=tuple(cells),
        runs=finished.loc[order].reset_index(drop=True),
        coverage=tuple(
            _coverage(study, [cell for cell in cells if cell.study == study])
            for study in dict.fromkeys(cell.study for cell in cells)
        ),
        notes=tuple(notes),
        studies=tuple(studies),
    )


def _most_finished(ours: pd.DataFrame, studies: Iterable[Study], presets: Sequence[str]) -> str:
    """Return the preset with the most finished cells; of equals the larger one.

    The runs on official test images explain those of a preset: they are chosen only where there
    are no others.
    """
    explaining = {
        study.departed_label(name, OFFICIAL) for study in studies for name in study.presets
    }
    preferred = [*reversed(presets)]
    finished = ours[ours[STATUS] == "FINISHED"]
    counts = finished.groupby(PRESET)[FINGERPRINT].nunique()

    def rank(preset: str) -> tuple[bool, int, int, str]:
        known = preferred.index(preset) if preset in preferred else len(preferred)
        return preset in explaining, -int(counts.get(preset, 0)), known, preset

    return min(map(str, ours[PRESET].unique()), key=rank)


def _at_preset(
    ours: pd.DataFrame, preset: str, studies: Iterable[Study], notes: list[Note]
) -> pd.DataFrame:
    allowed = {study.name: study.same_size(preset) for study in studies}
    fits = pd.Series(
        [p in allowed.get(s, (preset,)) for p, s in zip(ours[PRESET], ours[STUDY], strict=True)],
        index=ours.index,
    )
    if not fits.any():
        there = ", ".join(sorted(map(str, ours[PRESET].unique())))
        raise NoRuns(f"no runs at preset {preset}; the store has runs at: {there}")
    others = Counter(map(str, ours[PRESET][~fits]))
    if others:
        named = ", ".join(f"{name} ({count})" for name, count in sorted(others.items()))
        notes.append(Note(f"{_runs(others.total())} of other presets not used: {named}."))
    return ours[fits]


def _with_fingerprint(ours: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    known = ours[FINGERPRINT].notna()
    if not known.all():
        left = _names(ours[~known])
        notes.append(Note(f"{_runs(len(left))} without a fingerprint not used.", left))
    return ours[known]


def _on_one_device(
    ours: pd.DataFrame, studies: Iterable[Study], notes: list[Note]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the runs on the device used in each study, and that device by study."""
    about_devices = {study.name for study in studies if len(study.grid.get(keys.DEVICE, ())) > 1}
    used: dict[str, str] = {}
    for study, of_study in ours.groupby(STUDY, sort=True):
        finished = of_study[_usable(of_study)]
        among = of_study if finished.empty else finished
        counts = among.groupby(keys.DEVICE)[FINGERPRINT].nunique()
        if study in about_devices or counts.empty:
            continue
        device = min(counts.index, key=lambda name: (-counts[name], name))
        used[str(study)] = str(device)
        elsewhere = of_study[of_study[keys.DEVICE].notna() & (of_study[keys.DEVICE] != device)]
        if not elsewhere.empty:
            ours = ours.drop(elsewhere.index)
            others = ", ".join(sorted(map(str, elsewhere[keys.DEVICE].unique())))
            notes.append(
                Note(
                    f"{study}: the runs on {device} are used, where most cells finished; "
                    f"{_runs(len(elsewhere))} on {others} not used."
                )
            )
    return ours, used


def _as_cells(ours: pd.DataFrame, specs: Sequence[Spec], notes: list[Note]) -> pd.DataFrame:
    """Return the runs under the fingerprints of their cells."""
    fingerprints = pd.Series(
        matched_fingerprints(records(ours), specs), index=ours.index, dtype="object"
    )
    if fingerprints.isna().any():
        left = _names(ours[fingerprints.isna()])
        notes.append(
            Note(
                f"{_runs(len(left))} with a fingerprint that the params contradict: not used.", left
            )
        )
        ours = ours[fingerprints.notna()]
    matched = ours.assign(**{FINGERPRINT: fingerprints[ours.index]})
    renamed = _names(ours[matched[FINGERPRINT] != ours[FINGERPRINT]])
    if renamed:
        notes.append(
            Note(
                f"{_runs(len(renamed))} with fingerprints of another origin taken for the cells "
                "of the same study and params.",
                renamed,
            )
        )
    return matched


def _counted(ours: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    """Return one run a fingerprint: the latest usable one, or else the latest to start."""
    usable = _usable(ours)
    broken = _names(ours[(ours[STATUS] == "FINISHED") & ~usable])
    if broken:
        notes.append(
            Note(f"{_runs(len(broken))} finished without a usable accuracy: not used.", broken)
        )
    good = ours[usable].sort_values([END_TIME, RUN_ID], na_position="first")
    older = repeated(ours)
    if not older.empty:
        notes.append(
            Note(
                f"{_runs(len(older))} repeated later: of each cell the latest finished run counts.",
                _names(older),
            )
        )
    good = good.drop_duplicates(FINGERPRINT, keep="last")
    rest = ours[~ours[FINGERPRINT].isin(good[FINGERPRINT])]
    return pd.concat([good, rest.drop_duplicates(FINGERPRINT, keep="last")])


def repeated(ours: pd.DataFrame) -> pd.DataFrame:
    """Return the usable runs that are unused because a later one of the same cell exists.

    Args:
        ours: runs with a fingerprint, as `runs.typed` gives them.
    """
    good = ours[_usable(ours)].sort_values([END_TIME, RUN_ID], na_position="first")
    return good[good.duplicated(FINGERPRINT, keep="last")]


def _note_times(counted: pd.DataFrame, notes: list[Note]) -> None:
    """Say which training times are not those of a training that had its device for itself."""
    for kind, meaning in _NOT_ITS_OWN.items():
        those = counted[counted[TIME] == kind]
        if not those.empty:
            text = f"{len(those):,} of {len(counted):,} training times are {meaning}."
            notes.append(Note(text, _names(those)))


def _usable(ours: pd.DataFrame) -> pd.Series:
    return (ours[STATUS] == "FINISHED") & ours[keys.TEST_ACCURACY].between(0, 1)


def _moved(spec: Spec, used: Mapping[str, str]) -> Spec:
    """`spec` on the device that its study ran on, which need not be one of this machine."""
    device = used.get(spec.study, spec.device)
    if device != spec.device and device in DEVICES:
        return spec.on(device)
    return spec


def _cells(
    specs: Iterable[Spec],
    counted: pd.DataFrame,
    not_measured: Mapping[str, str],
    own_size: bool,
) -> list[Cell]:
    """Return the expected cells, then those that were started beyond them.

    A size of the user's own has no expected cells: there, what was started is what should be.
    """
    started = {str(row[FINGERPRINT]): row for row in records(counted)}
    cells = []
    for spec in specs:
        row = started.pop(spec.fingerprint, None)
        if row is not None:
            cells.append(_started(row, states.spec_params(spec), expected=True))
            continue
        reason = not_measured.get(spec.fingerprint)
        cells.append(
            Cell(
                fingerprint=spec.fingerprint,
                name=spec.name,
                study=spec.study,
                status=states.MISSING if reason is None else states.NOT_MEASURED,
                reason=printable(reason or "no run in the store"),
                expected=True,
                params=states.spec_params(spec),
                metrics={},
            )
        )
    extra = [_started(row, {}, expected=own_size) for row in started.values()]
    return cells + sorted(extra, key=lambda cell: (cell.study, cell.name, cell.fingerprint))


def _started(row: Mapping[str, Any], params: Mapping[str, Any], *, expected: bool) -> Cell:
    status, reason = _outcome(row)
    return Cell(
        fingerprint=row[FINGERPRINT],
        name=_name(row),
        study=row[STUDY],
        status=status,
        reason=reason,
        expected=expected,
        params=states.run_params(row) | dict(params),
        metrics=states.run_metrics(row) if status == states.FINISHED else {},
        run_id=str(row[RUN_ID]),
    )


def _outcome(row: Mapping[str, Any]) -> tuple[str, str]:
    match row[STATUS]:
        case "FINISHED" if 0 <= row[keys.TEST_ACCURACY] <= 1:
            return states.FINISHED, ""
        case "FINISHED":
            return states.FAILED, "finished without a usable accuracy"
        case "FAILED":
            error = row[ERROR] if isinstance(row[ERROR], str) else ""
            return states.FAILED, next(iter(error.strip().splitlines()), "no error recorded")
        case "KILLED":
            return states.UNFINISHED, "killed"
        case _:
            return states.UNFINISHED, "still running, or ended without a word"


def _coverage(study: str, cells: Iterable[Cell]) -> Coverage:
    cells = list(cells)
    counts = Counter(cell.status for cell in cells if cell.expected)
    return Coverage(
        study=study,
        expected=counts.total(),
        finished=counts[states.FINISHED],
        failed=counts[states.FAILED],
        unfinished=counts[states.UNFINISHED],
        not_measured=counts[states.NOT_MEASURED],
        missing=counts[states.MISSING],
        extra=sum(not cell.expected for cell in cells),
    )


def _runs(count: int) -> str:
    return f"{count:,} run" + ("" if count == 1 else "s")


def _name(row: Mapping[str, Any]) -> str:
    name = row[NAME] if isinstance(row[NAME], str) else row[RUN_ID]
    return str(name)


def _names(runs: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted(_name(row) for row in records(runs)))
