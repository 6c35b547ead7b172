"""A study from Python: run, frame, figures, report; in a script without a guard too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import shapes_study

from mnist_ops import api
from mnist_ops.compare import NoRuns
from mnist_ops.study import Study, lookup

SCRIPT = """
from mnist_ops import api

found = api.run(STUDY, seeds=(0,), workers=1, device="cpu")
assert found.outcome.succeeded
print("cells", len(found.frame))
"""


@pytest.fixture
def study(home: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(lookup, "registered", {})
    few = {"width": (4,), "weight_decay": (0.0,), "dropout": (0.0, 0.5), "epochs": (1, 2)}
    return shapes_study.STUDY.with_axes(few)


def test_run_and_results(study: Study) -> None:
    lines: list[str] = []
    found = api.run(study, workers=0, device="cpu", log=lines.append)
    assert found.outcome.succeeded
    frame = found.frame
    assert len(frame) == 2 * 2 * 2
    assert set(frame["status"]) == {"finished"}
    assert frame["dropout"].dtype == float
    assert frame["epochs"].dtype == int
    assert frame["test_accuracy"].between(0, 1).all()
    assert any("8 cells" in line for line in lines)
    again = api.run(study, workers=0, device="cpu", log=lines.append)
    assert len(again.outcome.skipped) == 8
    for plot in (api.plot_effects, api.plot_heat_map, api.plot_parallel_coordinates):
        assert plot(study).data
    assert api.plot_against_time(study).data


def test_a_study_without_runs(study: Study) -> None:
    with pytest.raises(NoRuns):
        api.results(study)


@pytest.mark.slow
def test_a_script_needs_no_guard(home: Path) -> None:
    script = home / "mine.py"
    few = '"width": (4,), "dropout": (0.5,), "weight_decay": (0.01,), "epochs": (1,)'
    text = Path(shapes_study.__file__).read_text().split("ESTIMATORS = ")[0]
    script.write_text(f"{text}\nSTUDY = STUDY.with_axes({{{few}}})\n{SCRIPT}")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "mine.py"],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # Once: the worker process has not run it again.
    assert done.stdout.count("\ncells 1\n") == 1
