"""Estimate the duration of a grid from one short trial fit, before anything is computed."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from mnist_ops import data
from mnist_ops.core.durations import duration
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.fitting import methods
from mnist_ops.runner.fit_groups import FitGroup, grouped
from mnist_ops.runner.plan import Plan
from mnist_ops.runner.settings import Settings
from mnist_ops.runner.workers.local import usable_cores

# More cells than this are not run before the user has seen how long they take.
MANY_CELLS = 1000
_TRIAL_IMAGES = 64
# What a cell takes beside its fit: it is claimed, tracked and tested.
_BESIDE_S = 0.3


def check_size(plans: Sequence[Plan], settings: Settings) -> None:
    """Refuse a grid of more than `MANY_CELLS` cells, and tell how long it would take.

    Raises:
        InvalidInput: there are more.
    """
    count = sum(len(plan.cells) for plan in plans)
    if count <= MANY_CELLS:
        return
    try:
        takes = f"about {duration(_seconds(plans, settings))}"
    except MnistOpsError as error:
        takes = f"how long is not known ({error})"
    raise InvalidInput(
        f"{count:,} cells, {takes} (fewer where some are finished): --yes runs them, --set, "
        "--datasets and --seeds leave some out"
    )


def _seconds(plans: Sequence[Plan], settings: Settings) -> float:
    workers = settings.workers if settings.workers is not None else len(usable_cores())
    total = 0.0
    for plan in plans:
        groups = grouped(plan.cells, share=settings.share)
        if groups:
            # Costs compare with each other: one fit in the middle tells of all.
            trial = groups[len(groups) // 2]
            cost = sum(group.cost for group in groups) / trial.cost
            total += _fit_seconds(trial, settings) * cost + _BESIDE_S * len(plan.cells)
    return total / max(workers, 1)


def _fit_seconds(group: FitGroup, settings: Settings) -> float:
    """Time the fit on few images, and scale it by the number of images and epochs."""
    spec = group.fitted
    data.ensure(spec.dataset, settings.data_dir, lambda line: None)
    images = data.load(spec.dataset, settings.data_dir)
    few = max(_TRIAL_IMAGES, 2 * len(images.class_names))
    changes: dict[str, Any] = {"train_limit": few, "test_limit": len(images.class_names)}
    changes |= {"epochs": 1} if hasattr(spec, "epochs") else {}
    trial = dataclasses.replace(spec, **changes)
    start = time.perf_counter()
    methods.fit([trial], images, methods.Work(lambda cell, result: None))
    first_s = time.perf_counter() - start
    # Once more: the first compiles kernels and fills caches.
    start = time.perf_counter()
    methods.fit([trial], images, methods.Work(lambda cell, result: None))
    seconds = min(first_s, time.perf_counter() - start)
    n_train = len(data.split_of(spec, images).train)
    return seconds * n_train / few * spec.length
