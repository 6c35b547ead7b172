"""Write a report on the runs of a tracking store."""

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from numpy.typing import NDArray

from mnist_ops import compare, data, tracking
from mnist_ops.compare import generic
from mnist_ops.compare.figures.export import FORMATS
from mnist_ops.compare.results import Pixels
from mnist_ops.core.errors import DataUnavailable, MnistOpsError, TrackingUnavailable
from mnist_ops.study import dataset as datasets
from mnist_ops.study import lookup
from mnist_ops.study.grids import Study

# The publication that the runs are compared with.
PAPER = "published"
# Of the files of a report those that MLflow's UI shows well.
_ATTACHED = (".csv", ".png")


def write_report(
    out: Path,
    *,
    preset: str | None = None,
    experiment: str | None = None,
    runs: tracking.RunSource | None = None,
    studies: Sequence[Study] = (),
    formats: Sequence[str] = FORMATS,
    log: Callable[[str], None] = lambda line: None,
) -> compare.Report:
    """Write the report on the runs of a store, or of files, into `out`.

    Args:
        out: folder of the report.
        preset: preset of the cells; None is the preset with the most finished cells.
        experiment: name of the experiment of the runs; None is all experiments.
        runs: whose report it is; None is those of MLflow's current store.
        studies: whose report it is; none is the published study's.
        formats: of the figures.
        log: gets lines for the user.

    Raises:
        InvalidInput: there is no experiment of that name.
        NoRuns: there are no runs, or none at `preset`.
        CannotWrite: the report cannot be written.
        TrackingUnavailable: the store cannot be read.
    """
    runs = runs or tracking.StoredRuns()
    paper = _own_paper(studies) if studies else lookup.find("papers", PAPER)
    with tracking.tracking_errors(runs.uri):
        try:
            source = replace(
                source_of(runs, paper, experiment, log),
                history=runs.history,
                pixels=_pixels_at_hand() if studies else _pixels(),
                classes=lambda dataset: datasets.named(dataset).class_names,
                tracking_uri=runs.uri,
            )
            return compare.summarize(source, paper, out, preset, formats=formats, log=log)
        except compare.NoRuns as error:
            raise compare.NoRuns(f"{error}{runs.how_to_restore()}") from None


def source_of(
    runs: tracking.RunSource,
    paper: compare.Paper,
    experiment: str | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> compare.Source:
    """Return the runs that a paper is compared with, and a way to their predictions.

    Args:
        runs: of a store.
        paper: whose studies' runs.
        experiment: name of the experiment of the runs; None is all experiments.
        log: gets lines for the user.
    """
    left_out: list[str] = []
    log_first = tracking.first_lines(log)

    def leave_out(line: str) -> None:
        left_out.append(line)
        log_first(line)

    log_left_out = tracking.once(leave_out)
    return compare.Source(
        runs=_runs(runs, experiment, [s.name for s in paper.studies], log_left_out, log),
        not_measured=runs.not_measured(log_left_out),
        left_out=left_out,
        predictions=runs.predictions,
    )


def attach_report(report: compare.Report, run_id: str) -> None:
    """Put the page, tables and pictures of a report, and its answers, on a run.

    Raises:
        TrackingUnavailable: the store or its artifacts cannot be written.
    """
    uri = tracking.default_uri()
    client = tracking.connect(uri, create=False)
    with tracking.tracking_errors(uri):
        for path in report.paths:
            if path == report.page or path.suffix in _ATTACHED:
                place = Path("report") / path.relative_to(report.out).parent
                try:
                    client.log_artifact(run_id, str(path), place.as_posix())
                except OSError as error:
                    raise TrackingUnavailable(f"{path.name}: {error.strerror}") from None
        note = client.get_run(run_id).data.tags.get(MLFLOW_RUN_NOTE, "")
        answers = [f"- {each.question}: **{each.answer}**" for each in report.results.headlines]
        text = [*answers, "", note, "", "The report is in the artifact `report/index.html`."]
        client.set_tag(run_id, MLFLOW_RUN_NOTE, "\n".join(text))


def write_experiment_report(
    out: Path,
    experiment: str,
    score: generic.Score,
    *,
    seed: str | None = None,
    formats: Sequence[str] = FORMATS,
    log: Callable[[str], None] = lambda line: None,
) -> compare.Report:
    """Write the report on an experiment of MLflow's, whatever program logged it, into `out`.

    Args:
        out: folder of the report.
        experiment: its name.
        score: the metric that the report is about.
        seed: the param whose values are repeats; None takes one that is called so.
        formats: of the figures.
        log: gets a line for people.

    Raises:
        InvalidInput: there is no such experiment, metric or param.
        NoRuns: the experiment has no runs.
        CannotWrite: the report cannot be written.
        TrackingUnavailable: the store cannot be read.
    """
    stored = tracking.StoredRuns()
    with tracking.tracking_errors(stored.uri):
        runs = [
            generic.ForeignRun(
                run_id=run.info.run_id,
                experiment_id=run.info.experiment_id,
                name=run.info.run_name or "",
                status=run.info.status,
                start_time=run.info.start_time,
                end_time=run.info.end_time,
                params=run.data.params,
                metrics=run.data.metrics,
            )
            for run in tracking.experiment_runs(
                stored.client, stored.experiment_id(experiment), log
            )
        ]
        score = replace(score, seed=generic.seed_param(runs, seed))
        source = compare.Source(
            runs=pd.DataFrame(),
            history=stored.history,
            tracking_uri=stored.uri,
        )
        return compare.summarize(
            source,
            generic.paper_of((), experiment, score=score),
            out,
            selection=generic.selection_of(runs, experiment, score.metric),
            formats=formats,
            log=log,
        )


def _own_paper(studies: Sequence[Study]) -> compare.Paper:
    of_studies = [each for study in studies for each in study.datasets]
    return generic.paper_of(studies, datasets=list(dict.fromkeys(of_studies)))


def _runs(
    source: tracking.RunSource,
    experiment: str | None,
    studies: Collection[str],
    left_out: tracking.LeftOut,
    log: Callable[[str], None],
) -> pd.DataFrame:
    runs = source.cell_runs(left_out)
    if not runs.empty:
        others = sorted(set(runs["study"].dropna()) - set(studies))
        runs = runs[runs["study"].isin(studies)]
        if runs.empty and others:
            raise compare.NoRuns(
                f"no runs of {', '.join(studies)}; the store has runs of {', '.join(others)}: "
                "--study names the study or its file"
            )
        if others:
            log(
                f"not in this report: the store has runs of {', '.join(others)}: "
                "--study names the study or its file"
            )
    if experiment is None or runs.empty:
        return runs
    return runs[runs["experiment_id"] == source.experiment_id(experiment)]


def _pixels() -> Pixels | None:
    """Return the images of our data sets; None unless all are here."""
    try:
        read = {name: data.pixels(name) for name in lookup.known("datasets")}
    except DataUnavailable:
        return None
    return lambda dataset, index: read[dataset](index)


def _pixels_at_hand() -> Pixels:
    """Return the images of any data set; None of colour images, and of a set that is not here."""
    read = functools.cache(data.pixels)

    def pixels(dataset: str, index: NDArray[np.int32]) -> NDArray[np.uint8] | None:
        try:
            is_grey = datasets.named(dataset).image_shape[0] == 1
            return read(dataset)(index) if is_grey else None
        except MnistOpsError:
            return None

    return pixels
