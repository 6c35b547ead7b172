"""The compiled solver takes libsvm's steps, and is not needed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import fixture_images

from mnist_ops.core import keys
from mnist_ops.data import load
from mnist_ops.fitting import svm
from mnist_ops.fitting.svm import problem, smo, solutions
from mnist_ops.fitting.svm.kernels import Kernel
from mnist_ops.study.specs import SvmSpec

SPEC = SvmSpec(
    study="svm_grid", dataset="MNIST", kernel="rbf", C=10.0, train_limit=300, test_limit=100
)


@pytest.fixture
def _compiled() -> None:
    if not smo.usable():
        pytest.skip("no compiled solver here")


def solve_both(values: np.ndarray, n_first: int, penalty: float) -> int:
    """Compare the solutions of a kernel matrix; return the number of steps."""
    stored = np.zeros(values.size + smo.MARGIN, dtype=np.float32)
    block = stored[: values.size].reshape(values.shape)
    block[:] = values
    found = smo.by_steps_of_libsvm(block, values.diagonal().copy(), n_first, penalty)
    expected = smo.by_libsvm(values, n_first, penalty)
    assert np.array_equal(found.coefficients, expected.coefficients)
    assert found.intercept == expected.intercept
    assert found.iterations == expected.iterations
    return found.iterations


def points(n: int, features: int = 5) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, features))


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("penalty", [0.01, 1.0, 1000.0])
@pytest.mark.parametrize(("n", "n_first"), [(2, 1), (31, 30), (32, 7), (33, 16), (700, 300)])
def test_each_step_is_libsvms(n: int, n_first: int, penalty: float) -> None:
    x = points(n)
    distances = ((x[:, None] - x) ** 2).sum(axis=2)
    steps = solve_both(np.exp(-distances / 5), n_first, penalty)
    # With as many steps images have been laid aside, taken up, and laid aside again.
    assert steps > 3 * n or (n, penalty) != (700, 1000.0)


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("penalty", [0.1, 10.0, pytest.param(100.0, marks=pytest.mark.slow)])
def test_images_as_good_as_each_other_are_chosen_as_libsvm_does(penalty: float) -> None:
    x = np.round(points(400, 2))
    solve_both((1 + x @ x.T) ** 3, 200, penalty)


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("penalty", [0.1, 100.0])
def test_kernel_without_a_minimum(penalty: float) -> None:
    """A matrix that is not positive semidefinite: curvatures are negative, or zero."""
    x = points(300)
    solve_both(np.tanh(x @ x.T), 120, penalty)


@pytest.mark.usefixtures("_compiled")
@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["MNIST", "FashionMNIST"])
def test_cells_of_the_study_are_libsvms(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 24 cells, 10,000 images: each number of a solution, and each prediction."""
    specs = [
        dataclasses.replace(
            SPEC, dataset=dataset, kernel=kernel, gamma=gamma, C=penalty, train_limit=10_000
        )
        for kernel in ("poly", "rbf")
        for gamma in ("scale", "auto")
        for penalty in (0.1, 1.0, 10.0)
    ]
    images = load(dataset)
    problem.problem_at_hand.clear()
    ours = svm.fit_all(specs, images)
    prepared, _ = problem.problem_of(specs[0], images)
    wanted = [(Kernel.of(spec, prepared.n_features, prepared.n_varying), spec.C) for spec in specs]
    found = solutions.solutions_of(prepared, wanted)
    problem.problem_at_hand.clear()
    monkeypatch.setattr(smo, "usable", lambda: False)
    theirs = svm.fit_all(specs, images)
    prepared, _ = problem.problem_of(specs[0], images)
    expected = solutions.solutions_of(prepared, wanted)
    for each in wanted:
        mine, other = found[each][0], expected[each][0]
        for name in ("support", "coefficients", "intercepts", "iterations"):
            assert np.array_equal(
                getattr(mine.classifier, name), getattr(other.classifier, name)
            ), (each, name)
        assert np.array_equal(mine.val, other.val)
    for mine, other in zip(ours, theirs, strict=True):
        assert np.array_equal(mine.predictions, other.predictions)


def test_without_a_compiler_libsvm_does_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = fixture_images("MNIST")
    expected = svm.fit(SPEC, images)
    smo.load.cache_clear(), smo.usable.cache_clear()
    problem.problem_at_hand.clear()
    with monkeypatch.context() as patch:
        patch.setattr("mnist_ops.fitting.compiled.user_cache_path", lambda name: tmp_path)
        patch.setenv("CXX", "no-such-compiler")
        assert not smo.usable()
        found = svm.fit(SPEC, images)
    smo.load.cache_clear(), smo.usable.cache_clear()
    problem.problem_at_hand.clear()
    assert not list(tmp_path.rglob("*.so"))
    assert np.array_equal(found.predictions, expected.predictions)
    for metric in (keys.SUPPORT_VECTORS, keys.DUAL_COEFFICIENTS, keys.VAL_ACCURACY):
        assert found.metrics[metric] == expected.metrics[metric]
