"""Progress of a running grid, on a terminal and as lines."""

import dataclasses
import io
import re
import time

import pytest
from rich.console import Console

from mnist_ops.cli.progress import GridDisplay
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
    title, first, failed, last = shown(
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


def plain(text: str) -> str:
    """Remove the control sequences of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_a_terminal_shows_each_running_cell_and_the_whole_grid() -> None:
    out = io.StringIO()
    display = GridDisplay(Console(file=out, width=120, force_terminal=True))
    display.start("ResNet grid", cells=2, skipped=0, costs={"a": 1.0, "b": 1.0})
    display.progress(Progress("a", "resnet18-mnist", 0, 5))
    display.progress(Progress("a", "resnet18-mnist", 1, 5))
    # Rich draws such a column anew every half second, when it next refreshes the bars.
    deadline = time.monotonic() + 30
    while "left about" not in plain(out.getvalue()) and time.monotonic() < deadline:
        time.sleep(0.05)
    said = out.getvalue()
    display.stop()
    assert "resnet18-mnist" in said
    assert "1/5" in said
    assert "0/2" in said
    assert re.search(r"left about \d+ s", plain(said))
