"""Find deleted experiments and grids of this project, which MLflow can restore."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, ViewType

from mnist_ops.core import keys
from mnist_ops.tracking import claims
from mnist_ops.tracking.queries import IS_GRID
from mnist_ops.tracking.search import PAGE, experiments, tag

_NAMED = 3


def deleted_experiments(client: MlflowClient) -> list[Experiment]:
    """Return the deleted experiments with runs of this project, except that of the claims."""
    return [
        experiment
        for experiment in experiments(client, ViewType.DELETED_ONLY)
        if experiment.name != claims.EXPERIMENT
        and client.search_runs(
            [experiment.experiment_id], f"{tag(keys.ROLE)} LIKE '%'", ViewType.ALL, max_results=1
        )
    ]


def deleted_grids(client: MlflowClient) -> list[Run]:
    """Return the deleted runs of grids in experiments that are not deleted."""
    where = [experiment.experiment_id for experiment in experiments(client)]
    return list(client.search_runs(where, IS_GRID, ViewType.DELETED_ONLY, max_results=PAGE))


def how_to_restore(client: MlflowClient) -> str:
    """Return a suffix for a message: what was deleted and how to restore it; empty if nothing."""
    return "".join(f"; {line}" for line in list(_lines(client))[:_NAMED])


def _lines(client: MlflowClient) -> Iterator[str]:
    for experiment in deleted_experiments(client):
        yield (
            f"experiment {experiment.name!r} was deleted: `mlflow experiments restore -x "
            f"{experiment.experiment_id}` brings its runs back"
        )
    for run in deleted_grids(client):
        yield (
            f"the grid {run.info.run_name!r} was deleted: `mlflow runs restore --run-id "
            f"{run.info.run_id}` brings it back"
        )
