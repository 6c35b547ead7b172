"""Runs in a real store, written by the code that tracks cells, with numbers made up by number."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import specs
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.study.results import EpochResult, FitResult
from mnist_ops.study.specs import ResNetSpec

N_TEST = 40
INDEX = np.arange(100, 100 + N_TEST, dtype=np.int32)
LABELS = (INDEX % 10).astype(np.uint8)
UPLOAD_S = 120


def spec(number: int, study: str = "resnet_grid") -> ResNetSpec:
    """Cell `number` of `study`: as many as there are seeds."""
    return dataclasses.replace(
        specs.RESNET, study=study, seed=number, train_limit=60, test_limit=N_TEST
    )


class Grid:
    """An open grid of `study` in MLflow's current store, to write cells into."""

    def __init__(self, tracker: tracking.Tracker, study: str):
        self.tracker = tracker
        self.study = study
        self.run = tracking.open_parent(
            tracker,
            name=study,
            note="",
            role=keys.ROLE_GRID,
            tags={keys.STUDY: study},
            experiment_id=tracking.experiment(tracker.client, "mnist-ops"),
        )

    def open(self, number: int, *, forced: bool = False) -> tracking.CellRun:
        """The run of cell `number`, as it begins."""
        place = tracking.CellPlace(
            self.run.parent,
            "custom-60-40",
            "0123456789abcdef",
            "alone",
            time=keys.TIME_MEASURED,
            forced=forced,
        )
        return tracking.CellRun(self.tracker, spec(number, self.study), place, claimed=False)

    def finish(self, number: int, wrong: int = 0, *, forced: bool = False) -> tracking.CellRun:
        """Finish a run of cell `number`, `wrong` of its test images wrong; it may be pending."""
        run = self.open(number, forced=forced)
        predicted = LABELS.copy()
        predicted[:wrong] = (predicted[:wrong] + 1) % 10
        epochs = [EpochResult(n, 1 / (n + number + 1), 0.5, n / 3) for n in (1, 2)]
        for epoch in epochs:
            run.log_epoch(epoch)
        run.finish(
            FitResult(
                predictions=predicted,
                labels=LABELS,
                test_index=INDEX,
                n_train=60,
                n_val=10,
                metrics=epochs[-1].metrics
                | {keys.TEST_ACCURACY: 1 - wrong / N_TEST, keys.FLOPS: 33.18e6},
            )
        )
        return run

    def write(self, number: int, wrong: int = 0, *, forced: bool = False) -> str:
        """A finished run of cell `number`, `wrong` of its test images wrong; its run id."""
        run = self.finish(number, wrong, forced=forced)
        assert self.tracker.uploader.flush(UPLOAD_S, retry=True), self.tracker.uploader.last_error
        assert run.run_id is not None
        return run.run_id


@contextmanager
def grid(study: str = "resnet_grid", uri: str | None = None) -> Iterator[Grid]:
    """A grid in the store at `uri`, by default MLflow's current one; closed at the end."""
    tracker = tracking.open_tracker(uri or tracking.default_uri())
    try:
        opened = Grid(tracker, study)
        yield opened
        opened.run.close("FINISHED", "")
        assert tracker.uploader.flush(UPLOAD_S, retry=True), tracker.uploader.last_error
    finally:
        tracking.close_tracker(tracker)


def write(number: int, study: str = "resnet_grid", wrong: int = 0, *, forced: bool = False) -> str:
    """A finished run of cell `number` in MLflow's current store; its run id."""
    with grid(study) as opened:
        return opened.write(number, wrong, forced=forced)


def counted(client: MlflowClient) -> dict[str, str]:
    """Fingerprint -> run id of what an export would have."""
    runs = tracking.counted_runs(client)
    return {tracking.fingerprint(run): run.info.run_id for run in runs}
