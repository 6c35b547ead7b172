"""Compute one cell and track it: the code that every worker runs."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlflow import MlflowClient

from mnist_ops import keys, svm, tracking, train
from mnist_ops.data import Images, load
from mnist_ops.errors import MnistOpsError
from mnist_ops.results import EpochResult, FitResult, OnEpoch
from mnist_ops.specs import ResNetSpec, Spec, SvmSpec

# Sums over threads depend on how many there are: one, everywhere, keeps a cell reproducible
# whatever the number of workers.
THREADS = 1


@dataclass(frozen=True)
class CellContext:
    """What a worker needs beside the spec.

    Attributes:
        tracking_uri: of the store, absolute.
        parent: the grid's run.
        data_dir: folder of the data sets; None is the worker's own default.
        presets: fingerprint -> value of the preset tag.
    """

    tracking_uri: str
    parent: tracking.Parent
    data_dir: Path | None
    presets: dict[str, str]


@dataclass(frozen=True)
class Progress:
    """How far a cell is: `epoch` of `epochs`, 0 at its start."""

    fingerprint: str
    name: str
    epoch: int
    epochs: int


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        spec: the cell.
        run_id: its MLflow run; None where none could be opened.
        test_accuracy: 0 to 1; None where the cell failed.
        train_time_s: seconds; None where the cell failed.
        error: one line; None where it finished.
    """

    spec: Spec
    run_id: str | None = None
    test_accuracy: float | None = None
    train_time_s: float | None = None
    error: str | None = None


def compute(spec: Spec, context: CellContext, report: Callable[[Progress], None]) -> Outcome:
    """Fit `spec` and log it as a run of its own; a failure ends that run, not the caller."""
    run = None
    try:
        images = load(spec.dataset, context.data_dir)
        client = _client(context.tracking_uri)
        preset = context.presets[spec.fingerprint]
        run = tracking.CellRun(client, spec, context.parent, preset, images.digest)
        epochs = spec.epochs if isinstance(spec, ResNetSpec) else 1
        report(Progress(spec.fingerprint, spec.name, 0, epochs))

        def on_epoch(epoch: EpochResult) -> None:
            run.log_epoch(epoch)
            report(Progress(spec.fingerprint, spec.name, epoch.number, epochs))

        with train.reproducible(THREADS):
            result = _fit(spec, images, on_epoch)
        run.finish(result)
    except Exception as error:
        reason = _reason(error)
        if run is not None:
            # The store may be what failed; then the reason still reaches the caller.
            try:
                run.fail(reason, traceback.format_exc())
            except Exception as second:
                reason += f" (and its run could not be ended: {_reason(second)})"
        return Outcome(spec, run.run_id if run else None, error=reason)
    return Outcome(
        spec,
        run.run_id,
        test_accuracy=result.metrics[keys.TEST_ACCURACY],
        train_time_s=result.metrics[keys.TRAIN_TIME_S],
    )


def _fit(spec: Spec, images: Images, on_epoch: OnEpoch) -> FitResult:
    if isinstance(spec, ResNetSpec):
        return train.fit(spec, images, on_epoch)[spec.epochs]
    assert isinstance(spec, SvmSpec)
    return svm.fit(spec, images, on_epoch)


@cache
def _client(uri: str) -> MlflowClient:
    return tracking.connect(uri)


def _reason(error: Exception) -> str:
    message = " ".join(str(error).split())
    return message if isinstance(error, MnistOpsError) else f"{type(error).__name__}: {message}"
