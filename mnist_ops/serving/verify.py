"""Compute finished cells again from their recorded specs, against what their runs logged."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from numpy.typing import NDArray

from mnist_ops import data, tracking
from mnist_ops.compare.statistics import ALPHA, Comparison, mcnemar
from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.fitting import methods
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.runner.task import THREADS
from mnist_ops.serving import registry
from mnist_ops.study.results import FitResult, Predictions
from mnist_ops.study.specs import Spec
from mnist_ops.tracking import LeftOut

# Shows a fit: given a spec and its number of steps, yields what to call between two of them.
Watch = Callable[[Spec, int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True)
class Agreement:
    """A cell computed again, against the run that it repeats.

    Attributes:
        n_test: test images.
        differing: those for which other classes were logged; None where the run's predictions
            cannot be read, or are of other images.
        comparison: the repeat against the run, by McNemar's test; None where nothing differs.
    """

    n_test: int
    differing: int | None
    comparison: Comparison | None = None

    @property
    def beyond_chance(self) -> bool:
        """Whether the accuracies differ by more than chance."""
        p_value = self.comparison.p_value if self.comparison else None
        return p_value is not None and p_value < ALPHA

    @property
    def text(self) -> str:
        """In a sentence."""
        if self.differing is None:
            return "the logged predictions are unreadable; the refit cannot be verified"
        if not self.differing:
            return f"the refit predicts what was logged for all {self.n_test:,} test images"
        assert self.comparison is not None
        return (
            f"the refit predicts otherwise than was logged for {self.differing:,} of "
            f"{self.n_test:,} test images, {self.comparison.effect:+.2%} accuracy "
            f"(McNemar p = {self.comparison.p_value:.2g}): fits agree to the bit on the same "
            "processor and library versions only"
        )


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
    """

    name: str
    study: str
    fingerprint: str
    logged: float
    repeated: float
    agreement: Agreement

    @property
    def confirms(self) -> bool:
        """Whether the predictions are those logged, or the accuracy is but for chance."""
        return self.agreement.differing is not None and not self.agreement.beyond_chance


def repeat(
    uri: str,
    names: Sequence[str] = (),
    *,
    sample: int | None = None,
    seed: int = 0,
    data_dir: Path | None = None,
    watch: Watch = lambda spec, steps: nullcontext(lambda: None),
    left_out: LeftOut = lambda line: None,
) -> Iterator[Repeat]:
    """Compute finished cells of a store again, one after the other; the store is left alone.

    Args:
        uri: of the store.
        names: of runs, or fingerprints of cells; none takes every finished cell.
        sample: how many of them, drawn by chance; None takes all.
        seed: of the draw.
        data_dir: the data directory; None is the default one.
        watch: shows a fit.
        left_out: gets a line on each run that cannot be right, or cannot be fitted again.

    Raises:
        InvalidInput: there is no finished run of a name.
        MnistOpsError: there are no finished runs, or one was fitted to other images than are here.
        DataUnavailable: a data set is missing or damaged.
        TrackingUnavailable: the store cannot be read.
    """
    client = tracking.connect(uri, create=False)
    with tracking.tracking_errors(uri):
        runs = tracking.counted_runs(client, left_out=tracking.once(left_out))
        for run in runs:
            if keys.SPEC not in run.data.tags:
                left_out(str(tracking.Invalid.of(run, "it has no spec to be fitted again")))
        chosen = _chosen([run for run in runs if keys.SPEC in run.data.tags], names)
        if sample is not None and sample < len(chosen):
            chosen = random.Random(seed).sample(chosen, sample)
        for run in chosen:
            yield _repeat(client, run, data_dir, watch)


def compute(
    spec: Spec,
    images: data.Images,
    on_step: Callable[[], None] = lambda: None,
    *,
    keep_model: bool = False,
) -> FitResult:
    """Fit `spec` as a worker does; nothing is tracked.

    Raises:
        InvalidInput, TooManyImages, TrainingDiverged: as the fits do.
    """
    results: list[FitResult] = []

    def stop() -> bool:
        """Return False: it is asked between two steps, and never is it time to stop."""
        on_step()
        return False

    def keep(cell: Spec, result: FitResult) -> None:
        results.append(result)

    with reproducible(THREADS):
        methods.fit([spec], images, methods.Work(keep, stop=stop, keep_model=keep_model))
    return results[0]


def agreement(
    predicted: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    index: NDArray[np.int32],
    logged: Predictions | None,
) -> Agreement:
    """Compare predictions of the test images at `index` with those that a run logged."""
    n_test = len(predicted)
    if logged is None or not np.array_equal(logged.index, index):
        return Agreement(n_test, None)
    differing = int((logged.predicted != predicted).sum())
    if not differing:
        return Agreement(n_test, 0)
    return Agreement(n_test, differing, mcnemar(predicted == labels, logged.predicted == labels))


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


def _repeat(client: MlflowClient, run: Run, data_dir: Path | None, watch: Watch) -> Repeat:
    spec = registry.recorded_spec(run)
    images = images_of(run, spec, data_dir)
    with watch(spec, steps(spec, images)) as on_step:
        result = compute(here(spec), images, on_step)
    logged = tracking.predictions(client, run.info.run_id)
    return Repeat(
        name=run.info.run_name or spec.name,
        study=spec.study,
        fingerprint=spec.fingerprint,
        logged=run.data.metrics[keys.TEST_ACCURACY],
        repeated=result.metrics[keys.TEST_ACCURACY],
        agreement=agreement(result.predictions, result.labels, result.test_index, logged),
    )
