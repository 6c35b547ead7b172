"""Read grids while they run: the runs of grids, and of the cells below one."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from mnist_ops.core import keys
from mnist_ops.tracking.checking import LeftOut, nobody
from mnist_ops.tracking.search import points, search, tag

_IS_GRID = f"{tag(keys.ROLE)} = '{keys.ROLE_GRID}'"


def grids_to_watch(client: MlflowClient, left_out: LeftOut = nobody) -> list[Run]:
    """The grids that say RUNNING, the oldest first; where none does, the one that began last."""
    grids = sorted(
        search(client, _IS_GRID, left_out), key=lambda run: (run.info.start_time, run.info.run_id)
    )
    return [run for run in grids if run.info.status == "RUNNING"] or grids[-1:]


def cells_of(client: MlflowClient, grid: Run, left_out: LeftOut = nobody) -> Iterator[Run]:
    """The runs of the cells below a grid, which are in its experiment."""
    below = f"{tag(MLFLOW_PARENT_RUN_ID)} = '{grid.info.run_id}'"
    return search(client, below, left_out, [grid.info.experiment_id])


def epochs_of(client: MlflowClient, run_id: str) -> list[tuple[int, float]]:
    """Each epoch that a run has logged: its number, and when it ended by the clock, in seconds."""
    logged = points(client, run_id, keys.TRAIN_LOSS)
    return sorted((point.step, point.timestamp / 1000) for point in logged)
