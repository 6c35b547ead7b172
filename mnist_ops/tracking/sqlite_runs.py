"""Read the runs of cells from a SQLite store with four queries, without MLflow's object mapper.

MLflow searches anew for each page of runs, and makes objects of all their values.
"""

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag

from mnist_ops.core import keys
from mnist_ops.tracking.database import open_sqlite

# Runs that are read at once, fewer than SQLite accepts as values of a query.
_BATCH = 500
_RUNS = """
SELECT run_uuid, name, experiment_id, user_id, status, start_time, end_time, lifecycle_stage,
       artifact_uri
FROM runs JOIN tags USING (run_uuid)
WHERE key = ? AND lifecycle_stage = 'active' AND experiment_id IN ({})
ORDER BY start_time DESC, run_uuid
"""


def cells(store: Path, experiment_ids: Sequence[str]) -> Iterator[Run]:
    """Yield the active runs of cells in a store, without their inputs and outputs.

    Args:
        store: a SQLite file with MLflow's current schema.
        experiment_ids: of the experiments to read.

    Raises:
        sqlite3.Error: the file cannot be read, or has another schema.
        Exception: MLflow's entities raise it on a run with invalid values.
    """
    with closing(open_sqlite(store)) as database:
        # One transaction, as other programs may write meanwhile.
        database.execute("BEGIN")
        found = database.execute(
            _RUNS.format(_places(experiment_ids)), (keys.FINGERPRINT, *map(int, experiment_ids))
        )
        while rows := found.fetchmany(_BATCH):
            yield from _runs(database, rows)


def artifact_uri(store: Path, run_id: str) -> str | None:
    """Return the artifact URI of a run; None if the store has no such run.

    Raises:
        sqlite3.Error: the file cannot be read, or has another schema.
    """
    with closing(open_sqlite(store)) as database:
        sql = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
        found = database.execute(sql, (run_id,)).fetchone()
        return found and found[0]


def _runs(database: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> Iterator[Run]:
    ids = [row[0] for row in rows]
    params: dict[str, list[Param]] = defaultdict(list)
    tags: dict[str, list[RunTag]] = defaultdict(list)
    metrics: dict[str, list[Metric]] = defaultdict(list)
    for run_id, key, value in _of(database, "key, value FROM params", ids):
        params[run_id].append(Param(key, value))
    for run_id, key, value in _of(database, "key, value FROM tags", ids):
        tags[run_id].append(RunTag(key, value))
    columns = "key, value, timestamp, step, is_nan FROM latest_metrics"
    for run_id, key, value, timestamp, step, is_nan in _of(database, columns, ids):
        metrics[run_id].append(Metric(key, math.nan if is_nan else value, timestamp, step))
    for run_id, name, experiment_id, user_id, status, start, end, stage, location in rows:
        info = RunInfo(
            run_id=run_id,
            experiment_id=str(experiment_id),
            user_id=user_id,
            status=status,
            start_time=start,
            end_time=end,
            lifecycle_stage=stage,
            artifact_uri=location,
            run_name=name,
        )
        yield Run(info, RunData(metrics[run_id], params[run_id], tags[run_id]))


def _of(
    database: sqlite3.Connection, columns: str, run_ids: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    sql = f"SELECT run_uuid, {columns} WHERE run_uuid IN ({_places(run_ids)})"
    return database.execute(sql, run_ids)


def _places(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
