"""Runs of the study with known numbers, and the figures that are made of them."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
from compare_runs import all_tables, cuda_not_measured, expected, select, store

from mnist_ops.compare import Results, Source
from mnist_ops.study.specs import ResNetSpec
from pipelines.paper import PAPER

QUICK = expected("quick")
REASONS = cuda_not_measured(QUICK)
ON_CPU = [spec for spec in QUICK if spec.device == "cpu"]

STUDY = ["01", "02a", "02b", "03", "04", "05", "06", "07", "08"]
STEMS = [f"figure-{number}" for number in STUDY] + [
    "learning-curves",
    "accuracy-against-time",
    "confusion-mnist",
    "confusion-fashionmnist",
    "accuracy-against-flops",
    "published-against-measured",
]
NO_AGREEMENT = pd.DataFrame(columns=["metric", "description", "published", "measured", "agrees"])
AGREEMENT = pd.DataFrame(
    [
        {
            "metric": "accuracy",
            "description": "a",
            "published": 98.95,
            "measured": 98.9,
            "agrees": "yes",
        },
        {"metric": "f1", "description": "b", "published": 0.9, "measured": 0.8, "agrees": "no"},
        {
            "metric": "train_time_s",
            "description": "c",
            "published": 9.0,
            "measured": 1.0,
            "agrees": "not comparable",
        },
        {
            "metric": "accuracy",
            "description": "d",
            "published": 90.0,
            "measured": math.nan,
            "agrees": "not measured",
        },
        {
            "metric": "flops",
            "description": "e",
            "published": 33.18,
            "measured": 33.18,
            "agrees": "yes",
        },
    ]
)


def chosen(specs=ON_CPU, change=lambda spec: {}, reasons=REASONS, preset="quick"):
    return select(store(specs, preset, change), expected, reasons, preset)


def known(spec):
    """Each cell its own numbers, from its hyper-parameters."""
    if isinstance(spec, ResNetSpec):
        value = 0.5 + spec.learning_rate * 100 + (0.01 if spec.optimizer == "Adam" else 0)
        value += 0.002 * (spec.epochs == 5) - 0.03 * (spec.model == "resnet50")
        time = spec.epochs * (3.0 if spec.model == "resnet50" else 1.0)
        return {"test_accuracy": value, "val_accuracy": value, "train_time_s": time}
    return {
        "test_accuracy": 0.7 + spec.C / 100,
        "test_f1": 0.6,
        "val_accuracy": 0.7,
        "train_time_s": 1 / spec.C,
    }


def history(run_id, metric):
    start = int(run_id[3:]) / 1000
    return [(1, start + 0.2), (2, start + 0.1)]


def predictions(run_id):
    """Two nines taken for fours, one seven for a one, the rest right."""
    label = np.array([*range(10), 9, 9, 7], dtype=np.uint8)
    predicted = np.array([*range(10), 4, 4, 1], dtype=np.uint8)
    return SimpleNamespace(label=label, predicted=predicted, index=np.arange(100, 113))


def pixels(dataset, index):
    return np.stack([np.full((28, 28), i, dtype=np.uint8) for i in index])


def figures_of(selection, **changed):
    arguments = {
        "agreement": AGREEMENT,
        "history": history,
        "predictions": predictions,
        "pixels": pixels,
    } | changed
    results = Results(selection, tuple(all_tables(selection)), agreement=arguments.pop("agreement"))
    return PAPER.figures(results, Source(selection.runs, **arguments))
