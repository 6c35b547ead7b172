"""Read the runs of exports in place of those of a store."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pandas as pd
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunTag,
)
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from mnist_ops.core.errors import InvalidInput
from mnist_ops.study.results import Predictions
from mnist_ops.tracking import reading
from mnist_ops.tracking.checking import LeftOut, ignore
from mnist_ops.tracking.exchange.archive import Archive, Item
from mnist_ops.tracking.exchange.records import DatasetUse

Progress = Callable[[int, int], None]


class ExportedRuns:
    """The runs of one or several exports, as a `RunSource`; a context manager, which closes them.

    A cell that several files have is taken from the first. Predictions and the points of metrics
    stay in the files until they are asked for.
    """

    uri = ""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        progress: Progress = lambda done, of: None,
        left_out: LeftOut = ignore,
    ):
        """Read and check the files.

        Args:
            paths: exports, or folders of exports.
            progress: gets the number of runs read, and of all runs, of the current file.
            left_out: gets a line on each run whose spec this version cannot read.

        Raises:
            InvalidInput: a folder has no exports.
            BadArchive: a file is not an export, is damaged, or is of a newer version.
        """
        self._runs: dict[str, Run] = {}
        self._archives: dict[str, Archive] = {}
        self._reasons: dict[str, str] = {}
        with ExitStack() as stack:
            for file in [file for path in paths for file in _exports(path)]:
                self._read(stack, file, progress, left_out)
            self._files = stack.pop_all()
        self._cells = {run.info.run_id: cell for cell, run in self._runs.items()}

    def __enter__(self) -> "ExportedRuns":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def cell_runs(self, left_out: LeftOut = ignore) -> pd.DataFrame:
        """Return one row per run; those left out were reported as the files were read."""
        return reading.frame_of(self._runs.values())

    def counted_runs(self, left_out: LeftOut = ignore) -> list[Run]:
        """Return the run of each cell, sorted by fingerprint."""
        return [run for _, run in sorted(self._runs.items())]

    def not_measured(self, left_out: LeftOut = ignore) -> dict[str, str]:
        """Return the reasons why cells could not be run, by fingerprint."""
        return self._reasons

    def predictions(self, run_id: str) -> Predictions | None:
        """Return the test-set predictions of a run; None if it has none."""
        cell = self._cells[run_id]
        return self._archives[cell].predictions(cell)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return step and value of every point of a metric, sorted by step."""
        cell = self._cells[run_id]
        points = self._archives[cell].history(cell, metric)
        return reading.measured((point.step, point.value) for point in points)

    def experiment_id(self, name: str) -> str:
        """Refuse any experiment: exports have none.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput(f"exported runs are of no experiment; leave {name!r} out")

    def how_to_restore(self) -> str:
        """Return an empty text: nothing was deleted."""
        return ""

    def _read(self, stack: ExitStack, file: Path, progress: Progress, left_out: LeftOut) -> None:
        count = 0
        new: dict[str, Run] = {}

        def take(item: Item, of: int) -> None:
            nonlocal count
            count += 1
            record, _ = item
            if record.unknown:
                left_out(f"run {record.name}: {record.unknown}; left out")
            elif record.fingerprint not in self._runs:
                new[record.fingerprint] = _run(item)
            progress(count, of)

        archive = stack.enter_context(Archive(file, take))
        self._runs |= new
        self._archives |= dict.fromkeys(new, archive)
        self._reasons = dict(archive.not_measured) | self._reasons


def digest_of(item: Item) -> str:
    """Return 32 hexadecimal digits of the SHA-256 of a record and its predictions."""
    record, predictions = item
    content = record.to_json() + (predictions.predicted.tobytes() if predictions else b"")
    return sha256(content).hexdigest()[:32]


def dataset_input(use: DatasetUse) -> DatasetInput:
    """Return the use of a data set as an input of a run."""
    dataset = Dataset(
        name=use.name, digest=use.digest, source_type=use.source_type, source=use.source
    )
    tags = [InputTag(MLFLOW_DATASET_CONTEXT, use.context)] if use.context else []
    return DatasetInput(dataset, tags)


def _run(item: Item) -> Run:
    """Return the run as a store that imported it has it; its id is the digest of its content."""
    record, _ = item
    last = [(name, points[-1]) for name, points in record.metrics.items()]
    run_id = digest_of(item)
    info = RunInfo(
        run_id=run_id,
        experiment_id="",
        user_id="",
        status="FINISHED",
        start_time=record.start_time,
        end_time=record.end_time,
        lifecycle_stage=LifecycleStage.ACTIVE,
        artifact_uri="",
        run_name=record.name,
    )
    data = RunData(
        metrics=[
            Metric(name, math.nan if p.value is None else p.value, p.timestamp, p.step)
            for name, p in last
        ],
        params=[Param(name, text) for name, text in record.params.items()],
        tags=[RunTag(name, text) for name, text in record.tags.items()],
    )
    return Run(info, data, RunInputs(dataset_inputs=[dataset_input(u) for u in record.datasets]))


def _exports(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if not (files := sorted(path.glob("*.zip"))):
        raise InvalidInput(f"{path} has no exports (*.zip)")
    return files
