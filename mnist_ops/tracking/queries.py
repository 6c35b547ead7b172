"""Query the runs of a store: cells by state and study, grids, runs that never started."""

import json
from collections.abc import Iterable, Iterator

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_PROJECT_ENTRY_POINT

from mnist_ops.core import keys
from mnist_ops.study.specs import Spec, from_canonical
from mnist_ops.tracking.checking import Invalid, LeftOut, ignore, valid_cells
from mnist_ops.tracking.search import search, tag

IS_CELL = f"{tag(keys.FINGERPRINT)} LIKE '%'"
IS_GRID = f"{tag(keys.ROLE)} = '{keys.ROLE_GRID}'"
_FINISHED = "attributes.status = 'FINISHED'"
# Time for building an environment, with a margin for clocks that are an hour or two behind.
BUILD_LIMIT_S = 3 * 3600
# Params of every grid of the MLproject, which distinguish its entry points from those of other
# projects.
_GRID_PARAMS = {"preset", "datasets", "seeds", "workers", "scheduler", "device"}
_REPORT_PARAMS = {"out", "preset"}


def finished(client: MlflowClient, study: str, left_out: LeftOut = ignore) -> dict[str, str]:
    """Return the run id of every FINISHED cell of `study` by fingerprint, in any experiment."""
    found = search(client, f"{_in(study)} and {_FINISHED}", left_out)
    return {cell: run.info.run_id for cell, run in valid_cells(found, left_out)}


def specs_of(client: MlflowClient, study: str) -> Iterator[tuple[Spec, int]]:
    """Yield the spec of each FINISHED run of `study`, with its end in milliseconds since 1970."""
    for _, run in valid_cells(search(client, f"{_in(study)} and {_FINISHED}")):
        if keys.SPEC in run.data.tags:
            yield from_canonical(run.data.tags[keys.SPEC]), run.info.end_time


def experiment_runs(
    client: MlflowClient, experiment_id: str, left_out: LeftOut = ignore
) -> Iterator[Run]:
    """Yield every run of an experiment, whatever program logged it."""
    return search(client, "attributes.start_time > 0", left_out, experiment_id)


def finished_runs(client: MlflowClient, fingerprint: str) -> Iterator[Run]:
    """Yield the valid FINISHED runs of a cell."""
    found = valid_cells(search(client, f"{_is(fingerprint)} and {_FINISHED}"))
    # A wrong response may have runs of other cells.
    return (run for cell, run in found if cell == fingerprint)


def finished_of(client: MlflowClient, fingerprints: Iterable[str]) -> dict[str, Run]:
    """Return a FINISHED run by fingerprint, of those cells that have one."""
    found = {}
    for fingerprint in fingerprints:
        if run := next(finished_runs(client, fingerprint), None):
            found[fingerprint] = run
    return found


def ended_of(client: MlflowClient, fingerprints: Iterable[str], since: int) -> dict[str, Run]:
    """Return the run with which a cell ended, FINISHED or FAILED after `since`, by fingerprint.

    Args:
        client: of the store.
        fingerprints: of the cells.
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


def finished_cells(client: MlflowClient, left_out: LeftOut = ignore) -> Iterator[tuple[str, Run]]:
    """Yield the valid FINISHED runs of all cells, each with its fingerprint."""
    return valid_cells(unchecked_finished_runs(client, left_out), left_out)


def unchecked_finished_runs(client: MlflowClient, left_out: LeftOut = ignore) -> Iterator[Run]:
    """Yield every FINISHED run with the tags of a cell, valid or not."""
    return search(client, f"{IS_CELL} and {_FINISHED}", left_out)


def counted_runs(
    client: MlflowClient, experiment_id: str | None = None, left_out: LeftOut = ignore
) -> list[Run]:
    """Return the one run of each cell that the report uses, sorted by fingerprint.

    It is the valid FINISHED run that ended last.

    Args:
        client: of the store.
        experiment_id: only runs of this experiment; None is all experiments.
        left_out: gets a line on each invalid run.
    """
    latest: dict[str, Run] = {}
    for cell, run in finished_cells(client, left_out):
        if experiment_id not in (None, run.info.experiment_id):
            continue
        if cell not in latest or _ended(run) > _ended(latest[cell]):
            latest[cell] = run
    return [run for _, run in sorted(latest.items())]


def fingerprint(run: Run) -> str:
    """Return the fingerprint of a run's cell."""
    return str(run.data.tags[keys.FINGERPRINT])


def not_measured(client: MlflowClient, left_out: LeftOut = ignore) -> dict[str, str]:
    """Return the reasons why grids could not run cells, by fingerprint."""
    reasons: dict[str, str] = {}
    for run in search(client, f"{tag(keys.NOT_MEASURED)} LIKE '%'", left_out):
        try:
            noted = json.loads(run.data.tags[keys.NOT_MEASURED])
            reasons |= {_label(cell): _text(reason) for cell, reason in noted.items()}
        except (ValueError, AttributeError, RecursionError):
            left_out(str(Invalid.of(run, f"its tag {keys.NOT_MEASURED} is not a list of reasons")))
    return reasons


def grids_to_watch(client: MlflowClient, left_out: LeftOut = ignore) -> list[Run]:
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


def cells_of(client: MlflowClient, grid: Run, left_out: LeftOut = ignore) -> Iterator[Run]:
    """Yield the runs of the cells of a grid, which are in its experiment."""
    below = f"{tag(MLFLOW_PARENT_RUN_ID)} = '{grid.info.run_id}'"
    return search(client, below, left_out, grid.info.experiment_id)


def never_begun(client: MlflowClient, now_ms: int) -> list[Run]:
    """Return the runs of this project that have been RUNNING for three hours without a process.

    ``mlflow run`` opens its run before it builds the environment. If the build fails, the run stays
    RUNNING.

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
