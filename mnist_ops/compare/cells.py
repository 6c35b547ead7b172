"""A cell of a study, and what became of it."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mnist_ops.compare.runs import ARGUMENT_PREFIX
from mnist_ops.core import keys
from mnist_ops.study.grids import Study
from mnist_ops.study.specs import ADDED, Spec, pinning_matters
from mnist_ops.study.validity import METRICS, PARAMS

# What became of a cell; the last four are the kinds of not finished.
FINISHED = "finished"
FAILED = "failed"
UNFINISHED = "unfinished"
NOT_MEASURED = "not measured"
MISSING = "missing"
NOT_FINISHED = (FAILED, UNFINISHED, NOT_MEASURED, MISSING)

_ADDED_AXES = {
    name: ADDED[name]
    for name in (keys.WEIGHT_DECAY, keys.LABEL_SMOOTHING, keys.SCHEDULE, keys.AUGMENTATION)
}

# The params that say which cell of its study a run is of. How many images it saw and in which
# precision it computed is the preset's affair.
IDENTITY = (
    keys.DATASET,
    keys.MODEL,
    keys.BATCH_SIZE,
    keys.OPTIMIZER,
    keys.LEARNING_RATE,
    keys.MOMENTUM,
    keys.EPOCHS,
    keys.PIN_MEMORY,
    keys.KERNEL,
    keys.C,
    keys.GAMMA,
    keys.DEGREE,
    keys.SEED,
    keys.DEVICE,
)

_PINNED = (keys.PIN_MEMORY,)
# Equal in two cells of one seed that are one training.
_SCORES = (keys.TEST_ACCURACY, keys.TEST_F1, keys.VAL_ACCURACY)
# Params that follow from others, or say how the images were divided.
BOOKKEEPING = frozenset(
    {keys.AMP, keys.N_TRAIN, keys.N_VAL, keys.N_TEST, keys.DATA_PARTS, keys.PLAIN}
)

# The params that no table is about unless the study's grid varies them.
_RARELY_VARIED = (
    keys.MOMENTUM,
    keys.DEGREE,
    keys.PIN_MEMORY,
    keys.WEIGHT_DECAY,
    keys.LABEL_SMOOTHING,
    keys.SCHEDULE,
    keys.AUGMENTATION,
)


@dataclass(frozen=True)
class Cell:
    """One experiment at the chosen preset, whether it ran or not.

    Attributes:
        fingerprint: the key of the cell.
        name: of its run, or the name that its run would have.
        study: the study that it belongs to.
        status: `FINISHED` or one of `NOT_FINISHED`.
        reason: why it is not finished, in one line; empty where it is.
        expected: whether the preset asks for it; others are of the user's own grid.
        params: by name, values as Python numbers, bools and texts; absent ones are left out.
        metrics: by name, finite numbers only; empty unless finished.
        run_id: of the run that counts; None where there is none.
        usual: what cells of the study have of some params unless the user varies them.
    """

    fingerprint: str
    name: str
    study: str
    status: str
    reason: str
    expected: bool
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    run_id: str | None = None
    usual: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Return whether the cell has a usable result."""
        return self.status == FINISHED

    @cached_property
    def variant(self) -> str:
        """Return the non-default params beyond the axes of the tables, as ``momentum=0.0``.

        Cells of different variants are never averaged: a table gives each its own row.
        """
        return ", ".join(
            f"{name}={self.params[name]}"
            for name, value in self.usual.items()
            if self.params.get(name, value) != value
        )

    @cached_property
    def identifying(self) -> Mapping[str, Any]:
        """Return the params that say which cell of its study it is, read once."""
        return identifying(self.params)

    def key(self, *names: str) -> tuple[Any, ...]:
        """Return the values of the params `names`; None for those that the cell does not have."""
        return tuple(self.params.get(name) for name in names)


def trainings(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Group the cells by configuration, with each training once.

    Without an accelerator, a cell with pinned memory is a copy of the one without. Two rules for
    gamma are one kernel where most seeds have equal scores with both.
    """
    by_configuration: dict[tuple[Any, ...], dict[Any, Cell]] = {}
    for cell in cells:
        idle = () if pinning_matters(str(cell.params.get(keys.DEVICE, "cpu"))) else _PINNED
        seeds = by_configuration.setdefault(identity(cell, keys.SEED, *idle), {})
        known = seeds.setdefault(cell.params.get(keys.SEED), cell)
        if cell.finished and not known.finished:
            seeds[cell.params.get(keys.SEED)] = cell
    kept: dict[tuple[Any, ...], list[dict[Any, Cell]]] = {}
    for seeds in by_configuration.values():
        alike = kept.setdefault(identity(next(iter(seeds.values())), keys.SEED, keys.GAMMA), [])
        if not any(_one_kernel(seeds, other) for other in alike):
            alike.append(seeds)
    return [list(seeds.values()) for alike in kept.values() for seeds in alike]


def identity(cell: Cell, *without: str) -> tuple[Any, ...]:
    """Return the study and the params that say which cell it is, except those of `without`."""
    others = [
        (name, value)
        for name, value in cell.identifying.items()
        if name not in IDENTITY and name not in without
    ]
    named = cell.key(*(name for name in IDENTITY if name not in without))
    return (cell.study, *named, *others)


def identifying(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params that say which cell of its study a run is of, absent ones left out.

    These are `IDENTITY`, axes that not every study has where they differ from what is usual, and
    the arguments of a user's functions.
    """
    added = [name for name, usual in _ADDED_AXES.items() if params.get(name, usual) != usual]
    names = [*IDENTITY, *added, *sorted(arguments_in(params))]
    return {name: params[name] for name in names if params.get(name) is not None}


def arguments_in(params: Mapping[str, Any]) -> set[str]:
    """Return the names of the params that are arguments of a user's functions."""
    return params.keys() - PARAMS.keys() - BOOKKEEPING


def _one_kernel(first: Mapping[Any, Cell], second: Mapping[Any, Cell]) -> bool:
    both = [
        (first[seed], second[seed])
        for seed in first
        if seed in second and first[seed].finished and second[seed].finished
    ]
    if not both or keys.GAMMA not in both[0][0].params:
        return False
    same = sum(all(a.metrics.get(s) == b.metrics.get(s) for s in _SCORES) for a, b in both)
    return 2 * same > len(both)


def usual_params(study: Study) -> dict[str, Any]:
    """Return the rarely varied params of the study's cells, as its grid or its spec has them."""
    fixed = {f.name: f.default for f in dataclasses.fields(study.spec)}
    fixed |= {name: values[0] for name, values in study.grid.items() if len(values) == 1}
    varied = [name for name, values in study.grid.items() if len(values) > 1]
    return {n: fixed[n] for n in _RARELY_VARIED if n in fixed and n not in varied}


def spec_params(spec: Spec) -> dict[str, Any]:
    """Return the params of `spec` as they read back from its run."""
    return {
        name: _gamma(value) if name == keys.GAMMA else value for name, value in spec.params.items()
    }


def run_params(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a row of `runs.typed` as Python values, without absent ones."""
    readers = {"text": str, "whole": int, "number": float, "flag": bool}
    params = {
        name: readers[kind](row[name])
        for name, kind in PARAMS.items()
        # A missing value of any of pandas' kinds is the one thing not equal to itself, or NA.
        if str(row[name]) not in ("nan", "<NA>", "None")
    }
    for column in row:
        if column.startswith(ARGUMENT_PREFIX) and isinstance(row[column], str):
            params[column.removeprefix(ARGUMENT_PREFIX)] = json.loads(row[column])
    if keys.GAMMA in params:
        params[keys.GAMMA] = _gamma(params[keys.GAMMA])
    if keys.LEARNING_RATE in params:
        # Runs of networks that are older than these axes do not have them.
        params = _ADDED_AXES | params
    return params


def run_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite metrics of a row of `runs.typed`."""
    return {name: float(row[name]) for name in METRICS if math.isfinite(row[name])}


def _gamma(value: object) -> str:
    try:
        return repr(float(str(value)))
    except ValueError:
        return str(value)
