"""A network of a user's own is registered, and classifies image files where its code is."""

import json
from pathlib import Path

import numpy as np
import shapes_study
from mlflow import MlflowClient
from PIL import Image
from study_commands import IN_PROCESS, ONE, call, good

from mnist_ops import tracking
from mnist_ops.serving import registry
from mnist_ops.study import lookup


def write_images(folder: Path, index: np.ndarray) -> None:
    folder.mkdir()
    for number in index:
        Image.fromarray(shapes_study.shapes().images[number]).save(folder / f"{number:03}.png")


def test_a_network_of_its_own(file: Path, home: Path, client: MlflowClient) -> None:
    good("run", "my_study.py", *IN_PROCESS, *ONE)
    told = good("champion", "--study", "my_study.py").stdout
    assert f"predict --study {file}:STUDY --dataset shapes" in told
    assert "mlflow models serve" not in told
    (run,) = tracking.counted_runs(client)
    logged = tracking.predictions(client, run.info.run_id)
    assert logged is not None
    write_images(home / "images", np.sort(logged.index))
    # The images of the study themselves are not needed.
    file.write_text(file.read_text().replace("def shapes():", "def shapes():\n    1 / 0"))
    lookup.registered.clear()
    predict = ["predict", "--study", "my_study.py", "--json"]
    rows = list(map(json.loads, good(*predict, "--batch", "images").stdout.splitlines()))
    found = [row["class"] for row in rows]
    assert found == logged.predicted[np.argsort(logged.index)].tolist()
    assert {row["class_name"] for row in rows} <= {"bar", "beam", "block", "line", "slab"}
    assert sum(bool(row["unlike"]) for row in rows) < len(rows) / 2
    # An image of another size is scaled, and is not inverted.
    Image.new("RGB", (64, 48), "white").save("white.png")
    (row,) = map(json.loads, good(*predict, "white.png").stdout.splitlines())
    assert row["unlike"]
    assert not row["inverted"]


def test_where_its_code_is_not(file: Path, home: Path, client: MlflowClient) -> None:
    good("run", "my_study.py", *IN_PROCESS, *ONE)
    missing = call("predict", "--study", "my_study.py", "white.png")
    assert missing.exit_code == 1
    assert "`mnist-ops champion --study FILE.py` registers one" in missing.stderr
    good("champion", "--study", "my_study.py")
    Image.new("RGB", (16, 12), "white").save("white.png")
    lookup.registered.clear()
    text = file.read_text()
    for changed, arguments, told in (
        (text, ["--dataset", "shapes"], "name that with --study FILE.py"),
        (text, ["--study", "other.py"], "other.py:STUDY cannot be loaded: FileNotFoundError"),
        (text.replace("nn.ReLU()", "nn.GELU()"), ["--study", "my_study.py"], "code of small_cnn"),
    ):
        file.write_text(changed)
        lookup.registered.clear()
        refusal = call("predict", *arguments, "white.png")
        assert refusal.exit_code != 0
        (line,) = refusal.stderr.splitlines()
        assert told in line
    # Of changed code only its own runs are fitted again.
    none = call("champion", "--study", "my_study.py")
    assert none.exit_code == 1
    assert "1 better runs left out, whose code or images changed since" in none.stderr
    assert registry.aliased(client, "mnist-ops-shapes", "champion").number == 1


def test_the_network_of_a_known_name_needs_no_file(file: Path, home: Path) -> None:
    svm = 'spec=SvmSpec,\n    presets=PRESETS,\n    grid={"kernel": ("rbf",), "C": (1.0,),'
    text = file.read_text().partition("STUDY = Study")[0].replace("Preset,", "Preset, SvmSpec,")
    text += f'STUDY = Study(name="mine", title="", question="", {svm}'
    file.write_text(text + '"dataset": (SHAPES,), "device": ("cpu",)})\n')
    good("run", "my_study.py", *IN_PROCESS, "--seeds", "0")
    good("champion", "--study", "my_study.py")
    lookup.registered.clear()
    Image.fromarray(shapes_study.shapes().images[0]).save("bar.png")
    assert "bar.png: bar" in good("predict", "--dataset", "shapes", "bar.png").stdout


def test_estimators_are_not_registered(file: Path, client: MlflowClient) -> None:
    few = ["--datasets", "shapes", "--seeds", "0", "--set", "trees=8"]
    good("run", "my_study.py:ESTIMATORS", *IN_PROCESS, *few)
    refusal = call("champion", "--study", "my_study.py:ESTIMATORS", "--datasets", "shapes")
    assert refusal.exit_code == 1
    assert "not registered, as an estimator cannot be kept without a pickle" in refusal.stderr
    assert registry.aliased(client, "mnist-ops-shapes", "champion") is None
