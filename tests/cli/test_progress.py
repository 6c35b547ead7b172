"""Progress of a running grid, on a terminal and as lines."""

import dataclasses
import io
import re

import pytest
from rich.console import Console

from mnist_ops.cli.progress import GridDisplay
from mnist_ops.core import cancellation
from mnist_ops.runner.eta import Estimate
from mnist_ops.runner.task import Outcome, Progress
from mnist_ops.study.specs import SvmSpec

CELLS = [SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=float(c)) for c in range(1, 6)]


def shown(outcomes: list[Outcome]) -> list[str]:
    out = io.StringIO()
    display = GridDisplay(Console(file=out, width=200))
    display.start("SVM grid", cells=7, skipped=2, costs={"rbf": 5.0})
    for outcome in outcomes:
        display.outcome(outcome)
    display.stop()
    return out.getvalue().splitlines()


def test_only_what_is_over_counts() -> None:
    title, first, failed, last, best = shown(
        [
            Outcome(CELLS[0], "finished", test_accuracy=0.9, train_time_s=1.0),
            Outcome(CELLS[1], "claimed elsewhere"),
            Outcome(CELLS[2], "stopped"),
            Outcome(CELLS[3], "failed", error="out of memory"),
            Outcome(CELLS[4], "finished", test_accuracy=0.8, train_time_s=2.0),
        ]
    )
    assert title == "SVM grid: 7 cells, 2 of them finished before"
    assert first.startswith(f"[1/5] {CELLS[0].name}: test accuracy 90.00%, trained in 1.0 s")
    assert failed == f"FAILED {CELLS[3].name}: out of memory"
    assert last.startswith(f"[3/5] {CELLS[4].name}: test accuracy 80.00%")
    assert best == f"best on MNIST: 90.00%, {CELLS[0].name}"


def test_an_estimate_weighs_fits_by_what_they_cost() -> None:
    estimate = Estimate({"long": 15.0, "short": 5.0}, now=1000.0)
    assert estimate.seconds_left(1000.0) is None
    estimate.report("long", 0, 5, now=1001.0)
    assert estimate.seconds_left(1050.0) is None
    estimate.report("long", 1, 5, now=1100.0)
    # 3 of 20 in 100 s.
    assert estimate.seconds_left(1100.0) == pytest.approx(100 / 3 * 17)
    # Between two epochs it counts down.
    assert estimate.seconds_left(1150.0) == pytest.approx(100 / 3 * 17 - 50)
    estimate.report("long", 5, 5, now=1500.0)
    estimate.report("short", 0, 5, now=1500.0)
    assert estimate.seconds_left(1500.0) == pytest.approx(500 / 15 * 5)
    estimate.report("short", 5, 5, now=1600.0)
    assert estimate.seconds_left(1600.0) == 0.0


def test_epochs_of_an_earlier_start_are_no_speed() -> None:
    estimate = Estimate({"cut before": 10.0, "new": 10.0}, now=0.0)
    estimate.report("cut before", 0, 5, now=0.0)
    estimate.report("cut before", 4, 5, now=100.0)
    # A fifth of 10 in 100 s, and 12 of 20 are left.
    assert estimate.seconds_left(100.0) == pytest.approx(100 / 2 * 12)


def test_a_plain_line_says_how_long_is_left() -> None:
    out = io.StringIO()
    display = GridDisplay(Console(file=out, width=200))
    display.start("SVM grid", cells=3, skipped=0, costs={"a": 1.0, "b": 1.0})
    done = Outcome(CELLS[0], "finished", test_accuracy=0.9, train_time_s=1.0)
    display.outcome(done)
    display.progress(Progress("a", "a", 0, 1))
    display.progress(Progress("a", "a", 1, 1))
    display.outcome(dataclasses.replace(done, spec=CELLS[1]))
    _, no_estimate_yet, last = out.getvalue().splitlines()
    assert no_estimate_yet.endswith("trained in 1.0 s")
    assert re.search(r"trained in 1.0 s, about \d+ s left$", last)


def drawn(width: int, *progress: Progress, outcomes: tuple[Outcome, ...] = ()) -> list[str]:
    """Return the lines of the last picture on a terminal of `width` columns."""
    display = GridDisplay(Console(file=io.StringIO(), width=width, force_terminal=True))
    display.start("Q1(a) ResNet grid", cells=128, skipped=0, costs={"a": 1.0, "b": 1.0})
    for each in progress:
        display.progress(each)
    for outcome in outcomes:
        display.outcome(outcome)
    picture = io.StringIO()
    Console(file=picture, width=width).print(display.drawn())
    display.stop()
    return [line.rstrip() for line in picture.getvalue().splitlines()]


NAME = "resnet18-fashionmnist-adam-lr0.0001-bs16-e5-pin0-s0"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_shows_what_runs_the_whole_grid_and_the_best(width: int) -> None:
    lines = drawn(
        width,
        Progress("a", f"{NAME} (and 3 more)", 0, 5),
        Progress("a", f"{NAME} (and 3 more)", 1, 5),
        Progress("b", f"{NAME} (and 1 more)", 0, 5),
        outcomes=(
            Outcome(CELLS[0], "finished", test_accuracy=0.8, train_time_s=1.0),
            Outcome(CELLS[1], "finished", test_accuracy=0.9, train_time_s=1.0),
            Outcome(CELLS[2], "finished", test_accuracy=0.7, train_time_s=1.0),
        ),
    )
    assert max(map(len, lines)) <= width
    whole = "\n".join(lines)
    assert "epoch 2 of 5" in whole
    assert "epoch 1 of 5" in whole
    assert "3 of 128" in whole
    assert re.search(r"running for \d+ s, about \d+ s left$", whole, re.MULTILINE)
    assert f"best on MNIST: 90.00%, {CELLS[1].name}"[: width - 1] in whole
    if width >= 80:
        # What tells two cells apart is not cut.
        assert sum(NAME in line for line in lines) == 2


def test_a_terminal_says_that_workers_start_and_that_a_grid_stops() -> None:
    assert any(line.endswith("starting workers") for line in drawn(80))
    cancellation.request()
    try:
        assert any("stopping" in line for line in drawn(80))
    finally:
        cancellation.reset()


def test_a_dumb_terminal_and_a_file_get_lines_without_control_sequences() -> None:
    for terminal in (False, True):
        out = io.StringIO()
        environment = {"TERM": "dumb"}
        display = GridDisplay(Console(file=out, force_terminal=terminal, _environ=environment))
        display.start("SVM grid", cells=1, skipped=0, costs={"a": 1.0})
        display.outcome(Outcome(CELLS[0], "finished", test_accuracy=0.9, train_time_s=1.0))
        display.stop()
        assert "\x1b" not in out.getvalue()
        assert f"[1/1] {CELLS[0].name}: test accuracy 90.00%" in out.getvalue()
