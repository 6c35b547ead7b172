"""Query the runs of a store: cells by state and study, grids, runs that never began."""

import json
from collections.abc import Iterable, Iterator

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_PROJECT_ENTRY_POINT

from mnist_ops.core import keys
from mnist_ops.tracking.checking import Invalid, LeftOut, nobody, valid_cells
from mnist_ops.tracking.search import search, tag

IS_CELL = f"{tag(keys.FINGERPRINT)} LIKE '%'"
IS_GRID = f"{tag(keys.ROLE)} = '{keys.ROLE_GRID}'"
_FINISHED = "attributes.status = 'FINISHED'"
# An environment that takes an hour to build is not being built any more; and the clock of the
# machine that opened the run may be an hour or two behind.
BUILD_LIMIT_S = 3 * 3600
# Params of every grid of the MLproject: what tells its entry points from another project's, which
# may have a `main` too.
_GRID_PARAMS = {"preset", "datasets", "seeds", "workers", "scheduler", "device"}
_REPORT_PARAMS = {"out", "preset"}


def finished(client: MlflowClient, study: str, left_out: LeftOut = nobody) -> dict[str, str]:
    """Return the run id of every FINISHED cell of `study` by fingerprint, in any experiment."""
    found = search(client, f"{_in(study)} and {_FINISHED}", left_out)
    return {cell: run.info.run_id for cell, run in valid_cells(found, left_out)}


def finished_runs(client: MlflowClient, fingerprint: str) -> Iterator[Run]:
    """Yield the valid FINISHED runs of a cell."""
    found = valid_cells(search(client, f"{_is(fingerprint)} and {_FINISHED}"))
    # An answer to another question names other cells.
    return (run for cell, run in found if cell == fingerprint)


def finished_of(client: MlflowClient, fingerprints: Iterable[str]) -> dict[str, Run]:
    """Return a FINISHED run by fingerprint, of those cells that have one."""
    found = {}
    for fingerprint in fingerprints:
        if run := next(finished_runs(client, fingerprint), None):
            found[fingerprint] = run
    return found


def ended_of(client: MlflowClient, fingerprints: Iterable[str], since: int) -> dict[str, Run]:
    """Return by fingerprint a run that decides its cell: FINISHED, or FAILED after `since`.

    Args:
        client: of the store.
        fingerprints: of the cells asked for.
        since: milliseconds since the epoch.
    """
    asked = list(fingerprints)
    found = finished_of(client, asked)
    for fingerprint in asked:
        if fingerprint not in found:
            is_new = f"attributes.status = 'FAILED' and attributes.end_time > {since}"
            runs = search(client, f"{_is(fingerprint)} and {is_new}")
            if ended := next(valid_cells(runs), None):
                found[fingerprint] = ended[1]
    return found


def failed(client: MlflowClient, study: str) -> dict[str, str]:
    """Return the error of every cell of `study` that has a FAILED run, by fingerprint."""
    found = search(client, f"{_in(study)} and attributes.status = 'FAILED'")
    return {
        cell: run.data.tags.get(keys.ERROR, "no reason was noted")
        for cell, run in valid_cells(found)
    }


def finished_cells(client: MlflowClient, left_out: LeftOut = nobody) -> Iterator[tuple[str, Run]]:
    """Yield the FINISHED runs of all cells that count, each with its fingerprint."""
    return valid_cells(unchecked_finished_runs(client, left_out), left_out)


def unchecked_finished_runs(client: MlflowClient, left_out: LeftOut = nobody) -> Iterator[Run]:
    """Yield every FINISHED run that claims to be of a cell, whatever its values are."""
    return search(client, f"{IS_CELL} and {_FINISHED}", left_out)


def counted_runs(
    client: MlflowClient, experiment_id: str | None = None, left_out: LeftOut = nobody
) -> list[Run]:
    """Return the one run of each cell that the report uses, sorted by fingerprint.

    That is the latest to end of those that finished with an accuracy from 0 to 1.

    Args:
        client: of the store.
        experiment_id: only runs of this experiment; None takes those of every one.
        left_out: gets a line on each run whose values cannot be right.
    """
    latest: dict[str, Run] = {}
    for cell, run in finished_cells(client, left_out):
        if experiment_id not in (None, run.info.experiment_id):
            continue
        if cell not in latest or _ended(run) > _ended(latest[cell]):
            latest[cell] = run
    return [run for _, run in sorted(latest.items())]


def fingerprint(run: Run) -> str:
    """Return the fingerprint of the cell that `run` is of."""
    return str(run.data.tags[keys.FINGERPRINT])


def not_measured(client: MlflowClient, left_out: LeftOut = nobody) -> dict[str, str]:
    """Return by fingerprint why grids could not run cells."""
    reasons: dict[str, str] = {}
    for run in search(client, f"{tag(keys.NOT_MEASURED)} LIKE '%'", left_out):
        try:
            noted = json.loads(run.data.tags[keys.NOT_MEASURED])
            reasons |= {_label(cell): _text(reason) for cell, reason in noted.items()}
        except (ValueError, AttributeError, RecursionError):
            left_out(str(Invalid.of(run, f"its tag {keys.NOT_MEASURED} is no list of reasons")))
    return reasons


def grids_to_watch(client: MlflowClient, left_out: LeftOut = nobody) -> list[Run]:
    """Return the RUNNING grids or else the latest, with those started by the same command.

    They are sorted by start time, the oldest first.
    """
    grids = sorted(
        search(client, IS_GRID, left_out), key=lambda run: (run.info.start_time, run.info.run_id)
    )
    chosen = [run for run in grids if run.info.status == "RUNNING"] or grids[-1:]
    parents = {run.data.tags.get(MLFLOW_PARENT_RUN_ID) for run in chosen} - {None}
    return [
        run for run in grids if run in chosen or run.data.tags.get(MLFLOW_PARENT_RUN_ID) in parents
    ]


def cells_of(client: MlflowClient, grid: Run, left_out: LeftOut = nobody) -> Iterator[Run]:
    """Yield the runs of the cells below a grid, which are in its experiment."""
    below = f"{tag(MLFLOW_PARENT_RUN_ID)} = '{grid.info.run_id}'"
    return search(client, below, left_out, grid.info.experiment_id)


def never_begun(client: MlflowClient, now_ms: int) -> list[Run]:
    """Return the runs of this project that are RUNNING for three hours and have no process.

    ``mlflow run`` opens its run first and builds the environment then. Where that fails the run
    stays RUNNING for ever.

    Args:
        client: of the store.
        now_ms: milliseconds since the epoch.
    """
    filter_string = (
        f"{tag(MLFLOW_PROJECT_ENTRY_POINT)} LIKE '%' and attributes.status = 'RUNNING' "
        f"and attributes.start_time < {now_ms - 1000 * BUILD_LIMIT_S}"
    )
    return [run for run in search(client, filter_string) if _is_ours(run)]


def _in(study: str) -> str:
    return f"{IS_CELL} and {tag(keys.STUDY)} = '{study}'"


def _is(fingerprint: str) -> str:
    return f"{tag(keys.FINGERPRINT)} = '{fingerprint}'"


def _ended(run: Run) -> tuple[int, str]:
    return run.info.end_time or 0, run.info.run_id


def _is_ours(run: Run) -> bool:
    params = run.data.params.keys()
    if keys.OWNER in run.data.tags:
        return False
    if run.data.tags[MLFLOW_PROJECT_ENTRY_POINT] == "summarize":
        return params == _REPORT_PARAMS
    return params >= _GRID_PARAMS


def _label(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value
