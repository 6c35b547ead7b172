"""Runs out of a store and into one, as records that are of no store."""

import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice, zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
)
from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH
from numpy.typing import NDArray

from mnist_ops.core import keys
from mnist_ops.tracking.checking import LeftOut, nobody, valid_cells
from mnist_ops.tracking.exchange import records
from mnist_ops.tracking.exchange.records import DatasetUse, Point, RunRecord, TestSet, portable_text
from mnist_ops.tracking.races import settled
from mnist_ops.tracking.reading import predictions
from mnist_ops.tracking.search import points, search, tag
from mnist_ops.tracking.writing import Parent, show_as_models

T = TypeVar("T")

# Without these a run is no cell's, nor one that somebody would end for its owner's death.
_LAST = frozenset({keys.FINGERPRINT, keys.ROLE})
# Beside a batch's params.
_METRICS_A_BATCH = MAX_ENTITIES_PER_BATCH - MAX_PARAMS_TAGS_PER_BATCH
# Of reasons in one tag, so that the tag is never longer than a store takes.
_REASONS_A_TAG = 20
_OF_CELLS = f"{tag(keys.FINGERPRINT)} LIKE '%' and attributes.status = 'FINISHED'"


def counted_runs(
    client: MlflowClient, experiment_id: str | None = None, left_out: LeftOut = nobody
) -> list[Run]:
    """The one run of each cell that the report uses, by fingerprint.

    That is the latest to end of those that finished with an accuracy from 0 to 1.

    Args:
        client: of the store.
        experiment_id: only runs of this experiment; None takes those of every one.
        left_out: gets a line on each run whose values cannot be right.
    """
    latest: dict[str, Run] = {}
    for cell, run in _finished(client, left_out):
        if experiment_id not in (None, run.info.experiment_id):
            continue
        if cell not in latest or _ended(run) > _ended(latest[cell]):
            latest[cell] = run
    return [run for _, run in sorted(latest.items())]


def fingerprint(run: Run) -> str:
    """The fingerprint of the cell that `run` is of."""
    return str(run.data.tags[keys.FINGERPRINT])


def read_record(
    client: MlflowClient, run: Run
) -> tuple[RunRecord, NDArray[np.uint8] | None, TestSet | None]:
    """What there is of `run` in its store, without what is of the store.

    Raises:
        ValueError: it has a value that no record may have.
    """
    info, data = run.info, run.data
    found = predictions(client, info.run_id)
    test_set = TestSet(found.label, found.index) if found is not None else None
    tags = {name: text for name, text in data.tags.items() if name != MLFLOW_RUN_NAME}
    record = RunRecord(
        fingerprint=fingerprint(run),
        name=portable_text(info.run_name or info.run_id, records.MAX_NAME),
        start_time=info.start_time,
        # Its machine's clock may have been put back meanwhile.
        end_time=max(info.end_time, info.start_time),
        params={n: portable_text(text, records.MAX_PARAM) for n, text in data.params.items()},
        tags={
            name: portable_text(text, records.MAX_TAG)
            for name, text in tags.items()
            if records.portable_tag(name)
        },
        metrics={name: _points(client, info.run_id, name) for name in data.metrics},
        datasets=_datasets(run),
        test_set=test_set.id if test_set else None,
    )
    return record, found.predicted if found is not None else None, test_set


def digest_of(record: RunRecord, predicted: NDArray[np.uint8] | None) -> str:
    """Names a record and its predictions: 32 hexadecimal digits."""
    content = record.to_json() + (b"" if predicted is None else predicted.tobytes())
    return sha256(content).hexdigest()[:32]


def finished_cells(client: MlflowClient) -> set[str]:
    """The fingerprints of all cells that have a FINISHED run, in any study and experiment."""
    return {cell for cell, _ in _finished(client)}


def unfinished_imports(client: MlflowClient) -> dict[str, str]:
    """Digest -> run id of the runs that an interrupted import left behind."""
    return {
        run.data.tags[keys.IMPORTED]: run.info.run_id
        for run in search(client, f"{tag(keys.IMPORTED)} LIKE '%'")
        if keys.FINGERPRINT not in run.data.tags
    }


def import_parent(client: MlflowClient, study: str, experiment_id: str) -> Parent:
    """The run that imported runs of `study` are nested under: one a study, made once."""
    for run in search(client, f"{tag(keys.ROLE)} = '{keys.ROLE_IMPORT}'"):
        if run.data.tags.get(keys.STUDY) == study:
            return Parent(run.info.run_id, run.info.experiment_id)
    note = f"Runs of *{study}* that were computed elsewhere, with the times that they had there."
    tags = {keys.ROLE: keys.ROLE_IMPORT, keys.STUDY: study, MLFLOW_RUN_NOTE: note}
    return _ended_run(client, experiment_id, f"{study} (imported)", tags)


def write_record(
    client: MlflowClient,
    record: RunRecord,
    predicted: NDArray[np.uint8] | None,
    test_set: TestSet | None,
    parent: Parent,
    started: str | None,
) -> str:
    """Write `record` as a run under `parent`; its run id.

    The tags that make the run one of a cell come last. Until then nobody takes it for a result,
    and writing it again from the start ends in the same.

    Args:
        client: of the store.
        record: what to write.
        predicted: uint8, shape (n_test,).
        test_set: the images that were predicted.
        parent: the run above it.
        started: the run that an interrupted import made for it.
    """
    marks = {keys.IMPORTED: digest_of(record, predicted), MLFLOW_PARENT_RUN_ID: parent.run_id}
    tags = {n: text for n, text in record.tags.items() if n not in _LAST} | marks
    if started is None:
        run = client.create_run(
            parent.experiment_id, start_time=record.start_time, tags=tags, run_name=record.name
        )
        started = run.info.run_id
    logged = [(name, point) for name, course in record.metrics.items() for point in course]
    batches = zip_longest(
        _batches(record.params.items(), MAX_PARAMS_TAGS_PER_BATCH),
        _batches(logged, _METRICS_A_BATCH),
        fillvalue=(),
    )
    for params, some in batches:
        client.log_batch(
            started,
            params=[Param(*param) for param in params],
            metrics=[Metric(n, p.value, p.timestamp, p.step) for n, p in some],
        )
    if record.datasets:
        inputs = [_dataset_input(use) for use in record.datasets]
        settled(lambda: client.log_inputs(started, inputs))
    if predicted is not None and test_set is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / keys.PREDICTIONS
            np.savez_compressed(
                path, predicted=predicted, label=test_set.label, index=test_set.index
            )
            client.log_artifact(started, str(path))
    client.set_terminated(started, "FINISHED", record.end_time)
    last = [RunTag(name, text) for name, text in record.tags.items() if name in _LAST]
    client.log_batch(started, tags=last)
    return started


def note_imported_reasons(
    client: MlflowClient, reasons: Mapping[str, str], experiment_id: str
) -> None:
    """Record why cells have no run, on runs of their own: fingerprint -> reason."""
    for some in _batches(sorted(reasons.items()), _REASONS_A_TAG):
        tags = {
            keys.ROLE: keys.ROLE_IMPORT,
            keys.NOT_MEASURED: json.dumps(dict(some), sort_keys=True),
        }
        _ended_run(client, experiment_id, "not measured (imported)", tags)


def drop_doubles(client: MlflowClient, written: Collection[str]) -> None:
    """Of cells that others finished meanwhile delete the runs that are one too many.

    A run that was computed here stays, and of several that were imported at once one does: every
    import keeps the same.

    Args:
        client: of the store.
        written: the fingerprints of the cells that this import has written.
    """
    runs: dict[str, list[tuple[str, str]]] = {}
    for cell, run in _finished(client):
        if cell in written:
            # A run that was computed here has no such tag, and comes first.
            imported = run.data.tags.get(keys.IMPORTED, "")
            runs.setdefault(cell, []).append((imported, run.info.run_id))
    for found in runs.values():
        for imported, run_id in sorted(found)[1:]:
            if imported:
                client.delete_run(run_id)


def _finished(client: MlflowClient, left_out: LeftOut = nobody) -> Iterator[tuple[str, Run]]:
    """The finished runs of cells that count, each with its fingerprint."""
    return valid_cells(search(client, _OF_CELLS, left_out), left_out)


def _ended_run(client: MlflowClient, experiment_id: str, name: str, tags: dict[str, str]) -> Parent:
    run = client.create_run(experiment_id, tags=tags, run_name=name)
    client.set_terminated(run.info.run_id, "FINISHED")
    show_as_models(client, experiment_id)
    return Parent(run.info.run_id, experiment_id)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """`items` in lists of at most `size`; `itertools.batched` needs Python 3.12."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _ended(run: Run) -> tuple[int, str]:
    return run.info.end_time or 0, run.info.run_id


def _points(client: MlflowClient, run_id: str, metric: str) -> tuple[Point, ...]:
    return tuple(
        records.sorted_points(
            [
                Point(p.step, p.timestamp, records.portable_value(p.value))
                for p in points(client, run_id, metric)
            ]
        )
    )


def _datasets(run: Run) -> tuple[DatasetUse, ...]:
    uses = set()
    for use in run.inputs.dataset_inputs if run.inputs else ():
        context = {t.key: t.value for t in use.tags}.get(MLFLOW_DATASET_CONTEXT, "")
        uses.add(
            DatasetUse(
                name=portable_text(use.dataset.name, 500),
                digest=portable_text(use.dataset.digest, 36),
                source_type=portable_text(use.dataset.source_type, 36),
                source=portable_text(use.dataset.source, records.MAX_SOURCE),
                context=portable_text(context, 500),
            )
        )
    return tuple(sorted(uses, key=records.dataset_order))


def _dataset_input(use: DatasetUse) -> DatasetInput:
    dataset = Dataset(
        name=use.name, digest=use.digest, source_type=use.source_type, source=use.source
    )
    tags = [InputTag(MLFLOW_DATASET_CONTEXT, use.context)] if use.context else []
    return DatasetInput(dataset, tags)
