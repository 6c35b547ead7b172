"""Compute a fit group and track its cells: the task of a worker."""

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mnist_ops import tracking
from mnist_ops.core import cancellation, keys, paths
from mnist_ops.core.errors import (
    DataUnavailable,
    MnistOpsError,
    Stopped,
    TrackingUnavailable,
    one_line,
)
from mnist_ops.data import Images, load
from mnist_ops.fitting import methods
from mnist_ops.fitting.checkpoints import DEFAULT_EVERY_S, Checkpoint
from mnist_ops.runner.fit_groups import FitGroup
from mnist_ops.study import grids
from mnist_ops.study.results import EpochResult, FitResult
from mnist_ops.study.specs import Spec
from mnist_ops.tracking import provenance

# Longest wait for an upload: a working store takes less, and an outage is not waited for here.
UPLOAD_S = 5.0

Log = Callable[[str], None]


@dataclass(frozen=True)
class CellContext:
    """Everything but the spec that a worker needs.

    Attributes:
        address: of the tracking store.
        parent: the grid's run.
        data_dir: folder of the data sets; None is the worker's own default.
        presets: fingerprint -> value of the preset tag.
        forced: whether the new runs replace finished runs of the cells.
        checkpoint_s: seconds of training that an interruption may cost; see `Checkpoint.every_s`.
        streams: number of cells that may share a CUDA device.
        study: place of a study with functions or data sets of its own; else empty.
        tags: further tags of each run.
    """

    address: tracking.Address
    parent: tracking.Parent
    data_dir: Path | None
    presets: dict[str, str]
    forced: bool = False
    checkpoint_s: float = DEFAULT_EVERY_S
    streams: int = 1
    study: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def grid(self) -> str:
        """Name of the grid in `cancellation`."""
        return self.parent.run_id


@dataclass(frozen=True)
class Progress:
    """Progress of a fit group: `epoch` of `epochs`, 0 at its start."""

    key: str
    name: str
    epoch: int
    epochs: int


@dataclass(frozen=True)
class Outcome:
    """The result of one cell.

    Attributes:
        spec: the cell.
        state: ``finished``; ``failed``; ``stopped``, if it can be resumed; or ``claimed
            elsewhere``, if another process computes it.
        run_id: id of its MLflow run; None if the store does not have it yet.
        test_accuracy: 0 to 1; None unless it finished.
        train_time_s: seconds; None unless it finished.
        error: reason in one line; None without an error.
    """

    spec: Spec
    state: Literal["finished", "failed", "stopped", "claimed elsewhere"]
    run_id: str | None = None
    test_accuracy: float | None = None
    train_time_s: float | None = None
    error: str | None = None


def compute(
    group: FitGroup,
    context: CellContext,
    report: Callable[[Progress], None],
    log: Log = lambda line: None,
) -> list[Outcome]:
    """Fit `group`, and track each of its cells as a run of its own.

    Resume from the checkpoint of an ended process of this machine, if there is one. After an error,
    end the runs without a result as FAILED, or as KILLED if they can be resumed; do not raise it.
    """
    if cancellation.requested(context.grid):
        return [Outcome(spec, "stopped") for spec in group.cells]
    tracker = tracking.shared_tracker(context.address, log)
    if not context.forced:
        tracker.upload_finished((cell.fingerprint for cell in group.cells), UPLOAD_S)
    mine, claimed = _claim(tracker, group.cells, forced=context.forced)
    outcomes = [Outcome(spec, "claimed elsewhere") for spec in group.cells if spec not in mine]
    if mine:
        work = _Work(FitGroup(group.key, tuple(mine)), context, tracker, report, log)
        outcomes += work.compute(claimed=claimed)
    return outcomes


def give_up(
    group: FitGroup, context: CellContext, reason: str, log: Log = lambda line: None
) -> list[Outcome]:
    """End the cells of a fit group whose workers ended repeatedly as FAILED, for `reason`."""
    tracker = tracking.shared_tracker(context.address, log)
    mine, claimed = _claim(tracker, group.cells, forced=context.forced)
    outcomes = [Outcome(spec, "claimed elsewhere") for spec in group.cells if spec not in mine]
    if mine:
        work = _Work(FitGroup(group.key, tuple(mine)), context, tracker, lambda _: None, log)
        outcomes += work.give_up(reason, claimed=claimed)
    return outcomes


class _Work:
    """The cells of one fit group that this process computes."""

    def __init__(
        self,
        group: FitGroup,
        context: CellContext,
        tracker: tracking.Tracker,
        report: Callable[[Progress], None],
        log: Log,
    ):
        self.group = group
        self.context = context
        self.tracker = tracker
        self.report = report
        self.runs: dict[Spec, tracking.CellRun] = {}
        self.outcomes: dict[Spec, Outcome] = {}
        training = {"training": group.key} | provenance.arithmetic(group.fitted.device)
        self.checkpoint = Checkpoint(
            paths.checkpoint_path(context.address.store, group.key),
            training,
            context.checkpoint_s,
            log,
        )

    def compute(self, *, claimed: bool) -> list[Outcome]:
        try:
            images = self._images()
            self._open_runs(images.digest, claimed=claimed)
            if self.runs:
                self.report(_progress(self.group, 0))
                self._fit(images)
                self.checkpoint.discard()
        except Exception as error:
            self._end_early(error)
        except BaseException:
            # Such as SystemExit in the middle of a fit: the next start resumes it.
            self._end_early(Stopped("interrupted"))
            raise
        finally:
            self.report(_progress(self.group, self.group.fitted.length))
        self.tracker.uploader.flush(UPLOAD_S, retry=False)
        return self._with_run_ids()

    def _images(self) -> Images:
        """Return the images of the cells, of the study's own where they are."""
        if self.context.study:
            grids.find(self.context.study)
        fitted = self.group.fitted
        images = load(fitted.dataset, self.context.data_dir)
        if fitted.data_digest not in ("", images.digest):
            raise DataUnavailable(f"the images of {fitted.dataset} changed since the grid began")
        return images

    def give_up(self, reason: str, *, claimed: bool) -> list[Outcome]:
        error = MnistOpsError(reason)
        try:
            self._open_runs("", claimed=claimed)
        except Exception as second:
            error = MnistOpsError(f"{reason} (and its run could not be opened: {one_line(second)})")
        self._end_early(error)
        self.tracker.uploader.flush(UPLOAD_S, retry=False)
        return self._with_run_ids()

    def _open_runs(self, digest: str, *, claimed: bool) -> None:
        for spec in self.group.cells:
            place = tracking.CellPlace(
                self.context.parent,
                self.context.presets[spec.fingerprint],
                digest,
                self.group.key,
                self._whose_time(spec),
                forced=self.context.forced,
                tags=self.context.tags,
            )
            try:
                self.runs[spec] = tracking.CellRun(self.tracker, spec, place, claimed=claimed)
            except tracking.JournalBusy:
                self.outcomes[spec] = Outcome(spec, "claimed elsewhere")

    def _whose_time(self, spec: Spec) -> str:
        if spec != self.group.fitted and not spec.timed_each:
            return keys.TIME_ATTRIBUTED
        beside_others = spec.device == "cuda" and self.context.streams > 1
        return keys.TIME_SHARED if beside_others else keys.TIME_MEASURED

    def _fit(self, images: Images) -> None:
        work = methods.Work(
            on_result=self._finish,
            on_epoch=self._on_epoch,
            checkpoint=self.checkpoint,
            stop=lambda: cancellation.requested(self.context.grid),
        )
        methods.fit(list(self.runs), images, work)

    def _on_epoch(self, epoch: EpochResult) -> None:
        for spec, run in self.runs.items():
            if epoch.number <= spec.length:
                run.log_epoch(epoch)
        self.report(_progress(self.group, epoch.number))

    def _finish(self, spec: Spec, result: FitResult) -> None:
        self.runs[spec].finish(result)
        self.outcomes[spec] = Outcome(
            spec,
            "finished",
            test_accuracy=result.metrics[keys.TEST_ACCURACY],
            train_time_s=result.metrics[keys.TRAIN_TIME_S],
        )

    def _end_early(self, error: Exception) -> None:
        """End the cells without a result: to be resumed or as failed, by the kind of error."""
        if not isinstance(error, MnistOpsError) or not error.resumable:
            self.checkpoint.discard()
        for spec in self.group.cells:
            if spec not in self.outcomes:
                self.outcomes[spec] = _ended(spec, self.runs.get(spec), error)

    def _with_run_ids(self) -> list[Outcome]:
        return [
            replace(outcome, run_id=self.runs[spec].run_id) if spec in self.runs else outcome
            for spec, outcome in self.outcomes.items()
        ]


def _claim(
    tracker: tracking.Tracker, cells: Iterable[Spec], *, forced: bool
) -> tuple[list[Spec], bool]:
    """Claim `cells`; return those to compute, and whether the store confirmed the claims.

    While the store is unavailable all are computed; claims are checked again before the upload.
    """
    cells = list(cells)
    try:
        won = tracker.claims.claim(cell.fingerprint for cell in cells)
        done = {} if forced else tracking.finished_of(tracker.client, won)
        tracker.claims.release(done)
    except (*tracking.STORE_ERRORS, TrackingUnavailable):
        return cells, False
    return [cell for cell in cells if cell.fingerprint in won - done.keys()], True


def _ended(spec: Spec, run: tracking.CellRun | None, error: Exception) -> Outcome:
    reason = one_line(error)
    resumable = isinstance(error, MnistOpsError) and error.resumable
    if isinstance(error, tracking.JournalGone):
        return Outcome(spec, "claimed elsewhere")
    if run is not None:
        try:
            if resumable:
                run.stop(reason)
            else:
                run.fail(reason, "".join(traceback.format_exception(error)))
        except Exception as second:
            # The disk itself may have failed; the caller still gets the reason.
            run.leave()
            reason += f" (and its run could not be ended: {one_line(second)})"
    if isinstance(error, Stopped):
        return Outcome(spec, "stopped")
    return Outcome(spec, "stopped" if resumable else "failed", error=reason)


def _progress(group: FitGroup, epoch: int) -> Progress:
    spec, others = group.fitted, len(group.cells) - 1
    name = f"{spec.name} (and {others} more)" if others else spec.name
    return Progress(group.key, name, epoch, spec.length)
