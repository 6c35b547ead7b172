"""Cells that are quick to fit, and the commands that run them."""

from click.testing import CliRunner, Result

from mnist_ops.cli import main

SVM_CELL = ["svm_grid", "--datasets", "MNIST", "--set", "kernel=rbf", "--set", "gamma=auto"]
NETWORK_CELL = ["resnet_grid", "--datasets", "MNIST", "--set", "model=resnet18"]
NETWORK_CELL += ["--set", "batch_size=16", "--set", "optimizer=Adam", "--set", "epochs=1"]
NETWORK_CELL += ["--set", "learning_rate=0.001", "--set", "pin_memory=false"]
HERE = ["--workers", "0", "--device", "cpu"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def run(cell: list[str], n_train: int, *more: str) -> None:
    sizes = ["--train-limit", str(n_train), "--test-limit", "100"]
    result = call("run", *cell, *HERE, *sizes, *more)
    assert result.exit_code == 0, result.output
