"""Import the runs of a file into a store."""

import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from math import nan
from pathlib import Path
from typing import TypeVar

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
)
from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH

from mnist_ops.core import keys
from mnist_ops.tracking.checking import LeftOut, ignore
from mnist_ops.tracking.conflicts import retry_on_conflict
from mnist_ops.tracking.destination import experiment as experiment_for
from mnist_ops.tracking.exchange.archive import Archive, Item
from mnist_ops.tracking.exchange.exported_runs import dataset_input, digest_of
from mnist_ops.tracking.moved_artifacts import repoint_moved
from mnist_ops.tracking.queries import finished_cells, not_measured
from mnist_ops.tracking.search import search, tag
from mnist_ops.tracking.store import check_writable, connect, default_uri, tracking_errors
from mnist_ops.tracking.writing import Parent, show_as_models

Progress = Callable[[int, int], None]
T = TypeVar("T")

# Written last: without these tags a run is neither a cell nor a stale run.
_LAST = frozenset({keys.FINGERPRINT, keys.ROLE})
# The rest of a batch beside its params.
_METRICS_PER_BATCH = MAX_ENTITIES_PER_BATCH - MAX_PARAMS_TAGS_PER_BATCH
# Few enough that the tag is never longer than a store accepts.
_REASONS_PER_TAG = 20


@dataclass(frozen=True)
class Imported:
    """Summary of an import.

    Attributes:
        runs: number of runs in the file.
        imported: number of runs written.
        present: number of runs whose cell has a finished run in the store already.
        left_out: number of runs whose spec this version of the program cannot read.
        sha256: digest of the file.
    """

    runs: int
    imported: int
    present: int
    left_out: int
    sha256: str


def import_runs(
    path: Path,
    *,
    experiment: str | None = None,
    uri: str | None = None,
    progress: Progress = lambda done, of: None,
    left_out: LeftOut = ignore,
) -> Imported:
    """Write the runs of the file at `path` into a store.

    The whole file is checked before anything is written. A run whose cell has a finished run in the
    store is skipped, so an import can be repeated, and continues after an interruption.

    Args:
        path: of an export.
        experiment: name of the experiment for new runs; None is the one that MLflow's variables
            name.
        uri: of the store; None is MLflow's current one.
        progress: gets the number of runs done, and of all runs.
        left_out: gets a line on each run that is left out, and on corrected artifact locations.

    Raises:
        BadArchive: the file is not an export, is damaged, is of a newer version, or has an invalid
            run; nothing was written.
        TrackingUnavailable: the store cannot be written.
        NotWritable: permission to write the store is missing.
    """
    with Archive(path) as archive:
        uri = uri or default_uri()
        check_writable(uri)
        client = connect(uri)
        with tracking_errors(uri):
            repoint_moved(uri, left_out)
            finished = {cell for cell, _ in finished_cells(client)}
            writer = _Writer(client, experiment)
            unknown = 0
            for done, (record, predictions) in enumerate(archive.items(), start=1):
                if record.unknown:
                    unknown += 1
                    left_out(f"run {record.name}: {record.unknown}; left out")
                elif record.fingerprint not in finished:
                    writer.write((record, predictions))
                progress(done, archive.runs)
            if writer.written:
                _drop_doubles(client, writer.written)
            writer.note_reasons(archive.not_measured)
        count = len(writer.written)
        present = archive.runs - count - unknown
        return Imported(archive.runs, count, present, unknown, archive.digest)


def unfinished_imports(client: MlflowClient) -> dict[str, str]:
    """Return the ids of the runs of an interrupted import, by the digest of their record."""
    return {
        run.data.tags[keys.IMPORTED]: run.info.run_id
        for run in search(client, f"{tag(keys.IMPORTED)} LIKE '%'")
        if keys.FINGERPRINT not in run.data.tags
    }


class _Writer:
    """Writes items as runs; creates the experiment and the parents when they are needed.

    Attributes:
        written: fingerprints of the cells written.
    """

    def __init__(self, client: MlflowClient, experiment: str | None):
        self.written: set[str] = set()
        self._client = client
        self._experiment = experiment
        self._started = unfinished_imports(client)
        self._parents: dict[str, Parent] = {}

    def write(self, item: Item) -> None:
        """Write a run under its study's parent, or complete that of an interrupted import."""
        record, _ = item
        if record.study not in self._parents:
            self._parents[record.study] = self._parent(record.study, self._experiment_id)
        _write_run(self._client, item, self._parents[record.study], self._started)
        self.written.add(record.fingerprint)

    def note_reasons(self, reasons: Mapping[str, str]) -> None:
        """Record the reasons why cells have no run, by fingerprint, on separate runs."""
        known = not_measured(self._client)
        new = {cell: reason for cell, reason in reasons.items() if cell not in known}
        for some in _batches(sorted(new.items()), _REASONS_PER_TAG):
            text = json.dumps(dict(some), sort_keys=True)
            tags = {keys.ROLE: keys.ROLE_IMPORT, keys.NOT_MEASURED: text}
            self._ended_run(self._experiment_id, "not measured (imported)", tags)

    @cached_property
    def _experiment_id(self) -> str:
        return experiment_for(self._client, self._experiment)

    def _parent(self, study: str, experiment_id: str) -> Parent:
        for run in search(self._client, f"{tag(keys.ROLE)} = '{keys.ROLE_IMPORT}'"):
            if run.data.tags.get(keys.STUDY) == study:
                return Parent(run.info.run_id, run.info.experiment_id)
        note = f"Runs of *{study}* that were computed elsewhere, with their times there."
        tags = {keys.ROLE: keys.ROLE_IMPORT, keys.STUDY: study, MLFLOW_RUN_NOTE: note}
        return self._ended_run(experiment_id, f"{study} (imported)", tags)

    def _ended_run(self, experiment_id: str, name: str, tags: dict[str, str]) -> Parent:
        run = self._client.create_run(experiment_id, tags=tags, run_name=name)
        self._client.set_terminated(run.info.run_id, "FINISHED")
        show_as_models(self._client, experiment_id)
        return Parent(run.info.run_id, experiment_id)


def _write_run(
    client: MlflowClient, item: Item, parent: Parent, started: Mapping[str, str]
) -> None:
    """Write `item` as a run under `parent`.

    The tags of a cell are written last. Before that the run does not count as a result, and can be
    written again from the start.

    Args:
        client: of the store.
        item: the run and its predictions.
        parent: its parent run.
        started: digest -> run id of the runs of an interrupted import.
    """
    record, predictions = item
    digest = digest_of(item)
    tags = {name: text for name, text in record.tags.items() if name not in _LAST}
    tags |= {keys.IMPORTED: digest, MLFLOW_PARENT_RUN_ID: parent.run_id}
    run_id = started.get(digest)
    if run_id is None:
        run = client.create_run(
            parent.experiment_id, start_time=record.start_time, tags=tags, run_name=record.name
        )
        run_id = run.info.run_id
    params = [Param(name, text) for name, text in record.params.items()]
    metrics = [
        Metric(name, nan if point.value is None else point.value, point.timestamp, point.step)
        for name, points in record.metrics.items()
        for point in points
    ]
    batches = zip_longest(
        _batches(params, MAX_PARAMS_TAGS_PER_BATCH),
        _batches(metrics, _METRICS_PER_BATCH),
        fillvalue=(),
    )
    for some_params, some_metrics in batches:
        client.log_batch(run_id, params=some_params, metrics=some_metrics)
    if record.datasets:
        inputs = [dataset_input(use) for use in record.datasets]
        retry_on_conflict(lambda: client.log_inputs(run_id, inputs))
    if predictions is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / keys.PREDICTIONS
            np.savez_compressed(path, **vars(predictions))
            client.log_artifact(run_id, str(path))
    client.set_terminated(run_id, "FINISHED", record.end_time)
    last = [RunTag(name, text) for name, text in record.tags.items() if name in _LAST]
    client.log_batch(run_id, tags=last)


def _drop_doubles(client: MlflowClient, written: Collection[str]) -> None:
    """Delete imported runs of `written` cells that other processes finished meanwhile.

    A computed run is kept; of several imported ones, all processes keep the same one.
    """
    runs: dict[str, list[tuple[str, str]]] = {}
    for cell, run in finished_cells(client):
        if cell in written:
            # A computed run has no such tag, and sorts first.
            imported = run.data.tags.get(keys.IMPORTED, "")
            runs.setdefault(cell, []).append((imported, run.info.run_id))
    for found in runs.values():
        for imported, run_id in sorted(found)[1:]:
            if imported:
                client.delete_run(run_id)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield `items` in lists of at most `size`; `itertools.batched` needs Python 3.12."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
