"""Synthetic stores for the tests of the comparison: cells with known numbers, as a frame."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_ops.compare import Report, Source, report, selection
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.predictions import PredictionsOf, no_predictions
from mnist_ops.compare.report import Expected
from mnist_ops.compare.runs import typed
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.tables.table import Table
from mnist_ops.study.specs import ResNetSpec, Spec
from pipelines import STUDIES
from pipelines.paper import PAPER

START = pd.Timestamp("2026-03-01 08:00", tz="UTC")

Metrics = dict[str, float]


def expected(preset: str, device: str = "cpu") -> list[Spec]:
    """Every cell of the three studies, the ResNet grid on `device`."""
    studies = STUDIES | {"resnet_grid": STUDIES["resnet_grid"].with_axes({"device": (device,)})}
    return [spec for study in studies.values() for spec in study.cells(preset)]


def cuda_not_measured(specs: Iterable[Spec]) -> dict[str, str]:
    """Return the CUDA cells, each with its reason on a machine without a GPU."""
    reason = "not measured: no CUDA device"
    return {spec.fingerprint: reason for spec in specs if spec.device == "cuda"}


def metrics(spec: Spec) -> Metrics:
    """Known numbers: test accuracy 0.9 and validation accuracy 0.8 unless a test says other."""
    flops = {"resnet18": 33_180_000.0, "resnet50": 78_760_000.0}.get(spec.model, 5e6)
    found = {
        "test_accuracy": 0.9,
        "test_f1": 0.89,
        "test_f1_macro": 0.88,
        "val_accuracy": 0.8,
        "train_time_s": 10.0,
        "images_per_second": 100.0,
        "flops": flops,
        "parameters": {"resnet18": 11_175_370.0, "resnet50": 23_522_250.0}.get(spec.model, 1e6),
    }
    if isinstance(spec, ResNetSpec):
        found["flops_fvcore"] = {"resnet18": 33_097_000.0, "resnet50": 78_353_000.0}[spec.model]
    return found


def row(spec: Spec, preset: str = "quick", number: int = 0, **changed: Any) -> dict[str, Any]:
    """One finished run of `spec`; `changed` replaces columns."""
    start = START + pd.Timedelta(minutes=number)
    sizes = {"n_train": 49_000, "n_val": 7_000, "n_test": 14_000}
    if spec.train_limit:
        sizes = {"n_train": spec.train_limit, "n_val": spec.val_limit, "n_test": spec.test_limit}
    return {
        "run_id": f"run{number:05d}",
        "experiment_id": "1",
        "name": spec.name,
        "status": "FINISHED",
        "study": spec.study,
        "fingerprint": spec.fingerprint,
        "preset": STUDIES[spec.study].label(preset, spec),
        "start_time": start,
        "end_time": start + pd.Timedelta(seconds=30),
        "error": None,
        **spec.params,
        **sizes,
        **metrics(spec),
        "hardware_cpu": "Intel Xeon Platinum 8481C",
        "hardware_cores": "2",
        "hardware_memory": "15.6 GB",
        "hardware_gpu": "none",
        "version_mnist_ops": "0.1.0",
        "version_torch": "2.9.1",
        "git_commit": "0123abc",
        **changed,
    }


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a store gives them: absent values are missing."""
    return pd.DataFrame(rows)


def store(
    specs: Iterable[Spec],
    preset: str = "quick",
    change: Callable[[Any], dict[str, Any]] = lambda spec: {},
) -> pd.DataFrame:
    """One finished run a spec; `change` gives the columns that differ for it."""
    return frame([row(spec, preset, i, **change(spec)) for i, spec in enumerate(specs)])


def select(
    runs: pd.DataFrame,
    wanted: Expected = expected,
    not_measured: Mapping[str, str] | None = None,
    preset: str | None = None,
) -> Selection:
    """The cells of the paper's studies."""
    return selection.select(typed(runs), wanted, not_measured or {}, preset, studies=PAPER.studies)


def all_tables(selected: Selection) -> list[Table]:
    """The paper's tables."""
    return PAPER.build_tables(selected)


def evidence(selected: Selection, predictions: PredictionsOf = no_predictions) -> Evidence:
    """What the paper's claims are tested on."""
    return Evidence(selected, predictions, PAPER.sizes)


def summarize(
    runs: pd.DataFrame,
    wanted: Expected,
    not_measured: Mapping[str, str],
    out: Path,
    preset: str | None = None,
    *,
    formats: Sequence[str] = ("html", "json"),
    log: Callable[[str], None] = lambda line: None,
    **more: Any,
) -> Report:
    """The report on the paper; `more` are fields of `Source`."""
    source = Source(runs, not_measured, **more)
    return report.summarize(source, PAPER, out, preset, expected=wanted, formats=formats, log=log)
