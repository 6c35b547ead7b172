"""Where the runs of a report come from: a store, or files (`exchange.ExportedRuns`)."""

from typing import Protocol

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_ops.core.errors import InvalidInput
from mnist_ops.study.results import Predictions
from mnist_ops.tracking import deleted, queries, reading
from mnist_ops.tracking.checking import LeftOut, ignore
from mnist_ops.tracking.database import without_password
from mnist_ops.tracking.store import connect, default_uri


class RunSource(Protocol):
    """Runs of cells, with what was logged with them."""

    @property
    def uri(self) -> str:
        """URI of the store, without a password; empty if it is none."""

    def cell_runs(self, left_out: LeftOut = ignore) -> pd.DataFrame:
        """Return one row per run of a cell, as `reading.cell_runs` does."""

    def counted_runs(self, left_out: LeftOut = ignore) -> list[Run]:
        """Return the one run of each cell that the report uses, sorted by fingerprint."""

    def not_measured(self, left_out: LeftOut = ignore) -> dict[str, str]:
        """Return the reasons why cells could not be run, by fingerprint."""

    def predictions(self, run_id: str) -> Predictions | None:
        """Return the test-set predictions of a run; None if it has none that are valid."""

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return step and value of every logged point of a metric, sorted by step."""

    def experiment_id(self, name: str) -> str:
        """Return the id of an experiment.

        Raises:
            InvalidInput: there is none of that name.
        """

    def how_to_restore(self) -> str:
        """Return how to restore what was deleted, as the end of a message; empty if nothing."""


class StoredRuns:
    """The runs of a tracking store."""

    def __init__(self, uri: str | None = None):
        """Connect to a store.

        Args:
            uri: of the store; None is MLflow's current one.

        Raises:
            TrackingUnavailable: the store does not answer, or there is none.
        """
        uri = uri or default_uri()
        self.uri = without_password(uri)
        self.client: MlflowClient = connect(uri, create=False)

    def cell_runs(self, left_out: LeftOut = ignore) -> pd.DataFrame:
        """Return one row per run of a cell, of any status."""
        return reading.cell_runs(self.client, left_out)

    def counted_runs(self, left_out: LeftOut = ignore) -> list[Run]:
        """Return the one run of each cell that the report uses, sorted by fingerprint."""
        return queries.counted_runs(self.client, left_out=left_out)

    def not_measured(self, left_out: LeftOut = ignore) -> dict[str, str]:
        """Return the reasons why cells could not be run, by fingerprint."""
        return queries.not_measured(self.client, left_out)

    def predictions(self, run_id: str) -> Predictions | None:
        """Return the test-set predictions of a run; None if it has none that are valid."""
        return reading.predictions(self.client, run_id)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return step and value of every logged point of a metric, sorted by step."""
        return reading.history(self.client, run_id, metric)

    def experiment_id(self, name: str) -> str:
        """Return the id of an experiment.

        Raises:
            InvalidInput: there is none of that name.
        """
        found = self.client.get_experiment_by_name(name)
        if found is None:
            raise InvalidInput(f"the tracking store has no experiment {name!r}")
        return str(found.experiment_id)

    def how_to_restore(self) -> str:
        """Return how to restore what was deleted, as the end of a message; empty if nothing."""
        return deleted.how_to_restore(self.client)
