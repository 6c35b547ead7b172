"""Move finished runs from one tracking store to another, by way of a file."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from numpy.typing import NDArray

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.tracking import LeftOut, exchange
from mnist_ops.tracking.exchange import RunRecord, TestSet

# Requests to a store that are under way at a time: each waits for an answer most of its time.
_READERS = 4
# Runs that are held in memory at a time.
_AHEAD = 200
_SCRATCH = "scratch"

Progress = Callable[[int, int], None]
_Item = tuple[RunRecord, NDArray[np.uint8] | None, TestSet | None]


@dataclass(frozen=True)
class Exported:
    """What is in a file that was written.

    Attributes:
        path: the file.
        bytes: its size.
        sha256: its digest, the same wherever the same runs were exported.
        runs: how many there are in it.
        without_predictions: of those.
        lost_predictions: names of those of them that were computed here: theirs were logged.
        not_measured: cells of which it says why they have no run.
    """

    path: Path
    bytes: int
    sha256: str
    runs: int
    without_predictions: int
    lost_predictions: tuple[str, ...]
    not_measured: int


@dataclass(frozen=True)
class Imported:
    """What became of the runs in a file.

    Attributes:
        runs: how many there are in it.
        imported: written now.
        present: not written, as the store has a finished run of the same cell.
        left_out: not written, as this version of the program cannot tell which cell they are of.
        sha256: the file's digest.
    """

    runs: int
    imported: int
    present: int
    left_out: int
    sha256: str


def export_runs(
    path: Path,
    *,
    experiment: str | None = None,
    progress: Progress = lambda done, of: None,
    left_out: LeftOut = lambda line: None,
) -> Exported:
    """Write the finished runs of MLflow's current store into the file at `path`.

    Of several runs of a cell the one that the report uses is exported.

    Args:
        path: the file; replaced where it is an export.
        experiment: only runs of the experiment of this name; None takes those of every one.
        progress: gets how many runs of how many are read.
        left_out: gets a line on each run with a value that no run may have.

    Raises:
        InvalidInput: there is no such experiment, or `path` is a file of another kind.
        MnistOpsError: there are no finished runs, or the file cannot be written.
        TrackingUnavailable: the store cannot be read.
    """
    uri, client = _store(None, create=False)
    left_out = tracking.once(left_out)
    with tracking.tracking_errors(uri):
        runs = tracking.counted_runs(client, _experiment_id(client, experiment), left_out)
        if not runs:
            raise MnistOpsError(
                "no finished runs to export; first run: mnist-ops run all --preset quick"
            )
        known = {tracking.fingerprint(run) for run in runs}
        reasons = {
            fingerprint: exchange.portable_text(reason, exchange.MAX_REASON)
            for fingerprint, reason in tracking.not_measured(client, left_out).items()
            if fingerprint not in known
        }
        written = 0
        without: list[Run] = []

        def items() -> Iterator[_Item]:
            nonlocal written
            for done, (run, item) in enumerate(zip(runs, _read(client, runs), strict=True), 1):
                progress(done, len(runs))
                if isinstance(item, tracking.Invalid):
                    left_out(str(item))
                    continue
                written += 1
                if item[2] is None:
                    without.append(run)
                yield item

        digest = exchange.write(path, items(), reasons)
    lost = tuple(
        f"{run.info.run_name} ({run.info.run_id[:8]})"
        for run in without
        if keys.IMPORTED not in run.data.tags
    )
    size = path.stat().st_size
    return Exported(path, size, digest, written, len(without), lost, len(reasons))


def import_runs(
    path: Path,
    *,
    experiment: str | None = None,
    uri: str | None = None,
    progress: Progress = lambda done, of: None,
    left_out: LeftOut = lambda line: None,
) -> Imported:
    """Write the runs of the file at `path` into a store.

    The whole file is checked before anything is written. A run whose cell has a finished run in
    the store is left out, so that doing it again changes nothing, and doing it again after an
    interruption goes on.

    Args:
        path: an export.
        experiment: name of the experiment of new runs; None takes the one that MLflow's variables
            name.
        uri: of the store; None takes MLflow's current one.
        progress: gets how many runs of how many are dealt with.
        left_out: gets a line on each run that this version of the program cannot place, and where
            the store is re-pointed.

    Raises:
        BadArchive: the file is no export, is damaged, is of a newer version, or has a run that is
            not of the cell that it claims; nothing was written.
        TrackingUnavailable: the store cannot be written.
        NotWritable: likewise, for want of permission.
    """
    with exchange.Archive(path) as archive:
        uri, client = _store(uri, create=True)
        with tracking.tracking_errors(uri):
            tracking.repoint_moved(uri, left_out)
            finished = tracking.finished_cells(client)
            started = tracking.unfinished_imports(client)
            parents: dict[str, tracking.Parent] = {}
            experiment_id = ""
            written: set[str] = set()
            unknown = 0
            for done, (record, predicted, test_set) in enumerate(archive.items(), start=1):
                if record.unknown:
                    unknown += 1
                    left_out(f"run {record.name}: {record.unknown}; left out")
                elif record.fingerprint not in finished:
                    experiment_id = experiment_id or tracking.experiment(client, experiment)
                    study = record.study
                    if study not in parents:
                        parents[study] = tracking.import_parent(client, study, experiment_id)
                    digest = tracking.digest_of(record, predicted)
                    tracking.write_record(
                        client, record, predicted, test_set, parents[study], started.get(digest)
                    )
                    written.add(record.fingerprint)
                progress(done, archive.runs)
            if written:
                tracking.drop_doubles(client, written)
            known = tracking.not_measured(client)
            reasons = {f: why for f, why in archive.not_measured.items() if f not in known}
            if reasons:
                experiment_id = experiment_id or tracking.experiment(client, experiment)
                tracking.note_imported_reasons(client, reasons, experiment_id)
        count = len(written)
        present = archive.runs - count - unknown
        return Imported(archive.runs, count, present, unknown, archive.digest)


@contextmanager
def store_of(
    paths: Sequence[Path],
    *,
    progress: Progress = lambda done, of: None,
    left_out: LeftOut = lambda line: None,
) -> Iterator[str]:
    """A new store with the runs of files alone, for as long as the block runs; yields its URI.

    Args:
        paths: exports, or folders of them.
        progress: gets how many runs of how many of a file are dealt with.
        left_out: gets a line on each run that this version of the program cannot place.

    Raises:
        InvalidInput: a folder has no exports.
        BadArchive: a file is no export, is damaged, or is of a newer version.
    """
    files = [file for path in paths for file in _exports(path)]
    with (
        tempfile.TemporaryDirectory(prefix="mnist-ops-") as folder,
        tracking.unsynchronised(),
    ):
        uri = tracking.sqlite_uri(Path(folder, "mlflow.db"))
        # By itself MLflow would put the artifacts into the folder that the user is in.
        artifacts = Path(folder, "artifacts").as_uri()
        tracking.connect(uri).create_experiment(_SCRATCH, artifact_location=artifacts)
        for file in files:
            import_runs(file, experiment=_SCRATCH, uri=uri, progress=progress, left_out=left_out)
        yield uri


def _exports(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if not (files := sorted(path.glob("*.zip"))):
        raise InvalidInput(f"{path} has no exported runs (*.zip)")
    return files


def _read(client: MlflowClient, runs: Sequence[Run]) -> Iterator[_Item | tracking.Invalid]:
    with ThreadPoolExecutor(_READERS) as readers:
        for first in range(0, len(runs), _AHEAD):
            some = runs[first : first + _AHEAD]
            yield from readers.map(lambda run: _record(client, run), some)


def _record(client: MlflowClient, run: Run) -> _Item | tracking.Invalid:
    try:
        return tracking.read_record(client, run)
    except ValueError as error:
        return tracking.Invalid.of(run, str(error))


def _experiment_id(client: MlflowClient, name: str | None) -> str | None:
    if name is None:
        return None
    found = client.get_experiment_by_name(name)
    if found is None:
        raise InvalidInput(f"the tracking store has no experiment {name!r}")
    return str(found.experiment_id)


def _store(uri: str | None, *, create: bool) -> tuple[str, MlflowClient]:
    # MLflow would draw a bar for each of the files that it hands over.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    uri = uri or tracking.default_uri()
    if create:
        tracking.check_writable(uri)
    return uri, tracking.connect(uri, create=create)
