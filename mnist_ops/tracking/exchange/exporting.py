"""Export the finished runs of a store into a file."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from pydantic import ValidationError

from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.core.escaping import portable_text
from mnist_ops.study.validity import MAX_PARAM
from mnist_ops.tracking.checking import Invalid, LeftOut, ignore, once
from mnist_ops.tracking.exchange.archive import Item, write
from mnist_ops.tracking.exchange.records import (
    DatasetUse,
    Point,
    RunRecord,
    first_problem,
    images_id,
)
from mnist_ops.tracking.queries import counted_runs, fingerprint, not_measured
from mnist_ops.tracking.reading import predictions
from mnist_ops.tracking.search import points
from mnist_ops.tracking.store import connect, default_uri, tracking_errors

# Simultaneous requests to a store.
_READERS = 4
# Runs that are read ahead into memory.
_AHEAD = 200

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exported:
    """Summary of an export.

    Attributes:
        path: of the file.
        bytes: size of the file.
        sha256: its digest, which is the same for the same runs.
        runs: number of runs.
        without_predictions: number of runs without predictions.
        lost_predictions: names of those among them that were not imported, so had predictions.
        not_measured: number of cells with a reason why they have no run.
    """

    path: Path
    bytes: int
    sha256: str
    runs: int
    without_predictions: int
    lost_predictions: tuple[str, ...]
    not_measured: int


def export_runs(
    path: Path,
    *,
    experiment: str | None = None,
    progress: Progress = lambda done, of: None,
    left_out: LeftOut = ignore,
) -> Exported:
    """Write the finished runs of MLflow's current store into the file at `path`.

    Of several runs of a cell the one that the report uses is exported.

    Args:
        path: of the file; an export that exists is replaced.
        experiment: name of the experiment to export; None is all experiments.
        progress: gets the number of runs done, and of all runs.
        left_out: gets a line on each run that is left out as invalid.

    Raises:
        InvalidInput: there is no such experiment, or `path` is a file of another kind.
        MnistOpsError: there are no finished runs, or the file cannot be written.
        TrackingUnavailable: the store cannot be read.
    """
    uri = default_uri()
    client = connect(uri, create=False)
    left_out = once(left_out)
    with tracking_errors(uri):
        runs = counted_runs(client, _experiment_id(client, experiment), left_out)
        if not runs:
            raise MnistOpsError(
                "no finished runs to export; first run: mnist-ops run all --preset quick"
            )
        known = {fingerprint(run) for run in runs}
        reasons = {
            cell: portable_text(reason, MAX_PARAM)
            for cell, reason in not_measured(client, left_out).items()
            if cell not in known
        }
        written = 0
        without: list[Run] = []

        def items() -> Iterator[Item]:
            nonlocal written
            for done, (run, item) in enumerate(zip(runs, _read(client, runs), strict=True), 1):
                progress(done, len(runs))
                if isinstance(item, Invalid):
                    left_out(str(item))
                    continue
                written += 1
                if item[1] is None:
                    without.append(run)
                yield item

        digest = write(path, items(), reasons)
    lost = tuple(
        f"{run.info.run_name} ({run.info.run_id[:8]})"
        for run in without
        if keys.IMPORTED not in run.data.tags
    )
    size = path.stat().st_size
    return Exported(path, size, digest, written, len(without), lost, len(reasons))


def _experiment_id(client: MlflowClient, name: str | None) -> str | None:
    if name is None:
        return None
    found = client.get_experiment_by_name(name)
    if found is None:
        raise InvalidInput(f"the tracking store has no experiment {name!r}")
    return str(found.experiment_id)


def _read(client: MlflowClient, runs: Sequence[Run]) -> Iterator[Item | Invalid]:
    with ThreadPoolExecutor(_READERS) as readers:
        for first in range(0, len(runs), _AHEAD):
            some = runs[first : first + _AHEAD]
            yield from readers.map(lambda run: _item(client, run), some)


def _item(client: MlflowClient, run: Run) -> Item | Invalid:
    info, data = run.info, run.data
    predicted = predictions(client, info.run_id)
    try:
        record = RunRecord(
            fingerprint=fingerprint(run),
            name=info.run_name or info.run_id,
            start_time=info.start_time,
            # The clock may have been set back meanwhile.
            end_time=max(info.end_time, info.start_time),
            params=data.params,
            tags=data.tags,
            metrics={
                name: tuple(
                    Point(p.step, p.timestamp, p.value) for p in points(client, info.run_id, name)
                )
                for name in data.metrics
            },
            datasets=_datasets(run),
            test_set=images_id(predicted.label, predicted.index) if predicted else None,
        )
    except ValidationError as error:
        return Invalid.of(run, first_problem(error))
    return record, predicted


def _datasets(run: Run) -> tuple[DatasetUse, ...]:
    return tuple(
        DatasetUse(
            name=use.dataset.name,
            digest=use.dataset.digest,
            source_type=use.dataset.source_type,
            source=use.dataset.source,
            context={t.key: t.value for t in use.tags}.get(MLFLOW_DATASET_CONTEXT, ""),
        )
        for use in (run.inputs.dataset_inputs if run.inputs else ())
    )
