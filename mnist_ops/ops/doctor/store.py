"""The tracking store: whether it is there, answers, and has the schema of this MLflow."""

from importlib.metadata import version
from typing import TYPE_CHECKING

from mnist_ops import tracking
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.ops.doctor.changes import SetDeleted
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.issue import Examination, Issue, note
from mnist_ops.tracking import claims
from mnist_ops.tracking.creation import upgrade
from mnist_ops.tracking.database import sqlite_path
from mnist_ops.tracking.schema import Schema, schema_of
from mnist_ops.tracking.tracker import quieten_mlflow, store_id

if TYPE_CHECKING:
    from mnist_ops.ops.doctor.fixes import Fixes

_SUBJECT = "tracking store"


def look_at_store(context: Context) -> Examination:
    """Connect `context` to its store, or say why that cannot be done."""
    quieten_mlflow()
    shown = tracking.without_password(context.uri)
    context.client = context.store = None
    path = sqlite_path(context.uri)
    if path is not None and not path.exists():
        first = "`mnist-ops run all --preset quick` makes it; MLFLOW_TRACKING_URI names another"
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
        gone = Issue("store-unreachable", str(error), "then look again: runs are not looked at now")
        return Examination(_SUBJECT, shown, (gone,))
    return Examination(_SUBJECT, f"{shown} answers", issues)


def _schema(context: Context, shown: str) -> Issue | None:
    here = f"MLflow {version('mlflow')}"
    match schema_of(context.uri):
        case Schema.HALF_MADE:
            return Issue(
                "store-half-made",
                f"{shown} has not all of its tables, and no runs: the program that made it ended",
                "--fix or the next grid puts a whole one in its place, and keeps the file beside",
                fix=lambda fixes: _made(context.uri),
            )
        case Schema.OLDER if sqlite_path(context.uri):
            return Issue(
                "schema-older",
                f"{shown} has an older schema than {here} reads",
                "end what uses it; --fix then upgrades a copy as `mlflow db upgrade` does, and "
                "keeps the file as it was",
                fix=lambda fixes: f"upgraded; as it was: {upgrade(context.uri)}",
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
                "schema has no way back",
            )
    return None


def _made(uri: str) -> str:
    tracking.connect(uri)
    return "made; what was there is beside it"


def _claims(context: Context) -> tuple[Issue, ...]:
    """What somebody deleted of the run that claims are written to."""
    client = context.client
    assert client is not None
    found = client.get_experiment_by_name(claims.EXPERIMENT)
    if found is None or context.store is None:
        return ()
    run = client.get_run(context.store)
    if (found.lifecycle_stage, run.info.lifecycle_stage) == ("active", "active"):
        return ()

    def restore(fixes: "Fixes") -> str:
        run_name = run.info.run_name
        if found.lifecycle_stage != "active":
            fixes.make(SetDeleted("experiment", found.experiment_id, found.name, deleted=False))
        fixes.make(SetDeleted("run", run.info.run_id, run_name, deleted=False))
        return "restored"

    return (
        Issue(
            "ledger-deleted",
            f"somebody deleted the experiment {claims.EXPERIMENT!r} or its run: grids cannot tell "
            "whether another computes a cell",
            "--fix restores it",
            fix=restore,
        ),
    )
