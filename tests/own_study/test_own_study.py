"""A user's file is a study: everything of the engine works on what it has of its own."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from study_commands import IN_PROCESS, ONE, call, good, refused

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.study import lookup
from mnist_ops.study.specs import from_canonical


def test_networks_of_its_own(file: Path, client: MlflowClient) -> None:
    good("run", "my_study.py", *IN_PROCESS, "--seeds", "0")
    runs = tracking.cell_runs(client, known_spec=True)
    assert set(runs["status"]) == {"FINISHED"}
    assert len(runs) == 2 * 2 * 2 * 2
    assert set(runs[keys.MODEL]) == {"small_cnn"}
    assert set(runs[keys.DATASET]) == {"shapes"}
    # A training of one epoch is the beginning of one of two, with dropout and decay as well.
    groups = {run.data.tags[keys.FIT_GROUP] for run in tracking.counted_runs(client)}
    assert len(groups) == len(runs) / 2
    assert "16 finished before" in good("run", "my_study.py", *IN_PROCESS, "--seeds", "0").stdout


@pytest.mark.slow
def test_worker_processes_load_the_file(file: Path, client: MlflowClient) -> None:
    good("run", "my_study.py", "--workers", "1", "--device", "cpu", *ONE)
    (theirs,) = tracking.counted_runs(client)
    good("run", "my_study.py", *IN_PROCESS, "--force", *ONE)
    (ours,) = tracking.counted_runs(client)
    assert theirs.info.run_id != ours.info.run_id
    assert theirs.data.metrics[keys.TEST_ACCURACY] == ours.data.metrics[keys.TEST_ACCURACY]


def test_estimators_beside_known_data(file: Path, client: MlflowClient) -> None:
    good("run", "my_study.py:ESTIMATORS", *IN_PROCESS)
    runs = tracking.counted_runs(client)
    # An argument is an axis of the functions that take it alone.
    assert len(runs) == 2 * 2 * (2 + 1)
    forests = [run for run in runs if run.data.params[keys.MODEL] == "forest"]
    assert {run.data.params["trees"] for run in forests} == {"2", "8"}
    assert all("n_neighbors" not in run.data.params for run in forests)
    assert all(run.data.metrics[keys.TEST_ACCURACY] > 0.15 for run in runs)


def test_a_run_is_read_without_the_file(
    file: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    good("run", "my_study.py", *IN_PROCESS, *ONE)
    (run,) = tracking.counted_runs(client)
    lookup.registered.clear()
    assert tracking.finished(client, "widths").keys() == {run.data.tags[keys.FINGERPRINT]}
    spec = from_canonical(run.data.tags[keys.SPEC])
    assert dict(spec.arguments) == {"dropout": 0.5, "width": 4}
    assert spec.fingerprint == run.data.tags[keys.FINGERPRINT]
    # Status, export and import need no code either.
    assert "widths" in good("status").stdout
    good("export", "runs.zip")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert "1" in good("import", "runs.zip").output
    assert "1 finished before" in good("run", "my_study.py", *IN_PROCESS, *ONE).stdout


def test_verify_fits_again(file: Path) -> None:
    good("run", "my_study.py", *IN_PROCESS, *ONE)
    lookup.registered.clear()
    refusal = call("verify")
    assert refusal.exit_code != 0
    assert "--study" in refusal.stderr
    good("verify", "--study", "my_study.py")


def test_changed_code_is_another_experiment(file: Path) -> None:
    before = good("run", "my_study.py", *IN_PROCESS, *ONE)
    assert "changed" not in before.stderr
    text = file.read_text()
    file.write_text(f"# A comment, and another grid.\n{text}".replace("(0.0, 0.5)", "(0.5,)"))
    assert "1 finished before" in good("run", "my_study.py", *IN_PROCESS, *ONE).stdout
    file.write_text(text.replace("nn.ReLU()", "nn.GELU()"))
    changed = good("run", "my_study.py", *IN_PROCESS, *ONE)
    assert "the code of small_cnn changed since" in changed.stderr
    assert "this cell is new" in changed.stderr
    file.write_text(text.replace("default_rng(0)", "default_rng(1)"))
    changed = good("run", "my_study.py", *IN_PROCESS, *ONE)
    assert "the images of shapes changed since" in changed.stderr
    # Bytecode of the file would be taken for that of an edit of the same length within a second.
    assert not list(file.parent.rglob("__pycache__"))


def test_a_dry_run_for_a_program(file: Path) -> None:
    (cell,) = json.loads(good("run", "my_study.py", "--dry-run", "--json", *ONE).stdout)
    assert (cell["model"], cell["dataset"]) == ("small_cnn", "shapes")
    assert cell["name"].endswith("-wd0.01-dropout0.5-width4-s0")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("from torch import nn", "from torch import none_such", "cannot be loaded: ImportError"),
        ('"width": (4, 8)', '"widht": (4, 8)', "no axis 'widht'; its axes: "),
        ("16 * width, n_classes", "7 * width, n_classes", "small_cnn(dropout=0.0, width=4) does"),
        ("16 * width, n_classes", "16 * width, 3", "two images give (2, 3), not (2, 5) scores"),
        ("(60, 40, 80, 30, 50)", "(60, 40, 80, 1, 50)", "too few images of line (1)"),
        ("Limits(80, 40)", "Limits(4, 40)", "train_limit must be 0 (all images) or at least 5"),
        ('"shapes", shapes', '"MNIST", shapes', "there is a dataset MNIST already"),
        ("return Content(images", "return Content(images / 2", "images are uint8 of shape"),
        ("def shapes():", "def shapes():\n    1 / 0", "cannot be read: ZeroDivisionError"),
        ('"width": (4, 8)', '"width": (4, [8])', "argument width must be a number, a text"),
        ('name="widths"', 'name="my widths"', "a study is called 'my widths': a name has"),
    ],
)
def test_a_file_that_is_wrong_ends_in_one_line(
    file: Path, old: str, new: str, told: str, home: Path
) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    assert told in refused("run", "my_study.py", *IN_PROCESS)
    assert not (home / "mlruns").exists()


@pytest.mark.slow
def test_the_report_needs_no_paper(file: Path, home: Path) -> None:
    ran = good("run", "my_study.py", *IN_PROCESS).stdout
    assert "Tables: `mnist-ops summarize --study my_study.py`" in ran
    good("run", "my_study.py:ESTIMATORS", *IN_PROCESS, "--datasets", "MNIST")
    both = ["--study", "my_study.py", "--study", "my_study.py:ESTIMATORS"]
    told = good("summarize", *both, "--out", "report", "--format", "html,json").stdout
    assert "widths: 32 of 32 cells finished" in told
    assert "estimators: 6 of 12 cells finished, 6 missing" in told
    assert "Best on shapes: small_cnn" in told
    assert "Matters most: " in told
    table = pd.read_csv("report/tables/table-04.csv")
    assert len(table) == 16 + 3 + 3
    assert table["n"].sum() == 32 + 6
    best = pd.read_csv("report/tables/table-02.csv")
    assert best["dataset"].tolist() == ["shapes", "MNIST", "MNIST"]
    names = {path.stem for path in Path("report/figures").glob("*.json")}
    assert names >= {
        "main-effects",
        "heat-map",
        "parallel-coordinates",
        "accuracy-against-time",
        "accuracy-against-flops",
        "learning-curves",
        "confusion-shapes",
        "confusion-mnist",
    }
    page = Path("report/index.html").read_text()
    assert "Does a wider network or more dropout help?" in page
    assert "published" not in page.partition("<script")[0]
    assert not Path("report/findings.json").exists()
    published = call("summarize", "--format", "json")
    assert published.exit_code == 1
    assert "the store has runs of estimators, widths: --study names" in published.stderr
    of_one = good("summarize", "--study", "my_study.py", "--out", "one", "--format", "json")
    assert "not in this report: the store has runs of estimators: --study names" in of_one.stderr
    # The same runs give the same report.
    good("summarize", *both, "--out", "again", "--format", "html,json")
    for path in Path("report").rglob("*.*"):
        assert path.read_bytes() == (Path("again") / path.relative_to("report")).read_bytes()


def test_estimators_beside_a_published_study(file: Path) -> None:
    size = ["--train-limit", "90", "--test-limit", "50", "--datasets", "MNIST", "--seeds", "0"]
    good("run", "my_study.py:ESTIMATORS", *IN_PROCESS, *size, "--set", "trees=8")
    good("run", "svm_grid", *IN_PROCESS, *size, "--set", "kernel=rbf", "--set", "gamma=auto")
    which = ["--study", "my_study.py:ESTIMATORS", "--study", "svm_grid", "--format", "json"]
    good("export", "runs.zip")
    good("summarize", *which, "--from", "runs.zip")
    best = pd.read_csv("report/tables/table-02.csv")
    models = {text.partition(",")[0] for text in best["configuration"]}
    assert models == {"forest", "KNeighborsClassifier", "svm"}
    assert best["score"].between(10, 100).all()
    # The best of each model, and first the best of all.
    assert best["validation"].is_monotonic_decreasing


def test_thousands_of_cells_are_not_run_unseen(file: Path, home: Path) -> None:
    seeds = ",".join(map(str, range(100)))
    told = refused("run", "my_study.py", *IN_PROCESS, "--seeds", seeds)
    assert re.search(r"1,600 cells, about \d+ (s|min|h .*) \(fewer where", told)
    assert "--yes runs them" in told
    assert not (home / "mlruns").exists()


def test_init_writes_a_study_that_runs_at_once(home: Path) -> None:
    good("init", "mine")
    told = good("run", "mine.py", *IN_PROCESS, "--set", "width=8;epochs=2", "--report", "report")
    assert "mine: 6 cells computed" in told.stdout
    assert Path("report/tables/table-04.csv").is_file()
    assert "mine.py is there already" in refused("init", "mine.py")
