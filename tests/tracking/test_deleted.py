"""Deleted runs and experiments are named, with the command that restores them."""

import tracked_runs
from click.testing import CliRunner, Result
from doctor_fixtures import Doctor
from mlflow import MlflowClient

from mnist_ops.cli import main


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_deleted_experiment_is_named_and_restored(client: MlflowClient, doctor: Doctor) -> None:
    with tracked_runs.grid() as grid:
        grid.write(1)
    experiment = client.get_experiment_by_name("mnist-ops")
    client.delete_experiment(experiment.experiment_id)
    restore = f"mlflow experiments restore -x {experiment.experiment_id}"
    for command in ("status", "summarize", "champion"):
        done = call(command)
        assert done.exit_code == 1
        assert restore in done.output, done.output
    assert "experiment-deleted" in doctor.issues()
    call("doctor", "--fix")
    assert client.get_experiment_by_name("mnist-ops").lifecycle_stage == "active"
    assert call("status").exit_code == 0
    call("doctor", "--undo")
    assert client.get_experiment_by_name("mnist-ops").lifecycle_stage == "deleted"


def test_deleted_grid_is_named(client: MlflowClient, doctor: Doctor) -> None:
    with tracked_runs.grid() as grid:
        grid.write(1)
        run_id = grid.run.parent.run_id
    client.delete_run(run_id)
    assert f"mlflow runs restore --run-id {run_id}" in call("status").output
    assert "grid-deleted" in doctor.issues()
