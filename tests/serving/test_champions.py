"""Registration of the best runs, and choice of the champion, in a real store."""

import dataclasses
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from champion_fixtures import HERE, NETWORK_CELL, SVM_CELL, call, run
from data_fixtures import fixture_images
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS, MLFLOW_RUN_NOTE
from model_fixtures import SVM, Malicious, fitted
from PIL import Image

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.serving import registry
from mnist_ops.serving.champions import NoCandidates, RefitDiffers, register_best
from mnist_ops.serving.champions.best_run import best
from mnist_ops.serving.champions.promotion import against
from mnist_ops.serving.champions.refit import agreement
from mnist_ops.serving.inference import Classifier
from mnist_ops.serving.seed_noise import Noise
from mnist_ops.study.results import Predictions

# Which run.


def a_run(name: str, **fields: Any) -> dict[str, Any]:
    """A row as `tracking.cell_runs` gives one."""
    usual = {
        "run_id": name,
        "name": name,
        "status": "FINISHED",
        "fingerprint": f"f-{name}",
        keys.DATASET: "MNIST",
        keys.MODEL: "resnet18",
        keys.EPOCHS: "5",
        keys.N_VAL: "7000",
        keys.VAL_ACCURACY: 0.98,
        keys.FLOPS: 33e6,
    }
    return usual | fields


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [
        ([a_run("a"), a_run("b", val_accuracy=0.99)], "b"),
        # Not what is unfinished, has no value, or is of another data set or family.
        ([a_run("a"), a_run("b", val_accuracy=0.99, status="FAILED")], "a"),
        ([a_run("a"), a_run("b", val_accuracy=np.nan)], "a"),
        ([a_run("a"), a_run("b", val_accuracy=0.99, dataset="FashionMNIST")], "a"),
        ([a_run("a"), a_run("b", val_accuracy=0.99, model="svm")], "a"),
        # 37 validation images that are all right say less than 7,000.
        ([a_run("a"), a_run("b", val_accuracy=1.0, n_val="37")], "a"),
        # Of equals the cheapest, then the first by name.
        ([a_run("a", model="resnet50", flops=78e6), a_run("b")], "b"),
        ([a_run("a"), a_run("b", epochs="2")], "b"),
        ([a_run("b"), a_run("a")], "a"),
        ([a_run("a", model="svm")], None),
    ],
)
def test_best_is_by_validation(runs: list[dict[str, Any]], chosen: str | None) -> None:
    found = best(pd.DataFrame(runs), "MNIST", "resnet")
    assert (found and found.run_id) == chosen


def test_no_runs_have_no_best() -> None:
    assert best(pd.DataFrame(), "MNIST", "svm") is None


# Which is champion.


def predictions(right: np.ndarray, start: int = 0) -> Predictions:
    """Predictions that are right on some images."""
    label = np.zeros(len(right), np.uint8)
    index = np.arange(start, start + len(right), dtype=np.int32)
    return Predictions((~right).astype(np.uint8), label, index)


def test_a_champion_is_beaten_by_more_than_chance_only() -> None:
    all_right, none_right = np.ones(1000, bool), np.zeros(1000, bool)
    few, many = all_right.copy(), all_right.copy()
    few[:3], many[:60] = False, False
    assert against(predictions(all_right), predictions(many)).promoted
    assert not against(predictions(all_right), predictions(few)).promoted
    assert not against(predictions(many), predictions(all_right)).promoted
    assert not against(predictions(all_right), predictions(all_right)).promoted
    assert against(predictions(all_right), predictions(none_right)).comparison is not None


def test_only_shared_test_images_are_compared() -> None:
    right, wrong = np.ones(200, bool), np.zeros(200, bool)
    apart = against(predictions(right), predictions(wrong, start=200))
    assert not apart.promoted
    assert "shares no test image" in apart.reason
    halves = against(predictions(right), predictions(wrong, start=100))
    assert halves.promoted
    assert halves.comparison is not None
    assert halves.comparison.n == 100


def test_a_refit_is_held_against_its_run() -> None:
    right = np.ones(1000, bool)
    worse, other = right.copy(), right.copy()
    worse[:100], other[0] = False, False
    refitted = predictions(other)

    def logged(p: Predictions) -> Predictions:
        return Predictions(p.predicted, p.label, p.index)

    def noise(accuracy: float, n_test: int) -> Noise:
        return Noise(0.01, "from seeds")

    assert agreement(refitted, logged(refitted), noise).differing == 0
    close = agreement(refitted, logged(predictions(right)), noise)
    assert close.differing == 1
    assert "for 1 of 1,000 test images" in close.text
    assert agreement(refitted, None, noise).differing is None
    assert agreement(refitted, logged(predictions(right, start=5)), noise).differing is None
    with pytest.raises(RefitDiffers, match="it is not registered"):
        agreement(predictions(worse), logged(predictions(right)), noise)


def test_alias_names_are_those_of_the_command_line() -> None:
    from mnist_ops.cli.predict import predict

    (alias,) = [option for option in predict.params if option.name == "alias"]
    assert alias.default == registry.CHAMPION


# From a grid to a champion.


@pytest.mark.slow
def test_the_best_machine_becomes_champion(small_data: Path, client: MlflowClient) -> None:
    run(SVM_CELL, 200)
    result = call("champion", "--datasets", "MNIST")
    assert result.exit_code == 0, result.output
    assert "predicts what was logged for all 100 test images" in result.stderr

    version = registry.aliased(client, "mnist-ops-mnist", "champion")
    assert version is not None
    runs = tracking.cell_runs(client).set_index("run_id")
    cell = runs.loc[version.tags[keys.REFIT_OF]]
    # As in the grid: best by validation, first by name of equals.
    best_value = runs[keys.VAL_ACCURACY].max()
    assert cell[keys.VAL_ACCURACY] == best_value
    assert version.tags[keys.FINGERPRINT] == cell["fingerprint"]
    assert version.tags[keys.FAMILY] == "svm"
    assert version.tags[keys.DATASET_DIGEST] == fixture_images("MNIST").digest
    for metric in (keys.VAL_ACCURACY, keys.TEST_ACCURACY, keys.TEST_F1):
        assert float(version.tags[f"{keys.METRIC}.{metric}"]) == cell[metric]

    # The fit that made it is a run of its own, with the metrics, and is not taken for a cell.
    (refit_run,) = client.search_runs(
        [cell["experiment_id"]], f"tags.`{keys.ROLE}` = '{keys.ROLE_CHAMPION}'"
    )
    assert refit_run.info.status == "FINISHED"
    assert refit_run.data.metrics[keys.TEST_ACCURACY] == cell[keys.TEST_ACCURACY]
    assert len(runs) == 3

    # Again: nothing is fitted, nothing changes.
    again = call("champion", "--datasets", "MNIST", "--json")
    (report,) = json.loads(again.stdout)
    assert [each["registered_now"] for each in report["versions"]] == [False]
    assert report["alias"] == "champion"
    assert len(registry.versions(client, "mnist-ops-mnist")) == 1


@pytest.mark.slow
def test_a_run_that_is_not_better_is_challenger_and_a_better_one_champion(
    small_data: Path, client: MlflowClient
) -> None:
    uri = tracking.default_uri()
    run(SVM_CELL, 80, "--set", "C=10")
    (first,) = register_best(uri, ["MNIST"])
    assert first.verdict.promoted
    run(SVM_CELL, 84, "--set", "C=10")
    (second,) = register_best(uri, ["MNIST"])
    assert second.contender.version.number == 2
    assert not second.verdict.promoted
    run(SVM_CELL, 420, "--set", "C=10")
    (third,) = register_best(uri, ["MNIST"])
    assert third.verdict.promoted
    aliases = {
        alias: version.number
        for alias in ("champion", "challenger")
        if (version := registry.aliased(client, "mnist-ops-mnist", alias))
    }
    assert aliases == {"champion": 3, "challenger": 2}


@pytest.mark.slow
def test_the_best_of_each_family_is_registered(small_data: Path, client: MlflowClient) -> None:
    run(SVM_CELL, 200, "--set", "C=10")
    run(NETWORK_CELL, 200)
    (report,) = register_best(tracking.default_uri(), ["MNIST"])
    assert [each.candidate.family for each in report.registered] == ["resnet", "svm"]
    higher = max(report.registered, key=lambda each: each.candidate.val_accuracy)
    assert report.contender == higher
    for each in report.registered:
        logged = client.get_run(each.candidate.run_id).data.metrics
        tags = each.version.tags
        assert float(tags[f"{keys.METRIC}.test_accuracy"]) == logged[keys.TEST_ACCURACY]


@pytest.mark.parametrize(
    "cell", [[*SVM_CELL, "--set", "C=1"], NETWORK_CELL], ids=["svm", "network"]
)
def test_after_a_grid_on_request(cell: list[str], small_data: Path, client: MlflowClient) -> None:
    sizes = ["--train-limit", "60", "--test-limit", "40"]
    result = call("run", *cell, *HERE, *sizes, "--champion", "--json")
    assert result.exit_code == 0, result.output
    assert "champion is version 1: the first" in result.stderr
    assert json.loads(result.stdout)[0]["finished"]
    version = client.get_model_version_by_alias("mnist-ops-mnist", "champion")
    # What MLflow's page of the model shows.
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    refit_of = client.get_run(version.tags[keys.REFIT_OF])
    assert logged.params == refit_of.data.params
    assert logged.tags[MLFLOW_RUN_NOTE] == version.description
    assert json.loads(logged.tags[MLFLOW_MODEL_VERSIONS]) == [
        {"name": version.name, "version": version.version}
    ]


def test_a_store_without_runs_has_no_champion(small_data: Path) -> None:
    with pytest.raises(NoCandidates, match="mnist-ops run all"):
        register_best(tracking.default_uri(), ["MNIST"])
    result = call("champion")
    assert result.exit_code == 1
    assert "no finished run" in result.stderr
    assert call("champion", "--datasets", "CIFAR10").exit_code == 2


def test_runs_of_other_images_are_not_fitted_to_these(
    small_data: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(SVM_CELL, 20, "--set", "C=1")
    images = dataclasses.replace(fixture_images("MNIST"), digest="another")
    monkeypatch.setattr("mnist_ops.data.load", lambda name, data_dir: images)
    with pytest.raises(MnistOpsError, match="other images"):
        register_best(tracking.default_uri(), ["MNIST"])


# What is registered.


@pytest.fixture
def champion(small_data: Path, client: MlflowClient) -> registry.Version:
    run(SVM_CELL, 200, "--set", "C=10")
    register_best(tracking.default_uri(), ["MNIST"])
    version = registry.aliased(client, "mnist-ops-mnist", "champion")
    assert version is not None
    return version


def folder_of(home: Path) -> Path:
    """The champion's folder in the artifact store."""
    (folder,) = (home / "mlruns").glob("*/models/*/artifacts")
    return folder


def test_the_model_says_what_it_takes(champion: registry.Version, home: Path) -> None:
    from mlflow.models import Model

    model = Model.load(str(folder_of(home)))
    (given,) = model.signature.inputs.inputs
    assert given.type == np.uint8
    assert given.shape == (-1, 28, 28)
    example = json.loads((folder_of(home) / "serving_input_example.json").read_text())
    pixels = np.array(example["inputs"])
    assert pixels.shape == (1, 28, 28)
    assert pixels.max() == 255
    flavour = model.flavors["python_function"]
    assert flavour["model_code_path"] == "served_model.py"
    assert "python_model" not in flavour
    assert str(home) not in (folder_of(home) / "MLmodel").read_text().replace(
        f"artifact_path: {folder_of(home)}", ""
    )
    assert not list(folder_of(home).rglob("*.pkl"))


@pytest.mark.slow
def test_mlflow_loads_it_without_pickle_and_with_its_own_code(
    champion: registry.Version, home: Path
) -> None:
    """As on another machine: this project is not there, and unpickling is not allowed."""
    images = fixture_images("MNIST").images[:50]
    np.save(home / "images.npy", images)
    code = (
        "import os, sys, pickle\n"
        "sys.path = [p for p in sys.path if not os.path.exists(os.path.join(p, 'mnist_ops'))]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()]\n"
        "import mlflow.pyfunc, numpy as np\n"
        "def refuse(*_, **__): raise RuntimeError('unpickled')\n"
        "pickle.load = pickle.loads = refuse\n"
        "m = mlflow.pyfunc.load_model('models:/mnist-ops-mnist@champion')\n"
        "import mnist_ops; assert 'mlruns' in mnist_ops.__file__, mnist_ops.__file__\n"
        "m.predict(np.load('images.npy')).to_csv('answers.csv')\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = pd.read_csv(home / "answers.csv", dtype={"class_name": str})
    made = Classifier.load(folder_of(home) / "artifacts" / "classifier").answer(images)
    assert answers["class"].tolist() == made.classes.tolist()
    assert answers["class_name"].tolist() == [str(c) for c in made.classes]


def test_a_damaged_model_is_one_line(champion: registry.Version, home: Path) -> None:
    weights = folder_of(home) / "artifacts" / "classifier" / "weights.safetensors"
    shutil.copy(home / "mlflow.db", weights)
    image = home / "image.png"
    image.write_bytes(b"")
    result = call("predict", str(image))
    assert result.exit_code == 1
    assert "weights.safetensors is refused" in result.stderr
    assert "Traceback" not in result.output


def test_a_pickle_in_the_model_is_not_loaded(champion: registry.Version, home: Path) -> None:
    """Somebody who may write to the store turns the model into one that MLflow would unpickle."""
    folder, mark = folder_of(home), home / "run"
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Malicious(mark)))
    described = yaml.safe_load((folder / "MLmodel").read_text())
    flavour = described["flavors"]["python_function"]
    del flavour["model_code_path"]
    flavour |= {"python_model": "python_model.pkl", "loader_module": "mlflow.pyfunc.model"}
    (folder / "MLmodel").write_text(yaml.safe_dump(described))
    Image.fromarray(fixture_images("MNIST").images[0]).save("digit.png")
    result = call("predict", "digit.png")
    assert result.exit_code == 0, result.output
    assert not mark.exists()


def test_fitted_model_is_what_the_registry_gives_back(
    champion: registry.Version, client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "got").mkdir()
    folder = registry.fetch(client, champion, tmp_path / "got")
    classifier = Classifier.load(folder)
    assert classifier.description.spec.fingerprint == champion.tags[keys.FINGERPRINT]
    assert classifier.description.class_names == fitted(SVM).description.class_names
