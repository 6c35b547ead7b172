"""Models as folders of numbers: the same answers when read back, and nothing that is run."""

import dataclasses
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from data_fixtures import fixture_images
from model_fixtures import NETWORK, SVM, Malicious, fitted, write_model
from safetensors.numpy import load_file, save_file
from sklearn.svm import SVC

import mnist_ops
from mnist_ops.core.errors import InvalidInput
from mnist_ops.data import split_of
from mnist_ops.fitting import svm
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.resnet import train
from mnist_ops.serving import inference, registry
from mnist_ops.serving.champions import refit
from mnist_ops.serving.inference import (
    Classifier,
    ModelRefused,
    networks,
    out_of_distribution,
    svms,
)
from mnist_ops.study.specs import Spec, SvmSpec

BOTH = pytest.mark.parametrize("spec", [NETWORK, SVM], ids=["network", "svm"])


def images_of(spec: Spec) -> np.ndarray:
    images = fixture_images(spec.dataset)
    parts = split_of(spec, images)
    return images.images[parts.test]


@BOTH
def test_a_model_predicts_what_its_run_logged(spec: Spec, tmp_path: Path) -> None:
    images = fixture_images(spec.dataset)
    if isinstance(spec, SvmSpec):
        logged = svm.fit(spec, images)
    else:
        with reproducible(1):
            logged = train.fit(spec, images)[spec.epochs]
    classifier = Classifier.load(write_model(spec, tmp_path))
    assert np.array_equal(classifier.answer(images_of(spec)).classes, logged.predictions)
    metrics = classifier.description.metrics
    for name in ("test_accuracy", "test_f1", "test_f1_macro", "val_accuracy"):
        assert metrics[name] == logged.metrics[name], name


@BOTH
def test_an_image_alone_gets_the_class_that_it_gets_among_others(spec: Spec) -> None:
    made = fitted(spec)
    model = inference.scorer(spec, made.made, made.description.mean, made.description.std)
    images = images_of(spec)
    classes, scores = model.predict(images)
    for number in (0, 17, 99):
        one, own = model.predict(images[number : number + 1])
        assert one[0] == classes[number]
        assert np.array_equal(own[0], scores[number])


@BOTH
def test_written_twice_it_is_the_same_bytes(spec: Spec, tmp_path: Path) -> None:
    first, second = write_model(spec, tmp_path), write_model(spec, tmp_path)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


@BOTH
def test_probabilities_are_some(spec: Spec, tmp_path: Path) -> None:
    answers = Classifier.load(write_model(spec, tmp_path)).answer(images_of(spec))
    assert answers.probabilities.sum(axis=1) == pytest.approx(1)
    assert answers.probabilities.min() >= 0


@BOTH
def test_no_images_get_no_answers(spec: Spec, tmp_path: Path) -> None:
    answers = Classifier.load(write_model(spec, tmp_path)).answer(np.empty((0, 28, 28), np.uint8))
    assert len(answers.classes) == 0


def images_of_another_shape_are_refused(tmp_path: Path) -> None:
    classifier = Classifier.load(write_model(SVM, tmp_path))
    with pytest.raises(InvalidInput, match="give uint8"):
        classifier.answer(np.zeros((1, 32, 32), np.uint8))
    with pytest.raises(InvalidInput, match="give uint8"):
        classifier.answer(np.zeros((1, 28, 28), np.float32))


def test_weights_load_into_torchvision_s_network(tmp_path: Path) -> None:
    """Without this package: the file alone, and what torchvision has."""
    from safetensors.torch import load_file as load_tensors

    folder = write_model(NETWORK, tmp_path)
    network = torchvision.models.resnet18(num_classes=10)
    network.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    network.load_state_dict(load_tensors(folder / "weights.safetensors"))
    description = json.loads((folder / "model.json").read_text())
    images = images_of(NETWORK)
    pixels = torch.from_numpy(images).unsqueeze(1).float() / 255
    pixels = (pixels - description["mean"]) / description["std"]
    with torch.inference_mode():
        stock = network.eval()(pixels).softmax(1).numpy()
    made = fitted(NETWORK)
    model = inference.scorer(NETWORK, made.made, made.description.mean, made.description.std)
    logits = torch.from_numpy(model.predict(images)[1])
    # bfloat16 keeps 8 bits of a number.
    assert stock == pytest.approx(logits.softmax(1).numpy(), abs=0.05)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear", "sigmoid", "laplacian"])
def test_machine_is_scikit_learn_s_again(kernel: str, tmp_path: Path) -> None:
    spec = dataclasses.replace(SVM, kernel=kernel)
    before = svm.to_estimator(spec, fixture_images("MNIST"))
    svms.write(tmp_path / "m.safetensors", before, spec)
    after = svms.read(tmp_path / "m.safetensors", spec)
    assert type(after[-1]) is SVC
    pixels = images_of(spec).reshape(100, -1).astype(float)
    assert np.array_equal(after.predict(pixels), before.predict(pixels))
    assert np.array_equal(after.decision_function(pixels), before.decision_function(pixels))


def test_scores_of_a_machine_go_with_its_classes() -> None:
    made = fitted(SVM)
    model = inference.scorer(SVM, made.made, made.description.mean, made.description.std)
    classes, scores = model.predict(images_of(SVM))
    assert np.mean(scores.argmax(axis=1) == classes) > 0.9
    # Not a few values, as votes would give.
    assert len(np.unique(np.sort(scores, axis=1)[:, -1].round(3))) > 50


# What may not be loaded.


def saved_with_numpy(path: Path, malicious: Malicious) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([malicious], dtype=object), allow_pickle=True)


MALICIOUS = {
    "pickle": lambda path, malicious: path.write_bytes(pickle.dumps(malicious)),
    "torch": lambda path, malicious: torch.save({"conv1.weight": malicious}, path),
    "numpy": saved_with_numpy,
}


@pytest.mark.parametrize("kind", MALICIOUS)
@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "likeness.safetensors"])
@BOTH
def test_a_malicious_file_is_refused_and_not_run(
    spec: Spec, name: str, kind: str, tmp_path: Path
) -> None:
    folder, mark = write_model(spec, tmp_path), tmp_path / "run"
    MALICIOUS[kind](folder / name, Malicious(mark))
    with pytest.raises(ModelRefused, match=name):
        Classifier.load(folder)
    assert not mark.exists()
    if kind == "pickle":
        # It is what it says: with a loader that unpickles it would have run.
        pickle.loads((folder / name).read_bytes())
        assert mark.exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "likeness.safetensors"])
def test_a_file_that_is_cut_off_or_missing_is_refused(name: str, tmp_path: Path) -> None:
    folder = write_model(SVM, tmp_path)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelRefused, match="not a valid safetensors file"):
        Classifier.load(folder)
    (folder / name).unlink()
    with pytest.raises(ModelRefused, match="cannot be read"):
        Classifier.load(folder)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("support_vectors", lambda array: array[:, :783], "shape"),
        ("support_vectors", lambda array: array.astype(np.float32), "float32"),
        ("support_vectors", lambda array: array * np.nan, "not finite"),
        ("support_vectors", lambda array: array[1:], "does not match the other arrays"),
        ("support", lambda array: array - 10_000, "does not match the other arrays"),
        ("support_by_class", lambda array: array + 1, "does not match the other arrays"),
        ("support_by_class", lambda array: -array, "does not match the other arrays"),
        ("dual_coefficients", lambda array: array[:, 1:], "does not match the other arrays"),
        ("gamma", lambda array: -array, "does not match the other arrays"),
        ("gamma", lambda array: None, "missing"),
    ],
)
def test_a_machine_of_numbers_that_do_not_fit_is_refused(
    name: str, change: Any, told: str, tmp_path: Path
) -> None:
    folder = write_model(SVM, tmp_path)
    path = folder / "weights.safetensors"
    arrays = dict(load_file(path))
    changed = change(arrays.pop(name))
    save_file(arrays if changed is None else arrays | {name: np.ascontiguousarray(changed)}, path)
    with pytest.raises(ModelRefused, match=told):
        Classifier.load(folder)


def test_a_network_of_another_shape_is_refused(tmp_path: Path) -> None:
    folder = write_model(NETWORK, tmp_path)
    other = torchvision.models.resnet18(num_classes=10)
    networks.write(folder / "weights.safetensors", other.state_dict(), NETWORK)
    with pytest.raises(ModelRefused, match="shape"):
        Classifier.load(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 2}, "update mnist-ops"),
        ({"format": "1"}, "does not describe a model"),
        ({"std": 0}, "above 0"),
        ({"temperature": "warm"}, "refused"),
        ({"mean": None}, "refused"),
        ({"class_names": ["0"]}, "10 names"),
        ({"metrics": []}, "refused"),
        ({"spec": {"family": "tree", "schema": 1}}, "not known here"),
        ({"spec": None}, "refused"),
    ],
)
def test_a_wrong_description_is_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = write_model(SVM, tmp_path)
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelRefused, match=told):
        Classifier.load(folder)


def test_no_mutated_file_does_harm(tmp_path: Path) -> None:
    """Bytes changed, cut and repeated, seeded: a line that refuses it, or a model that answers."""
    chance = random.Random(7)
    folder = write_model(SVM, tmp_path)
    images = images_of(SVM)[:2]
    refusals = []
    for name in ("model.json", "weights.safetensors", "likeness.safetensors"):
        whole = (folder / name).read_bytes()
        for _ in range(60):
            content = bytearray(whole)
            # The first bytes say what the others are.
            for _ in range(chance.randint(1, 4)):
                content[chance.randrange(min(len(content), 1500))] = chance.randrange(256)
            if chance.random() < 0.2:
                del content[chance.randrange(len(content)) :]
            (folder / name).write_bytes(bytes(content))
            try:
                with np.errstate(all="ignore"):
                    Classifier.load(folder).answer(images)
            except ModelRefused as error:
                refusals.append(str(error))
        (folder / name).write_bytes(whole)
    print(f"{len(refusals)} of 180 mutated model files refused, the others harmless")
    assert len(refusals) > 90
    assert not any("\n" in refusal for refusal in refusals)


# How images look, and what is made of scores.


def test_an_image_of_something_else_is_called_unlike() -> None:
    made = fitted(SVM)
    model = inference.scorer(SVM, made.made, made.description.mean, made.description.std)
    noise = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    blank, grey = np.zeros((1, 28, 28), np.uint8), np.full((1, 28, 28), 128, np.uint8)
    strange = np.concatenate([noise, blank, grey])
    assert all(made.detector.alarms(strange, model.predict(strange)[1]))


def test_limits_leave_the_agreed_share_of_validation_images() -> None:
    chance = np.random.default_rng(0)
    images = fixture_images("MNIST").images
    train_images, val = images[:300], images[300:]
    scores = chance.normal(size=(len(val), 10))
    detector = out_of_distribution.fit(train_images, val, scores)
    beyond = detector.statistics(val, scores) > detector.limits
    assert (
        beyond.mean(axis=0) <= out_of_distribution.ALARMS / len(out_of_distribution.STATISTICS)
    ).all()


def test_temperature_makes_overconfident_scores_milder() -> None:
    chance = np.random.default_rng(0)
    true = chance.normal(size=(4000, 10)) * 2
    odds = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    labels = np.array([chance.choice(10, p=row) for row in odds], np.uint8)
    assert refit.temperature(true * 5, labels) == pytest.approx(5, rel=0.1)
    assert refit.temperature(true, labels) == pytest.approx(1, rel=0.1)


def test_images_of_many_pixels_have_a_detector_too() -> None:
    draw = np.random.default_rng(0)
    patterns = draw.normal(size=(10, 3 * 32 * 32))

    def images(n: int, noise: float) -> np.ndarray:
        pixels = 128 + 8 * draw.normal(size=(n, 10)) @ patterns + draw.normal(0, noise, (n, 3072))
        return np.clip(pixels, 0, 255).astype(np.uint8).reshape(n, 3, 32, 32)

    scores = draw.normal(size=(100, 5))
    detector = out_of_distribution.fit(images(300, 5), images(100, 5), scores)
    assert np.allclose(detector.components @ detector.components.T, np.eye(64), atol=1e-5)
    like = detector.alarms(images(100, 5), scores)
    assert np.mean([bool(names) for names in like]) < 0.2
    assert all("pattern" in names for names in detector.alarms(images(100, 40), scores))


def test_a_served_model_has_every_module_that_it_imports() -> None:
    script = "import sys; from mnist_ops.serving.inference import networks, svms; "
    script += "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('mnist_ops')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    package = Path(mnist_ops.__file__).parent
    imported = {Path(file).relative_to(package) for file in done.stdout.split()}
    sources = {Path(each) for each in registry.SOURCES}
    assert imported
    assert {file for file in imported if not sources & {file, *file.parents}} == set()
