"""Compute finished cells again from their recorded specs, against what their runs logged."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mlflow.entities import Run
from numpy.typing import NDArray

from mnist_ops import data, tracking
from mnist_ops.core import instruction_set, keys
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.fitting import methods
from mnist_ops.serving import other_process, registry
from mnist_ops.serving.seed_noise import Noise, SeedNoise
from mnist_ops.study.method import method_of
from mnist_ops.study.results import FitResult, Predictions
from mnist_ops.study.specs import Spec
from mnist_ops.tracking import LeftOut, provenance

# Called between two steps of a training.
Step = Callable[[], None]
# Shows a fit: given a spec and its number of steps, yields what to call between two of them.
Watch = Callable[[Spec, int], AbstractContextManager[Step]]


AGREES, WITHIN_NOISE, DIFFERS, UNKNOWN = "agrees", "within seed noise", "differs", "unknown"


@dataclass(frozen=True)
class Agreement:
    """A cell computed again, against the run that it repeats.

    Attributes:
        n_test: test images.
        differing: those for which other classes were logged; None where the run's predictions
            cannot be read, or are of other images.
        effect: by how much the repeat is more accurate than the run, -1 to 1.
        noise: what seeds explain of it; None where nothing differs.
    """

    n_test: int
    differing: int | None
    effect: float = 0.0
    noise: Noise | None = None

    @property
    def verdict(self) -> str:
        """One of `AGREES`, `WITHIN_NOISE`, `DIFFERS` and `UNKNOWN`."""
        if self.differing is None:
            return UNKNOWN
        if self.noise is None:
            return AGREES
        return WITHIN_NOISE if abs(self.effect) <= self.noise.bound else DIFFERS

    @property
    def text(self) -> str:
        """The verdict in a sentence."""
        if self.differing is None:
            return "the logged predictions are unreadable; the refit cannot be verified"
        if self.noise is None:
            return f"agrees, the refit predicts what was logged for all {self.n_test:,} test images"
        points, bound = f"{100 * abs(self.effect):.2f} points", f"{100 * self.noise.bound:.2f}"
        verdict = (
            f"within seed noise ({points} of {bound}, {self.noise.basis})"
            if self.verdict == WITHIN_NOISE
            else f"differs ({points}; seed noise is {bound}, {self.noise.basis})"
        )
        return (
            f"{verdict}, the refit predicts otherwise than was logged for {self.differing:,} of "
            f"{self.n_test:,} test images"
        )


@dataclass(frozen=True)
class Instructions:
    """The instruction set of a repeat, and that of its run.

    Attributes:
        used: by the repeat; empty where it makes no difference.
        recorded: by the run; empty where it is not known.
    """

    used: str
    recorded: str

    @property
    def note(self) -> str:
        """Why the repeat does not use the run's set; empty where it does, or none is known."""
        if not self.used or self.recorded in ("", self.used):
            return ""
        other = f"computed with {self.used}, the run with {self.recorded}"
        if instruction_set.can(self.recorded):
            return other
        return f"{other}, which this CPU lacks: the same bits cannot be expected"


@dataclass(frozen=True)
class Repeat:
    """A finished cell, computed again.

    Attributes:
        name: of its run.
        study: that it is of.
        fingerprint: of the cell.
        logged: the test accuracy of its run, 0 to 1.
        repeated: the test accuracy now.
        agreement: how the predictions compare.
        instructions: what it was computed with.
    """

    name: str
    study: str
    fingerprint: str
    logged: float
    repeated: float
    agreement: Agreement
    instructions: Instructions

    @property
    def confirms(self) -> bool:
        """Whether the predictions are those logged, or the accuracy is but for seed noise."""
        return self.agreement.verdict in (AGREES, WITHIN_NOISE)


def repeat(
    source: tracking.RunSource,
    names: Sequence[str] = (),
    *,
    sample: int | None = None,
    seed: int = 0,
    asked: str = instruction_set.AUTO,
    data_dir: Path | None = None,
    watch: Watch = lambda spec, steps: nullcontext(lambda: None),
    left_out: LeftOut = lambda line: None,
) -> Iterator[Repeat]:
    """Compute finished cells again, one after the other; nothing is written to their store.

    Args:
        source: of the cells.
        names: of runs, or fingerprints of cells; none takes every finished cell.
        sample: how many of them, drawn by chance; None takes all.
        seed: of the draw.
        asked: the instruction set to compute with; ``auto`` is that of each run, if the CPU has it.
        data_dir: the data directory; None is the default one.
        watch: shows a fit.
        left_out: gets a line on each run that cannot be right, or cannot be fitted again.

    Raises:
        InvalidInput: there is no finished run of a name, or the CPU lacks the instruction set.
        MnistOpsError: there are no finished runs, or one was fitted to other images than are here.
        DataUnavailable: a data set is missing or damaged.
        TrackingUnavailable: the store cannot be read.
    """
    with tracking.tracking_errors(source.uri):
        runs = source.counted_runs(tracking.once(left_out))
        for run in runs:
            if keys.SPEC not in run.data.tags:
                left_out(str(tracking.Invalid.of(run, "it has no spec to be fitted again")))
        chosen = _chosen([run for run in runs if keys.SPEC in run.data.tags], names)
        if sample is not None and sample < len(chosen):
            chosen = random.Random(seed).sample(chosen, sample)
        seed_noise = SeedNoise(runs)
        for run in chosen:
            spec = registry.recorded_spec(run)
            images = images_of(run, spec, data_dir)
            with_set = instructions(run, spec, asked)
            with watch(spec, steps(spec, images)) as on_step:
                result = compute(here(spec), images, on_step, instructions=with_set.used)
            yield Repeat(
                name=run.info.run_name or spec.name,
                study=spec.study,
                fingerprint=spec.fingerprint,
                logged=run.data.metrics[keys.TEST_ACCURACY],
                repeated=result.metrics[keys.TEST_ACCURACY],
                agreement=agreement(
                    result.predictions,
                    result.labels,
                    result.test_index,
                    source.predictions(run.info.run_id),
                    partial(seed_noise.between, spec, comparisons=len(chosen)),
                ),
                instructions=with_set,
            )


def compute(
    spec: Spec,
    images: data.Images,
    on_step: Step = lambda: None,
    *,
    keep_model: bool = False,
    instructions: str = "",
) -> FitResult:
    """Fit `spec` as a worker does; nothing is tracked.

    Args:
        spec: of the cell.
        images: its pooled data set.
        on_step: called between two steps of a training.
        keep_model: whether the result has the fitted model.
        instructions: the instruction set; a process of its own computes with another than that of
            this process. Empty is that of this process.

    Raises:
        InvalidInput, TooManyImages, TrainingDiverged: as the fits do.
        MnistOpsError: the process ended.
    """
    if instructions not in ("", instruction_set.current()):
        variables = instruction_set.environment(instructions)
        arguments = (spec, images, keep_model)
        fitted: FitResult = other_process.call(methods.fit_one, arguments, variables, on_step)
        return fitted
    return methods.fit_one(spec, images, keep_model, on_step)


def instructions(run: Run, spec: Spec, asked: str = instruction_set.AUTO) -> Instructions:
    """Return the instruction set to compute `run` again with: by default its own.

    Where this CPU lacks that, or nothing tells which it is, it is the one of this process.

    Raises:
        InvalidInput: the CPU lacks the set that is asked for.
    """
    name = instruction_set.chosen(asked) if asked != instruction_set.AUTO else ""
    if here(spec).device != "cpu" or not method_of(spec).uses_torch:
        return Instructions("", "")
    recorded = provenance.instructions_of(run.data.tags, spec)
    if not name and instruction_set.can(recorded):
        name = recorded
    return Instructions(name or instruction_set.current(), recorded)


def agreement(
    predicted: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    index: NDArray[np.int32],
    logged: Predictions | None,
    noise: Callable[[float, int], Noise],
) -> Agreement:
    """Compare predictions of the test images at `index` with those that a run logged.

    `noise` gives that of the run's accuracy on so many images; it is called if something differs.
    """
    n_test = len(predicted)
    if logged is None or not np.array_equal(logged.index, index):
        return Agreement(n_test, None)
    differing = int((logged.predicted != predicted).sum())
    if not differing:
        return Agreement(n_test, 0)
    before = float((logged.predicted == labels).mean())
    effect = float((predicted == labels).mean()) - before
    return Agreement(n_test, differing, effect, noise(before, n_test))


def steps(spec: Spec, images: data.Images) -> int:
    """Steps of a training, to show how far it is; 0 where there are none."""
    return spec.steps(len(data.split_of(spec, images).train))


def here(spec: Spec) -> Spec:
    """`spec`, or what is nearest to it that this machine can fit."""
    return spec if spec.device == "cpu" or torch.cuda.is_available() else spec.on("cpu")


def images_of(run: Run, spec: Spec, data_dir: Path | None) -> data.Images:
    """Return the images that `run` was fitted to.

    Raises:
        MnistOpsError: there are others in the data folder.
        DataUnavailable: they are missing or damaged.
    """
    images = data.load(spec.data.name, data_dir)
    if registry.recorded_digest(run) not in (images.digest, None):
        raise MnistOpsError(
            f"{run.info.run_name} was fitted to other images of {spec.dataset} than are in the "
            "data folder: name theirs with --data-dir"
        )
    return images


def _chosen(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    if not runs:
        raise MnistOpsError("no finished runs; first run: mnist-ops run all --preset quick")
    if not names:
        return list(runs)
    chosen: dict[str, Run] = {}
    for name in names:
        found = [r for r in runs if name in (r.info.run_name, tracking.fingerprint(r))]
        if not found:
            raise InvalidInput(f"no finished run is called {name}")
        chosen |= {run.info.run_id: run for run in found}
    return list(chosen.values())
