"""Runs in a real store, written by the code that tracks cells, with numbers made up by number."""

import numpy as np
from mlflow import MlflowClient

from mnist_ops import keys, tracking
from mnist_ops.results import EpochResult, FitResult
from mnist_ops.specs import ResNetSpec

N_TEST = 40
INDEX = np.arange(100, 100 + N_TEST, dtype=np.int32)
LABELS = (INDEX % 10).astype(np.uint8)


def spec(number: int, study: str = "resnet_grid") -> ResNetSpec:
    """Cell `number` of `study`: as many as there are seeds."""
    return ResNetSpec(
        study=study,
        dataset="MNIST",
        model="resnet18",
        batch_size=16,
        optimizer="Adam",
        learning_rate=0.001,
        epochs=2,
        seed=number,
        train_limit=60,
        test_limit=N_TEST,
    )


def parent(client: MlflowClient, study: str = "resnet_grid") -> tracking.Parent:
    """A grid's run."""
    return tracking.open_parent(
        client,
        name=study,
        note="",
        role=keys.ROLE_GRID,
        tags={keys.STUDY: study},
        experiment_id=tracking.experiment(client, "mnist-ops"),
    )


def write(client: MlflowClient, grid: tracking.Parent, cell: ResNetSpec, wrong: int = 0) -> str:
    """A finished run of `cell`, which got `wrong` of the test images wrong; its run id."""
    predicted = LABELS.copy()
    predicted[:wrong] = (predicted[:wrong] + 1) % 10
    run = tracking.CellRun(
        client, cell, grid, "custom-60-40", "0123456789abcdef", "alone", time_is_measured=True
    )
    epochs = [EpochResult(n, 1 / (n + cell.seed + 1), 0.5, n / 3) for n in (1, 2)]
    for epoch in epochs:
        run.log_epoch(epoch)
    run.finish(
        FitResult(
            predictions=predicted,
            labels=LABELS,
            test_index=INDEX,
            n_train=60,
            n_val=10,
            metrics=epochs[-1].metrics
            | {keys.TEST_ACCURACY: 1 - wrong / N_TEST, keys.FLOPS: 33.18e6},
        )
    )
    return run.run_id
