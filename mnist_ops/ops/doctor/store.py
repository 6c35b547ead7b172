"""Check that the tracking store exists, answers, and has the schema of this MLflow."""

from importlib.metadata import version

from mnist_ops import tracking
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.ops.doctor.changes import SetDeleted
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, note
from mnist_ops.tracking.creation import upgrade
from mnist_ops.tracking.database import sqlite_path
from mnist_ops.tracking.schema import Schema, schema_of
from mnist_ops.tracking.tracker import limit_retries, store_id

_SUBJECT = "tracking store"


def check_store(context: Context) -> Examination:
    """Connect `context` to its store; return an issue if that fails."""
    limit_retries()
    shown = tracking.without_password(context.uri)
    context.client = context.store = None
    path = sqlite_path(context.uri)
    if path is not None and not path.exists():
        first = "`mnist-ops run all --preset quick` creates it; MLFLOW_TRACKING_URI names another"
        none = note("no-store", f"there is none at {path} yet", first)
        return Examination(_SUBJECT, shown, (none,))
    try:
        if issue := _schema(context, shown):
            return Examination(_SUBJECT, shown, (issue,))
        context.client = tracking.connect(context.uri, create=False)
        with tracking.tracking_errors(context.uri):
            context.store = store_id(context.client, create=False)
            issues = _claims(context)
    except TrackingUnavailable as error:
        context.client = context.store = None
        gone = Issue("store-unreachable", str(error), "then run doctor again, for the runs")
        return Examination(_SUBJECT, shown, (gone,))
    return Examination(_SUBJECT, f"{shown} answers", issues)


def _schema(context: Context, shown: str) -> Issue | None:
    here = f"MLflow {version('mlflow')}"
    match schema_of(context.uri):
        case Schema.HALF_MADE:
            return Issue(
                "store-half-made",
                f"{shown} is incomplete and has no runs: its creation was interrupted",
                "--fix or the next grid replaces it by a complete one, and keeps the file",
                fix=lambda fixes: _made(context.uri),
            )
        case Schema.OLDER if sqlite_path(context.uri):
            return Issue(
                "schema-older",
                f"{shown} has an older schema than {here} reads",
                "end all programs that use it; --fix then upgrades it as `mlflow db upgrade` does, "
                "and keeps a backup",
                fix=lambda fixes: f"upgraded; backup: {upgrade(context.uri)}",
            )
        case Schema.OLDER:
            return Issue(
                "schema-older",
                f"{shown} has an older schema than {here} reads",
                "back the database up, then `mlflow db upgrade` with its URI",
            )
        case Schema.NEWER:
            return Issue(
                "schema-newer",
                f"{shown} was written by a newer MLflow than {here}",
                "`pip install --upgrade mlflow`, or set MLFLOW_TRACKING_URI to another store: a "
                "schema cannot be downgraded",
            )
    return None


def _made(uri: str) -> str:
    tracking.connect(uri)
    return "created; the incomplete file is kept beside it"


def _claims(context: Context) -> tuple[Issue, ...]:
    """Return an issue if the run of the claims was deleted."""
    client = context.client
    assert client is not None
    if context.store is None:
        return ()
    run = client.get_run(context.store)
    if run.info.lifecycle_stage == "active":
        return ()

    def restore(fixes: Fixes) -> str:
        fixes.make(SetDeleted("run", run.info.run_id, run.info.run_name, deleted=False))
        return "restored"

    return (
        Issue(
            "ledger-deleted",
            "the run with the claims on cells was deleted: grids cannot tell whether another one "
            "computes a cell",
            "--fix or the next grid restores it",
            fix=restore,
        ),
    )
