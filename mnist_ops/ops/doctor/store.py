"""The tracking store: whether it is there, answers, and has the schema of this MLflow."""

from importlib.metadata import version
from typing import TYPE_CHECKING

from mnist_ops import tracking
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.ops.doctor.changes import SetDeleted
from mnist_ops.ops.doctor.context import Site
from mnist_ops.ops.doctor.issue import Examination, Finding, note
from mnist_ops.tracking import claims
from mnist_ops.tracking.creation import upgrade
from mnist_ops.tracking.database import sqlite_path
from mnist_ops.tracking.schema import Schema, schema_of
from mnist_ops.tracking.tracker import quieten_mlflow, store_id

if TYPE_CHECKING:
    from mnist_ops.ops.doctor.fixes import Fixes

_SUBJECT = "tracking store"


def look_at_store(site: Site) -> Examination:
    """Connect `site` to its store, or say why that cannot be done."""
    quieten_mlflow()
    shown = tracking.without_password(site.uri)
    site.client = site.store = None
    path = sqlite_path(site.uri)
    if path is not None and not path.exists():
        first = "`mnist-ops run all --preset quick` makes it; MLFLOW_TRACKING_URI names another"
        none = note("no-store", f"there is none at {path} yet", first)
        return Examination(_SUBJECT, shown, (none,))
    try:
        if finding := _schema(site, shown):
            return Examination(_SUBJECT, shown, (finding,))
        site.client = tracking.connect(site.uri, create=False)
        with tracking.tracking_errors(site.uri):
            site.store = store_id(site.client, create=False)
            findings = _ledger(site)
    except TrackingUnavailable as error:
        site.client = site.store = None
        gone = Finding(
            "store-unreachable", str(error), "then look again: runs are not looked at now"
        )
        return Examination(_SUBJECT, shown, (gone,))
    return Examination(_SUBJECT, f"{shown} answers", findings)


def _schema(site: Site, shown: str) -> Finding | None:
    here = f"MLflow {version('mlflow')}"
    match schema_of(site.uri):
        case Schema.HALF_MADE:
            return Finding(
                "store-half-made",
                f"{shown} has not all of its tables, and no runs: the program that made it ended",
                "--fix or the next grid puts a whole one in its place, and keeps the file beside",
                mend=lambda fixes: _made(site.uri),
            )
        case Schema.OLDER if sqlite_path(site.uri):
            return Finding(
                "schema-older",
                f"{shown} has an older schema than {here} reads",
                "end what uses it; --fix then upgrades a copy as `mlflow db upgrade` does, and "
                "keeps the file as it was",
                mend=lambda fixes: f"upgraded; as it was: {upgrade(site.uri)}",
            )
        case Schema.OLDER:
            return Finding(
                "schema-older",
                f"{shown} has an older schema than {here} reads",
                "back the database up, then `mlflow db upgrade` with its URI",
            )
        case Schema.NEWER:
            return Finding(
                "schema-newer",
                f"{shown} was written by a newer MLflow than {here}",
                "`pip install --upgrade mlflow`, or set MLFLOW_TRACKING_URI to another store: a "
                "schema has no way back",
            )
    return None


def _made(uri: str) -> str:
    tracking.connect(uri)
    return "made; what was there is beside it"


def _ledger(site: Site) -> tuple[Finding, ...]:
    """What somebody deleted of the run that claims are written to."""
    client = site.client
    assert client is not None
    found = client.get_experiment_by_name(claims.EXPERIMENT)
    if found is None or site.store is None:
        return ()
    run = client.get_run(site.store)
    if (found.lifecycle_stage, run.info.lifecycle_stage) == ("active", "active"):
        return ()

    def restore(fixes: "Fixes") -> str:
        run_name = run.info.run_name
        if found.lifecycle_stage != "active":
            fixes.make(SetDeleted("experiment", found.experiment_id, found.name, deleted=False))
        fixes.make(SetDeleted("run", run.info.run_id, run_name, deleted=False))
        return "restored"

    return (
        Finding(
            "ledger-deleted",
            f"somebody deleted the experiment {claims.EXPERIMENT!r} or its run: grids cannot tell "
            "whether another computes a cell",
            "--fix restores it",
            mend=restore,
        ),
    )
