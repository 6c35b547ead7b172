"""Check for deleted experiments and grids, whose runs do not count until they are restored."""

import os
from functools import partial

from mnist_ops.ops.doctor.changes import SetDeleted
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, counted, not_checked, note
from mnist_ops.tracking.deleted import deleted_experiments, deleted_grids
from mnist_ops.tracking.destination import DEFAULT_EXPERIMENT

_SUBJECT = "deleted"


def check_deleted(context: Context) -> Examination:
    """Check for deleted experiments and runs that MLflow can restore."""
    client = context.client
    if client is None:
        return not_checked(_SUBJECT)
    used = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    issues = []
    for found in deleted_experiments(client):
        what = f"experiment {found.name!r} was deleted, with the runs in it"
        by_hand = f"`mlflow experiments restore -x {found.experiment_id}` restores it"
        if found.name != used:
            issues.append(note("experiment-deleted", what, by_hand))
            continue
        change = SetDeleted("experiment", found.experiment_id, found.name, deleted=False)
        issues.append(
            Issue(
                "experiment-deleted",
                f"{what}, and `mnist-ops run` writes into it",
                f"--fix or {by_hand}; --experiment names another",
                fix=partial(_restore, change),
            )
        )
    if grids := deleted_grids(client):
        issues.append(
            note(
                "grid-deleted",
                f"the runs of {counted(len(grids), 'grid')} were deleted: `status` does not show "
                "them, their cells count",
                "`mlflow runs restore --run-id` and the id restores one",
                tuple(f"{run.info.run_name} ({run.info.run_id})" for run in grids),
            )
        )
    return Examination(_SUBJECT, "nothing of this project", tuple(issues))


def _restore(change: SetDeleted, fixes: Fixes) -> str:
    fixes.make(change)
    return "restored"
