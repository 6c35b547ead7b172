"""Runs that ``mlflow run`` has opened for this project, and whose work never began.

``mlflow run`` opens its run first and builds the environment then. Where that fails the run stays
RUNNING for ever, and no process of this project has ever heard of it.
"""

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from mnist_ops.core import keys
from mnist_ops.tracking.search import search, tag

# An environment that takes an hour to build is not being built any more; and the clock of the
# machine that opened the run may be an hour or two behind.
BUILD_LIMIT_S = 3 * 3600
# Params of every grid of the MLproject: what tells its entry points from another project's, which
# may have a `main` too.
_GRID_PARAMS = {"preset", "datasets", "seeds", "workers", "scheduler", "device"}
_REPORT_PARAMS = {"out", "preset"}


def never_begun(client: MlflowClient, now_ms: int) -> list[Run]:
    """The runs that are RUNNING for three hours without an owner.

    Args:
        client: of the store.
        now_ms: milliseconds since the epoch.
    """
    filter_string = (
        f"{tag(MLFLOW_PROJECT_ENTRY_POINT)} LIKE '%' and attributes.status = 'RUNNING' "
        f"and attributes.start_time < {now_ms - 1000 * BUILD_LIMIT_S}"
    )
    return [run for run in search(client, filter_string) if _is_ours(run)]


def _is_ours(run: Run) -> bool:
    params = run.data.params.keys()
    if keys.OWNER in run.data.tags:
        return False
    if run.data.tags[MLFLOW_PROJECT_ENTRY_POINT] == "summarize":
        return params == _REPORT_PARAMS
    return params >= _GRID_PARAMS
