"""Progress of a grid, read from a real store."""

import dataclasses
import json
import time

import pytest
from click.testing import CliRunner
from doctor_fixtures import DEAD, EPOCHS, RESNET, open_cell, open_grid, opened, result
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.cli.status import lines
from mnist_ops.core import keys
from mnist_ops.core.durations import duration
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.ops.status import GridStatus, RunningFit, grid_status
from mnist_ops.runner.eta import Fit, seconds_left
from mnist_ops.runner.fit_groups import FitGroup
from mnist_ops.study.specs import SvmSpec, from_canonical

OTHER = dataclasses.replace(RESNET, seed=1)
SHORT = dataclasses.replace(RESNET, epochs=1)
THIRD = dataclasses.replace(RESNET, seed=2)
COST = FitGroup("", (RESNET,)).cost


# The estimate.


def test_time_left_is_what_is_left_at_the_speed_so_far() -> None:
    assert seconds_left(10.0, [Fit(2.0, 1.0), Fit(2.0, 0.5)], 30.0) == pytest.approx(70.0)


def test_what_was_done_before_is_no_speed() -> None:
    # Half of the first fit was over when the grid began: 3 were computed in 30 seconds.
    assert seconds_left(10.0, [Fit(2.0, 1.0, 0.5), Fit(4.0, 0.5)], 30.0) == pytest.approx(60.0)


def test_a_failed_fit_is_over_and_tells_nothing_of_speed() -> None:
    assert seconds_left(10.0, [Fit(5.0, 1.0, 1.0), Fit(1.0, 1.0)], 10.0) == pytest.approx(40.0)


def test_no_estimate_is_below_what_one_fit_needs_by_itself() -> None:
    # Seven of eight are over; the last has come half way in 100 seconds.
    fits = [Fit(1.0, 1.0)] * 7 + [Fit(1.0, 0.5, running_s=100.0)]
    assert seconds_left(8.0, fits, 150.0) == pytest.approx(100.0)


def test_nothing_computed_gives_no_estimate() -> None:
    assert seconds_left(10.0, [], 30.0) is None
    assert seconds_left(10.0, [Fit(2.0, 0.5, 0.5, running_s=3.0)], 30.0) is None


def test_done_is_no_time_left() -> None:
    assert seconds_left(2.0, [Fit(2.0, 1.0)], 30.0) == 0.0


# The store.


def grid_tags(
    cells: int, before: int = 0, failed_before: int = 0, cost: float = 0
) -> dict[str, str]:
    return {
        keys.CELLS: str(cells),
        keys.CELLS_BEFORE: str(before),
        keys.CELLS_FAILED_BEFORE: str(failed_before),
        keys.COST: repr(cost),
    }


def test_a_running_grid_is_told_cell_by_cell(client: MlflowClient) -> None:
    with opened(client) as tracker:
        grid = open_grid(tracker, **grid_tags(10, before=3, failed_before=1, cost=4 * COST))
        first = open_cell(tracker, grid.parent, fit_group="one")
        shared = open_cell(tracker, grid.parent, SHORT, fit_group="one", time=keys.TIME_ATTRIBUTED)
        for epoch in EPOCHS:
            first.log_epoch(epoch)
        first.finish(result())
        shared.finish(result())
        running = open_cell(tracker, grid.parent, OTHER, fit_group="two")
        running.log_epoch(EPOCHS[0])
        open_cell(tracker, grid.parent, THIRD, fit_group="three").fail("too hot", "")
        assert tracker.uploader.flush(30, retry=True)
        began = client.get_run(grid.parent.run_id).info.start_time / 1000
        (status,) = grid_status(client, began + 300)
        assert (status.study, status.preset, status.state) == ("resnet_grid", "quick", "running")
        assert (status.cells, status.before, status.computed) == (10, 3, 2)
        assert (status.running, status.failed, status.done, status.left) == (1, 2, 5, 2)
        (fit,) = status.fits
        assert (fit.name, fit.others, fit.epoch, fit.epochs) == (OTHER.name, 0, 1, 2)
        assert fit.host == tracking.ProcessId.this_process().host
        # 1.5 fits in 300 seconds; one failed; of four 1.5 are left. The shared cell costs nothing.
        assert status.left_s == pytest.approx(300, rel=0.01)


def test_what_was_computed_before_the_grid_began_is_no_speed(client: MlflowClient) -> None:
    with opened(client) as tracker:
        grid = open_grid(tracker, **grid_tags(2, cost=2 * COST))
        run = open_cell(tracker, grid.parent, fit_group="one")
        assert tracker.uploader.flush(30, retry=True)
        began = client.get_run(grid.parent.run_id).info.start_time
        client.log_metric(run.run_id, keys.TRAIN_LOSS, 1.5, timestamp=began - 60_000, step=1)
        assert tracker.uploader.flush(30, retry=True)
        (status,) = grid_status(client, began / 1000 + 100)
        assert (status.fits[0].epoch, status.left_s) == (1, None)
        client.log_metric(run.run_id, keys.TRAIN_LOSS, 1.2, timestamp=began + 60_000, step=2)
        (status,) = grid_status(client, began / 1000 + 100)
        # Half a fit in 100 seconds, one fit left.
        assert status.left_s == pytest.approx(200, rel=0.01)


def test_a_cell_that_goes_on_elsewhere_counts_once(client: MlflowClient) -> None:
    with opened(client) as tracker:
        grid = open_grid(tracker, **grid_tags(2, cost=COST))
        tags = {
            keys.FINGERPRINT: RESNET.fingerprint,
            keys.SPEC: RESNET.canonical,
            keys.STUDY: RESNET.study,
            keys.OWNER: str(DEAD),
            "mlflow.parentRunId": grid.parent.run_id,
        }
        client.create_run(grid.parent.experiment_id, tags=tags)
        (status,) = grid_status(client, time.time())
        assert (status.running, status.left, status.fits) == (0, 2, ())
        open_cell(tracker, grid.parent, OTHER).finish(result())
        copy = tags | {keys.OWNER: str(tracking.ProcessId.this_process())}
        again = client.create_run(grid.parent.experiment_id, tags=copy).info.run_id
        client.log_metric(again, keys.TEST_ACCURACY, 0.5)
        client.set_terminated(again)
        assert tracker.uploader.flush(30, retry=True)
        (status,) = grid_status(client, time.time())
        assert (status.computed, status.running, status.left) == (2, 0, 0)


def test_a_grid_whose_process_is_dead_has_died(client: MlflowClient) -> None:
    with opened(client) as tracker:
        grid = open_grid(tracker, **grid_tags(3, before=1, cost=COST))
        open_cell(tracker, grid.parent).finish(result())
        assert tracker.uploader.flush(30, retry=True)
    client.set_tag(grid.parent.run_id, keys.OWNER, str(DEAD))
    (status,) = grid_status(client, time.time())
    assert (status.state, status.done, status.left, status.left_s) == ("died", 2, 1, None)
    assert "the same command resumes it" in lines([status])[0]


def test_without_a_running_grid_the_last_one_is_told(client: MlflowClient) -> None:
    with opened(client) as tracker:
        grids = (("svm_grid", OTHER, "FINISHED"), ("resnet_grid", RESNET, "FAILED"))
        for study, cell, end in grids:
            grid = open_grid(tracker, **grid_tags(1), **{keys.STUDY: study})
            open_cell(tracker, grid.parent, cell).finish(result())
            grid.close(end, "")
            assert tracker.uploader.flush(30, retry=True)
            time.sleep(0.01)
    (status,) = grid_status(client, time.time() + 1000)
    assert (status.study, status.state) == ("resnet_grid", "failed")
    assert status.elapsed_s < 900


def test_two_grids_at_once_are_both_told(client: MlflowClient) -> None:
    with opened(client) as tracker:
        for study in ("svm_grid", "resnet_grid"):
            open_grid(tracker, **grid_tags(1), **{keys.STUDY: study})
        assert {s.study for s in grid_status(client, time.time())} == {"svm_grid", "resnet_grid"}


def test_grids_of_one_command_are_told_together(client: MlflowClient) -> None:
    with opened(client) as tracker:
        for study in ("device_compare", "svm_grid", "resnet_grid"):
            grid = open_grid(tracker, **grid_tags(1), **{keys.STUDY: study})
            grid.close("FINISHED", "")
            assert tracker.uploader.flush(30, retry=True)
            if study != "device_compare":
                client.set_tag(grid.parent.run_id, "mlflow.parentRunId", "the same")
    assert [s.study for s in grid_status(client, time.time())] == ["svm_grid", "resnet_grid"]


def test_grid_of_another_version_is_told_as_far_as_it_goes(client: MlflowClient) -> None:
    owner = str(tracking.ProcessId.this_process())
    study = {keys.STUDY: "a study"}
    grid = client.create_run("0", tags={keys.ROLE: keys.ROLE_GRID, keys.OWNER: owner} | study)
    tags = {keys.FINGERPRINT: "abc", "mlflow.parentRunId": grid.info.run_id, keys.SPEC: "{}"}
    run_id = client.create_run("0", tags=tags | study).info.run_id
    client.log_metric(run_id, keys.TEST_ACCURACY, 0.5)
    client.set_terminated(run_id)
    (status,) = grid_status(client, time.time())
    assert (status.cells, status.done, status.left_s) == (1, 1, None)


def test_store_without_a_grid(client: MlflowClient) -> None:
    with pytest.raises(MnistOpsError, match="no grid in the store: start one"):
        grid_status(client, time.time())


def test_specs_come_back_from_their_canonical_form() -> None:
    svm = SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=1, gamma=0.5)
    for spec in (RESNET, svm):
        assert from_canonical(spec.canonical) == spec
    for text in ("", "[]", "{}", RESNET.canonical.replace('"schema":1', '"schema":999')):
        with pytest.raises(InvalidInput):
            from_canonical(text)


# The command.


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(3.2, "3 s"), (89, "89 s"), (600, "10 min"), (12_000, "3 h 20 min"), (200_000, "2 d 7 h")],
)
def test_durations_for_people(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_plain_lines() -> None:
    fit = RunningFit("a-cell", 3, 1, 5, "node7", 30)
    grid = GridStatus(
        "id", "resnet_grid", "paper", "running", "node1", 128, 20, 40, 4, 1, 600, 780, (fit,)
    )
    assert lines([grid]) == [
        "resnet_grid (paper): running on node1; 60 of 128 cells done (20 before it began), "
        "4 running, 1 failed, 63 left; for 10 min, about 13 min left",
        "  a-cell (and 3 more): epoch 2 of 5, 30 s, on node7",
    ]


def test_command(client: MlflowClient) -> None:
    with opened(client) as tracker:
        grid = open_grid(tracker, **grid_tags(2, before=1))
        open_cell(tracker, grid.parent).finish(result())
        grid.close("FINISHED", "")
        assert tracker.uploader.flush(30, retry=True)
    told = CliRunner().invoke(main, ["status"], catch_exceptions=False)
    assert told.exit_code == 0
    assert told.stdout.startswith("resnet_grid (quick): finished; 2 of 2 cells done")
    (fields,) = json.loads(CliRunner().invoke(main, ["status", "--json"]).stdout)
    assert (fields["state"], fields["done"], fields["left"]) == ("finished", 2, 0)
    watched = CliRunner().invoke(main, ["status", "--watch"])
    assert watched.stdout == told.stdout


def test_command_without_a_store(home) -> None:
    (home / "mlflow.db").unlink()
    told = CliRunner().invoke(main, ["status"])
    assert told.exit_code == 1
    (line,) = told.stderr.splitlines()
    assert "there is no tracking store" in line
    assert not (home / "mlflow.db").exists()
