"""Runs, journals and files as a killed process leaves them."""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import specs
from mlflow import MlflowClient
from mlflow.entities import ViewType

from mnist_ops import tracking
from mnist_ops.core import atomic_files, keys, paths
from mnist_ops.ops.doctor import Context, Diagnosis, Fixes, Issue, diagnose, undo_last
from mnist_ops.ops.doctor.undo import Undone
from mnist_ops.study.results import EpochResult, FitResult
from mnist_ops.study.specs import Spec
from mnist_ops.tracking import provenance
from mnist_ops.tracking.journal import Journal, now_ms

RESNET = dataclasses.replace(specs.RESNET, learning_rate=0.0001)
METRICS = {keys.TEST_ACCURACY: 2 / 3, keys.TEST_F1: 0.6, keys.FLOPS: 1e6}
EPOCHS = [EpochResult(1, 1.5, 0.5, 10.0), EpochResult(2, 0.7, 0.8, 20.5)]
# A process id of this boot that nobody has: the largest that Linux gives is 2**22.
CELL = RESNET.fingerprint
GRID_PARAMS = dict.fromkeys(
    ("preset", "datasets", "seeds", "workers", "scheduler", "device", "report"), "auto"
)
DEAD = tracking.ProcessId(tracking.ProcessId.this_process().place, 2**22 + 1, 1.0)


@contextmanager
def opened(client: MlflowClient) -> Iterator[tracking.Tracker]:
    """The tracker of the default store, closed again so that a doctor may open its own."""
    tracker = tracking.open_tracker(tracking.default_uri())
    try:
        yield tracker
    finally:
        tracking.close_tracker(tracker)


def result(metrics: dict[str, float] | None = None) -> FitResult:
    return FitResult(
        predictions=np.array([1, 2, 3], np.uint8),
        labels=np.array([1, 2, 4], np.uint8),
        test_index=np.array([7, 8, 9], np.int32),
        n_train=100,
        n_val=14,
        metrics=EPOCHS[-1].metrics | METRICS | (metrics or {}),
    )


def open_grid(tracker: tracking.Tracker, **tags: str) -> tracking.ParentRun:
    return tracking.open_parent(
        tracker,
        name="resnet_grid (quick)",
        note="A question?",
        role=keys.ROLE_GRID,
        tags={keys.STUDY: "resnet_grid", keys.PRESET: "quick", **tags},
        experiment_id=tracking.experiment(tracker.client, "mnist-ops"),
    )


def open_cell(
    tracker: tracking.Tracker, parent: tracking.Parent, spec: Spec = RESNET, **place: object
) -> tracking.CellRun:
    where = {"fit_group": "a fit group", "time": keys.TIME_MEASURED} | place
    return tracking.CellRun(
        tracker,
        spec,
        tracking.CellPlace(parent, "quick", "0123456789abcdef", **where),
        claimed=False,
    )


def finished_run(
    client: MlflowClient, spec: Spec = RESNET, metrics: dict[str, float] | None = None
) -> str:
    """The id of a whole run of a cell, in a store that had none of it."""
    with opened(client) as tracker:
        grid = open_grid(tracker)
        run = open_cell(tracker, grid.parent, spec)
        for epoch in EPOCHS:
            run.log_epoch(epoch)
        run.finish(result(metrics))
        grid.close("FINISHED", "")
        assert tracker.uploader.flush(30, retry=True)
        assert run.run_id is not None
        return run.run_id


def copy_of(client: MlflowClient, run_id: str, **tags: str) -> str:
    """Another run that says the same, as two grids on two stores that were joined would leave."""
    run = client.get_run(run_id)
    made = client.create_run(
        run.info.experiment_id, tags=run.data.tags | tags, run_name=run.info.run_name
    )
    for name, value in run.data.metrics.items():
        client.log_metric(made.info.run_id, name, value)
    path = client.download_artifacts(run_id, keys.PREDICTIONS)
    client.log_artifact(made.info.run_id, path)
    client.set_terminated(made.info.run_id)
    return made.info.run_id


def dead_journal(
    store: str,
    experiment_id: str,
    spec: Spec = RESNET,
    *,
    folder: str | None = None,
    **changed: object,
) -> Path:
    """The journal of a cell whose process died in its middle, before the store had heard of it."""
    journal = Journal(paths.journals_dir(store) / (folder or spec.fingerprint))
    tags = {
        keys.ROLE: keys.ROLE_CELL,
        keys.STUDY: spec.study,
        keys.FINGERPRINT: spec.fingerprint,
        keys.SPEC: spec.canonical,
        keys.FIT_GROUP: "a fit group",
        keys.JOURNAL: "0123456789abcdef",
        keys.OWNER: str(DEAD),
    }
    event = {
        "time": now_ms(),
        "experiment_id": experiment_id,
        "name": spec.name,
        "tags": tags,
        "params": {},
        "machine": provenance.arithmetic("cpu"),
        "forced": False,
    }
    journal.append("open", **(event | changed))
    journal.append("metrics", time=now_ms(), step=1, values={keys.TRAIN_LOSS: 1.5})
    journal.close()
    return journal.folder


@dataclass(frozen=True)
class Doctor:
    """Looks at the default store and this test's state and data."""

    now: Callable[[], float] = time.time

    def examine(self, *, fix: bool = False, force: bool = False) -> list[Diagnosis]:
        context = self.context(force=force)
        return list(diagnose(context, Fixes(context) if fix else None))

    def context(self, *, force: bool = False) -> Context:
        return Context(tracking.default_uri(), force=force, now=self.now)

    def undo(self) -> Undone | None:
        return undo_last(self.context())

    def issues(self) -> dict[str, Issue]:
        """Return the findings by kind, without those of this machine."""
        return {
            issue.kind: issue
            for diagnosis in self.examine()
            for issue in diagnosis.seen.issues
            if issue.kind
            not in (
                "no-compiler",
                "no-kernels",
                "no-allocator",
                "no-images",
                "disk-little",
                "reference-kernel",
            )
        }

    def fix(self, *, force: bool = False) -> dict[str, str]:
        """Mend; kind -> what was done."""
        examined = self.examine(fix=True, force=force)
        assert not [why for diagnosis in examined for why in diagnosis.failed.values()]
        return {m.issue.kind: m.did for diagnosis in examined for m in diagnosis.fixed}


def fixed(doctor: Doctor, *kinds: str, force: bool = False) -> dict[str, str]:
    """Each of `kinds`, and nothing else, is found, fixed, and not found again."""
    assert doctor.issues().keys() == set(kinds)
    done = doctor.fix(force=force)
    assert done.keys() == set(kinds)
    assert doctor.issues() == {}
    return done


def files_below(folder: Path) -> dict[str, str]:
    """Path -> digest of all that lies in `folder`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def predictions_path(client: MlflowClient, run_id: str) -> Path:
    (path,) = Path("mlruns").glob(f"*/{run_id}/artifacts/{keys.PREDICTIONS}")
    return path


def opened_by_mlflow(
    client: MlflowClient, params: dict[str, str], age_s: float, **tags: str
) -> str:
    run = client.create_run(
        "0",
        start_time=int(1000 * (time.time() - age_s)),
        tags={"mlflow.project.entryPoint": "main", **tags},
    )
    for name, value in params.items():
        client.log_param(run.info.run_id, name, value)
    return str(run.info.run_id)


def status(client: MlflowClient, run_id: str) -> str:
    """Return the status of a run."""
    return str(client.get_run(run_id).info.status)


def all_runs(client: MlflowClient) -> list[dict[str, Any]]:
    """All that the store says of every run, deleted ones too, by run id."""
    experiments = [e.experiment_id for e in client.search_experiments(ViewType.ALL)]
    runs = client.search_runs(experiments, run_view_type=ViewType.ALL, max_results=5000)
    # Not a number is not equal to itself.
    return sorted(
        (
            {
                "run_id": run.info.run_id,
                "status": run.info.status,
                "stage": run.info.lifecycle_stage,
                "times": (run.info.start_time, run.info.end_time),
                "artifacts": run.info.artifact_uri,
                "said": repr((run.data.tags, run.data.params, run.data.metrics)),
            }
            for run in runs
        ),
        key=lambda row: str(row["run_id"]),
    )


def plant_everything(client: MlflowClient, home: Path, store: str) -> set[str]:
    """One of each defect that can stand beside the others; their kinds."""
    whole = finished_run(client)
    copy_of(client, whole)
    torn = copy_of(client, whole, **{keys.FINGERPRINT: "f" * 16})
    predictions_path(client, torn).write_bytes(b"torn")
    diverged = copy_of(client, whole, **{keys.FINGERPRINT: "e" * 16})
    client.log_metric(diverged, keys.TEST_ACCURACY, float("nan"))
    client.create_run("0", tags={keys.ROLE: keys.ROLE_GRID, keys.OWNER: str(DEAD)})
    opened_by_mlflow(client, GRID_PARAMS, age_s=15_000)
    client.log_param(store, "a_cell.1", str(DEAD))
    dead_journal(store, "0", folder="another", name="another", tags=_tags_of("another"))
    Journal(paths.journals_dir(store) / "empty").close()
    atomic_files.replace(paths.checkpoint_path(store, "nobody's"), b"a state")
    checkpoints = paths.checkpoint_path(store, "").parent
    (checkpoints / "x.checkpoint.set-aside").write_bytes(b"damaged")
    (checkpoints / ".x.checkpoint.new").write_bytes(b"half")
    (home / "mlruns" / "7" / ("0" * 32) / "artifacts").mkdir(parents=True)
    gone = dead_journal("e" * 32, "0")
    paths.note_address("e" * 32, f"sqlite:///{home}/gone.db")
    assert gone.exists()
    return {
        "duplicate",
        "half-logged",
        "incomplete",
        "ghost",
        "never-begun",
        "dead-claim",
        "undelivered",
        "orphaned-journal",
        "orphaned-checkpoint",
        "set-aside-checkpoint",
        "leftover",
        "orphaned-artifacts",
        "store-gone",
    }


def _tags_of(cell: str) -> dict[str, str]:
    return {keys.FINGERPRINT: cell, keys.JOURNAL: "0123456789abcdef", keys.OWNER: str(DEAD)}
