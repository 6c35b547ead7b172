"""What a terminal shows of a grid while it runs."""

import io

from rich.console import Console

from mnist_ops.cell import Outcome
from mnist_ops.progress import GridDisplay
from mnist_ops.specs import SvmSpec

CELLS = [SvmSpec(study="svm_grid", dataset="MNIST", kernel="rbf", C=float(c)) for c in range(1, 6)]


def shown(outcomes: list[Outcome]) -> list[str]:
    out = io.StringIO()
    display = GridDisplay(Console(file=out, width=200))
    display.start("SVM grid", cells=7, skipped=2)
    for outcome in outcomes:
        display.outcome(outcome)
    display.stop()
    return out.getvalue().splitlines()


def test_only_what_is_over_counts() -> None:
    title, first, failed, last = shown(
        [
            Outcome(CELLS[0], "finished", test_accuracy=0.9, train_time_s=1.0),
            Outcome(CELLS[1], "held"),
            Outcome(CELLS[2], "stopped"),
            Outcome(CELLS[3], "failed", error="out of memory"),
            Outcome(CELLS[4], "finished", test_accuracy=0.8, train_time_s=2.0),
        ]
    )
    assert title == "SVM grid: 7 cells, 2 of them finished before"
    assert first.startswith(f"[1/5] {CELLS[0].name}: test accuracy 90.00%, trained in 1.0 s")
    assert failed == f"FAILED {CELLS[3].name}: out of memory"
    assert last.startswith(f"[3/5] {CELLS[4].name}: test accuracy 80.00%")
