"""Compute a trajectory and track its cells: the code that every worker runs."""

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
from mnist_ops.trajectories import Trajectory

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
    """How far a trajectory is: `epoch` of `epochs`, 0 at its start."""

    key: str
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


def compute(
    trajectory: Trajectory, context: CellContext, report: Callable[[Progress], None]
) -> list[Outcome]:
    """Fit `trajectory`, and log each of its cells as a run of its own.

    A failure ends those runs that have no result yet as FAILED; it does not reach the caller.
    """
    runs: dict[Spec, tracking.CellRun] = {}
    outcomes: list[Outcome] = []
    try:
        with tracking.tracking_errors(context.tracking_uri):
            images = load(trajectory.fitted.dataset, context.data_dir)
            for spec in trajectory.cells:
                runs[spec] = _open_run(spec, trajectory, context, images)
            report(_progress(trajectory, 0))

            def on_epoch(epoch: EpochResult) -> None:
                for spec, run in runs.items():
                    if epoch.number <= _epochs(spec):
                        run.log_epoch(epoch)
                report(_progress(trajectory, epoch.number))

            with train.reproducible(THREADS):
                results = _fit(trajectory, images, on_epoch)
            for spec, run in runs.items():
                run.finish(results[spec])
                outcomes.append(_finished(spec, run, results[spec]))
    except Exception as error:
        done = {outcome.spec for outcome in outcomes}
        left = [spec for spec in trajectory.cells if spec not in done]
        outcomes += [_failed(spec, runs.get(spec), error, context) for spec in left]
    finally:
        report(_progress(trajectory, _epochs(trajectory.fitted)))
    return outcomes


def _open_run(
    spec: Spec, trajectory: Trajectory, context: CellContext, images: Images
) -> tracking.CellRun:
    return tracking.CellRun(
        _client(context.tracking_uri),
        spec,
        context.parent,
        context.presets[spec.fingerprint],
        images.digest,
        trajectory.key,
        # Machines that are fitted together each have a time of their own.
        time_is_measured=spec == trajectory.fitted or isinstance(spec, SvmSpec),
    )


def _fit(trajectory: Trajectory, images: Images, on_epoch: OnEpoch) -> dict[Spec, FitResult]:
    spec = trajectory.fitted
    if isinstance(spec, ResNetSpec):
        lengths = {_epochs(cell) for cell in trajectory.cells}
        results = train.fit(spec, images, on_epoch, results_after=lengths)
        return {cell: results[_epochs(cell)] for cell in trajectory.cells}
    machines = [cell for cell in trajectory.cells if isinstance(cell, SvmSpec)]
    return dict(zip(trajectory.cells, svm.fit_all(machines, images), strict=True))


def _epochs(spec: Spec) -> int:
    return spec.epochs if isinstance(spec, ResNetSpec) else 1


def _progress(trajectory: Trajectory, epoch: int) -> Progress:
    spec, others = trajectory.fitted, len(trajectory.cells) - 1
    name = f"{spec.name} (and {others} more)" if others else spec.name
    return Progress(trajectory.key, name, epoch, _epochs(spec))


def _finished(spec: Spec, run: tracking.CellRun, result: FitResult) -> Outcome:
    return Outcome(
        spec,
        run.run_id,
        test_accuracy=result.metrics[keys.TEST_ACCURACY],
        train_time_s=result.metrics[keys.TRAIN_TIME_S],
    )


def _failed(
    spec: Spec, run: tracking.CellRun | None, error: Exception, context: CellContext
) -> Outcome:
    reason = _reason(error)
    if run is None:
        return Outcome(spec, error=reason)
    try:
        with tracking.tracking_errors(context.tracking_uri):
            run.fail(reason, "".join(traceback.format_exception(error)))
    except Exception as second:
        # The store may be what failed; then the reason still reaches the caller.
        reason += f" (and its run could not be ended: {_reason(second)})"
    return Outcome(spec, run.run_id, error=reason)


@cache
def _client(uri: str) -> MlflowClient:
    return tracking.connect(uri)


def _reason(error: Exception) -> str:
    message = " ".join(str(error).split())
    return message if isinstance(error, MnistOpsError) else f"{type(error).__name__}: {message}"
