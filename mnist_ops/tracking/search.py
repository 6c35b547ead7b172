"""Find runs in a store, page by page, in whatever experiment they are."""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

_PAGE = 1000


def search(client: MlflowClient, filter_string: str) -> Iterator[Run]:
    """Every run that is not deleted and fits MLflow's `filter_string`, in any experiment."""
    experiments: list[str] = []
    token = None
    while True:
        page = client.search_experiments(max_results=_PAGE, page_token=token)
        experiments += [found.experiment_id for found in page]
        if not (token := page.token):
            break
    while True:
        runs = client.search_runs(
            experiments,
            filter_string,
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=_PAGE,
            page_token=token,
        )
        yield from runs
        if not (token := runs.token):
            return


def tag(key: str) -> str:
    """A tag in a filter string; its name has dots, so it is quoted."""
    return f"tags.`{key}`"
