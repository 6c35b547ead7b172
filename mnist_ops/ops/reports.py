"""Write a report on the runs of a tracking store."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from numpy.typing import NDArray

from mnist_ops import compare, data, tracking
from mnist_ops.compare.figures.export import FORMATS
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import lookup
from mnist_ops.tracking.deleted import how_to_restore

# The publication that the runs are compared with.
PAPER = "published"


def write_report(
    out: Path,
    *,
    preset: str | None = None,
    experiment: str | None = None,
    uri: str | None = None,
    formats: Sequence[str] = FORMATS,
    log: Callable[[str], None] = lambda line: None,
) -> compare.Report:
    """Write the report on the runs of a store into `out`.

    Args:
        out: folder of the report.
        preset: preset of the cells; None is the preset with the most finished cells.
        experiment: name of the experiment of the runs; None is all experiments.
        uri: of the store; None is MLflow's current one.
        formats: of the figures.
        log: gets lines for the user.

    Raises:
        InvalidInput: there is no experiment of that name.
        NoRuns: there are no runs, or none at `preset`.
        CannotWrite: the report cannot be written.
        TrackingUnavailable: the store cannot be read.
    """
    uri = uri or tracking.default_uri()
    client = tracking.connect(uri, create=False)
    left_out: list[str] = []

    def leave_out(line: str) -> None:
        left_out.append(line)
        log(line)

    log_left_out = tracking.once(leave_out)
    paper = lookup.find("papers", PAPER)
    with tracking.tracking_errors(uri):
        try:
            source = compare.Source(
                runs=_runs(client, experiment, log_left_out),
                not_measured=tracking.not_measured(client, log_left_out),
                left_out=left_out,
                predictions=lambda run_id: tracking.predictions(client, run_id),
                history=lambda run_id, metric: tracking.history(client, run_id, metric),
                pixels=_pixels if _all_data_is_here() else None,
                classes=lambda dataset: lookup.named("datasets", dataset).class_names,
                tracking_uri=tracking.without_password(uri),
            )
            return compare.summarize(source, paper, out, preset, formats=formats, log=log)
        except compare.NoRuns as error:
            raise compare.NoRuns(f"{error}{how_to_restore(client)}") from None


def _runs(client: MlflowClient, experiment: str | None, left_out: tracking.LeftOut) -> pd.DataFrame:
    runs = tracking.cell_runs(client, left_out)
    if experiment is None or runs.empty:
        return runs
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise InvalidInput(f"the tracking store has no experiment {experiment!r}")
    return runs[runs["experiment_id"] == found.experiment_id]


def _pixels(dataset: str, index: NDArray[np.int32]) -> NDArray[np.uint8]:
    images = data.pixels(dataset)
    # An index from a store may be out of range; its image is black.
    known = index < len(images)
    return images[index * known] * known[:, None, None]


def _all_data_is_here() -> bool:
    return all(data.status(name).intact for name in lookup.known("datasets"))
