"""The runs of the store: whether each is in its true state, whole, and the only one of its cell."""

from collections.abc import Callable, Iterable

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_ops import keys, tracking
from mnist_ops.compare import runs as columns
from mnist_ops.compare.selection import repeated
from mnist_ops.doctor.finding import Examination, Finding, counted, not_looked_at, note
from mnist_ops.doctor.site import Site
from mnist_ops.tracking.ledger import Ledger
from mnist_ops.tracking.projects import never_begun
from mnist_ops.tracking.wholeness import Unreachable, defect, finished_cells, void

_OPEN = "open runs"
_FINISHED = "finished runs"
_CLAIMS = "claims"


def look_at_open_runs(site: Site) -> Examination:
    """Runs that say RUNNING though nobody works on them."""
    client = site.client
    if client is None:
        return not_looked_at(_OPEN)
    findings = []
    if site.store and (ghosts := tracking.ghosts(client, Ledger(client, site.store))):
        findings.append(
            Finding(
                "ghost",
                f"{counted(len(ghosts), 'run')} RUNNING whose process is dead",
                "--fix ends them as KILLED; the same command that began them goes on",
                _names(ghosts),
                mend=lambda: _each(site, ghosts, tracking.end_ghost, "ended as KILLED"),
            )
        )
    if left := never_begun(client, round(site.now() * 1000)):
        findings.append(
            Finding(
                "never-begun",
                f"{counted(len(left), 'run')} that `mlflow run` opened over an hour ago and never "
                "handed over: building the environment failed",
                "--fix ends them as KILLED; with `--env-manager local` nothing needs to be built",
                _names(left),
                mend=lambda: _each(site, left, _end_unbegun, "ended as KILLED"),
            )
        )
    return Examination(_OPEN, "none without a living process", tuple(findings))


def look_at_finished_runs(site: Site) -> Examination:
    """Runs that say FINISHED, and are not whole or not the only one of their cell."""
    if site.client is None:
        return not_looked_at(_FINISHED)
    runs = finished_cells(site.client)
    defects = {run.info.run_id: found for run in runs if (found := defect(run))}
    findings = [
        *_half_logged(
            site, [r for r in runs if isinstance(defects.get(r.info.run_id), str)], defects
        ),
        *_unreachable(runs, defects),
        *_duplicates(
            site, [run for run in runs if not isinstance(defects.get(run.info.run_id), str)]
        ),
    ]
    well = f"{counted(len(runs), 'run')}, each whole and the only one of its cell"
    return Examination(_FINISHED, well if runs else "none yet", tuple(findings))


def look_at_claims(site: Site) -> Examination:
    """Claims of cells by processes that are dead: the next grid takes them over anyway."""
    client, store = site.client, site.store
    if client is None:
        return not_looked_at(_CLAIMS)
    entries = site.entries
    dead = [
        fingerprint
        for fingerprint, (_, owner) in entries.claims.items()
        if owner is not None and not entries.lives(owner)
    ]
    if not dead or store is None:
        return Examination(_CLAIMS, "none by a dead process")

    def release() -> str:
        ledger = Ledger(client, store)
        with tracking.tracking_errors(site.uri):
            # Of what another process takes meanwhile nothing is released.
            ledger.release(ledger.claim(dead))
            ledger.close()
        return "released"

    return Examination(
        _CLAIMS,
        "",
        (
            note(
                "dead-claim",
                f"{counted(len(dead), 'cell')} claimed by processes that are dead: harmless",
                "the next grid takes them over, --fix releases them",
                mend=release,
            ),
        ),
    )


def _half_logged(
    site: Site, runs: list[Run], defects: dict[str, str | Unreachable]
) -> Iterable[Finding]:
    if not runs:
        return
    why = {run.info.run_id: f"half logged: {defects[run.info.run_id]}" for run in runs}

    def end(client: MlflowClient, run: Run) -> None:
        void(client, run, why[run.info.run_id])

    yield Finding(
        "half-logged",
        f"{counted(len(runs), 'run')} FINISHED without all that a finished run has",
        "--fix sets them to KILLED, and the next grid computes their cells again",
        tuple(f"{run.info.run_name}: {defects[run.info.run_id]}" for run in runs),
        mend=lambda: _each(site, runs, end, "set to KILLED"),
    )


def _unreachable(runs: list[Run], defects: dict[str, str | Unreachable]) -> Iterable[Finding]:
    found = [d for run in runs if isinstance(d := defects.get(run.info.run_id), Unreachable)]
    if found:
        yield Finding(
            "artifacts-unreachable",
            f"the artifacts of {counted(len(found), 'run')} cannot be reached from here",
            "bring their folder back, or look from the machine that has it; their runs are left as "
            "they are",
            tuple(sorted({reason.why for reason in found})),
        )


def _duplicates(site: Site, runs: list[Run]) -> Iterable[Finding]:
    frame = columns.typed(
        pd.DataFrame(
            {
                columns.RUN_ID: run.info.run_id,
                columns.STATUS: run.info.status,
                columns.FINGERPRINT: run.data.tags[keys.FINGERPRINT],
                columns.START_TIME: pd.to_datetime(run.info.start_time, unit="ms", utc=True),
                columns.END_TIME: pd.to_datetime(run.info.end_time, unit="ms", utc=True),
                keys.TEST_ACCURACY: run.data.metrics.get(keys.TEST_ACCURACY),
            }
            for run in runs
        )
    )
    unused = set(repeated(frame)[columns.RUN_ID])
    extra = [run for run in runs if run.info.run_id in unused]
    if extra:
        cells = len({run.data.tags[keys.FINGERPRINT] for run in extra})
        yield Finding(
            "duplicate",
            f"{counted(len(extra), 'run')} too many: {counted(cells, 'cell')} finished twice",
            "--fix deletes all but the one that reports use, the latest; `mlflow runs restore` "
            "brings one back",
            _names(extra),
            mend=lambda: _each(
                site, extra, lambda client, run: client.delete_run(run.info.run_id), "deleted"
            ),
        )


def _each(site: Site, runs: list[Run], mend: Callable[[MlflowClient, Run], None], done: str) -> str:
    assert site.client is not None
    with tracking.tracking_errors(site.uri):
        for run in runs:
            mend(site.client, run)
    return f"{counted(len(runs), 'run')} {done}"


def _end_unbegun(client: MlflowClient, run: Run) -> None:
    client.set_tag(run.info.run_id, keys.ERROR, "its environment was never built")
    client.set_terminated(run.info.run_id, "KILLED")


def _names(runs: Iterable[Run]) -> tuple[str, ...]:
    return tuple(f"{run.info.run_name} ({run.info.run_id[:8]})" for run in runs)
