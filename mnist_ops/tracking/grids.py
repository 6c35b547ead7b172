"""Read grids while they run: the runs of grids, and of the cells below one."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from mnist_ops import keys
from mnist_ops.tracking.search import search, tag

_IS_GRID = f"{tag(keys.ROLE)} = '{keys.ROLE_GRID}'"
_PAGE = 1000


def grids_to_watch(client: MlflowClient) -> list[Run]:
    """The grids that say RUNNING, the oldest first; where none does, the one that began last."""
    running = list(search(client, f"{_IS_GRID} and attributes.status = 'RUNNING'"))
    if running:
        return sorted(running, key=lambda run: (run.info.start_time, run.info.run_id))
    experiments = [e.experiment_id for e in client.search_experiments(max_results=_PAGE)]
    newest = client.search_runs(
        experiments, _IS_GRID, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return list(newest)


def cells_of(client: MlflowClient, grid: Run) -> Iterator[Run]:
    """The runs of the cells below a grid, which are in its experiment."""
    below = f"{tag(MLFLOW_PARENT_RUN_ID)} = '{grid.info.run_id}'"
    token = None
    while True:
        page = client.search_runs(
            [grid.info.experiment_id], below, max_results=_PAGE, page_token=token
        )
        yield from page
        if not (token := page.token):
            return


def epochs_of(client: MlflowClient, run_id: str) -> list[tuple[int, float]]:
    """Each epoch that a run has logged: its number, and when it ended by the clock, in seconds."""
    points = client.get_metric_history(run_id, keys.TRAIN_LOSS)
    return sorted((point.step, point.timestamp / 1000) for point in points)
