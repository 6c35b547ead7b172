"""The fits of one grid share inner products, solutions and memory."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from data_fixtures import fixture_images
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.data import Images
from mnist_ops.fitting import svm
from mnist_ops.fitting.svm import memory, one_vs_one, problem
from mnist_ops.fitting.svm.kernels import Kernel, resolve_gamma
from mnist_ops.study.specs import SvmSpec

SPEC = SvmSpec(
    study="svm_grid", dataset="MNIST", kernel="rbf", C=10.0, train_limit=300, test_limit=100
)


@pytest.fixture
def images() -> Images:
    return fixture_images("MNIST")


@pytest.fixture
def busy_images(images: Images) -> Images:
    """No pixel of these is constant: ``scale`` and ``auto`` are the same kernel."""
    noise = np.random.default_rng(0).integers(0, 64, images.images.shape, np.uint8)
    return dataclasses.replace(images, images=images.images // 2 + noise)


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """As a new process would start; and leave nothing to the tests of other files."""
    problem.problem_at_hand.clear()
    yield
    problem.problem_at_hand.clear()


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Kernel, float]]:
    """The kernels and C that were solved for, one entry a solution."""
    solutions = []
    solve = one_vs_one.solve

    def counting(
        of: problem.Problem, wanted: Mapping[Kernel, Sequence[float]]
    ) -> list[one_vs_one.Solved]:
        solutions.extend((kernel, penalty) for kernel in wanted for penalty in wanted[kernel])
        return solve(of, wanted)

    monkeypatch.setattr(one_vs_one, "solve", counting)
    return solutions


def small_memory(monkeypatch: pytest.MonkeyPatch, images: Images) -> None:
    """So little that only pairs of classes fit."""
    found = problem.problem_of(SPEC, images)[0]
    needed = memory.working_bytes(found.sizes, found.n_features)
    monkeypatch.setenv(memory.VARIABLE, str((needed + 1) / memory.GB))


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear", "sigmoid"])
def test_blocked_is_shared(images: Images, monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    spec = dataclasses.replace(SPEC, kernel=kernel)
    shared = svm.fit(spec, images)
    assert problem.problem_of(spec, images)[0].shared
    # Several steps of rows, too.
    monkeypatch.setattr(memory, "EVALUATION_BYTES", 100_000)
    small_memory(monkeypatch, images)
    blocked = svm.fit(spec, images)
    assert not problem.problem_of(spec, images)[0].shared
    assert np.array_equal(blocked.predictions, shared.predictions)
    for metric in (keys.SUPPORT_VECTORS, keys.DUAL_COEFFICIENTS, keys.VAL_ACCURACY):
        assert blocked.metrics[metric] == shared.metrics[metric]


def test_kernels_share_inner_products_that_are_not_kept(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [
        dataclasses.replace(SPEC, kernel=kernel, gamma=gamma)
        for kernel in ("rbf", "poly")
        for gamma in ("scale", 0.001)
    ]
    kept = svm.fit_all(specs, images)
    small_memory(monkeypatch, images)
    computed = svm.fit_all(specs, images)
    assert not problem.problem_of(SPEC, images)[0].shared
    for one, other in zip(kept, computed, strict=True):
        assert np.array_equal(one.predictions, other.predictions)
        for metric in (keys.SUPPORT_VECTORS, keys.DUAL_COEFFICIENTS, keys.VAL_ACCURACY):
            assert one.metrics[metric] == other.metrics[metric]


def test_gram_matrix_is_computed_once(images: Images) -> None:
    first = svm.fit(SPEC, images).metrics
    second = svm.fit(dataclasses.replace(SPEC, C=1.0), images).metrics
    prepared = problem.problem_of(SPEC, images)[0]
    assert first[keys.SHARED_TRAIN_TIME_S] >= prepared.prepare_s
    assert second[keys.SHARED_TRAIN_TIME_S] < second[keys.TRAIN_TIME_S]


def test_another_split_is_another_problem(images: Images) -> None:
    first = problem.problem_of(SPEC, images)[0]
    assert problem.problem_of(dataclasses.replace(SPEC, C=1.0), images)[0] is first
    other = problem.problem_of(dataclasses.replace(SPEC, seed=1), images)[0]
    assert not np.array_equal(other.train, first.train)


def test_same_kernel_is_solved_once(
    busy_images: Images, solved: list[tuple[Kernel, float]]
) -> None:
    results = [
        svm.fit(dataclasses.replace(SPEC, gamma=gamma), busy_images)
        for gamma in ("scale", "auto", 1 / 784)
    ]
    assert len(solved) == 1
    assert len({result.predictions.tobytes() for result in results}) == 1
    first, second, _ = (result.metrics for result in results)
    assert first[keys.TRAIN_TIME_S] == second[keys.TRAIN_TIME_S]
    assert second[keys.SHARED_TRAIN_TIME_S] < 0.1 * first[keys.SHARED_TRAIN_TIME_S]


def test_kernels_that_differ_are_solved_each(
    images: Images, solved: list[tuple[Kernel, float]]
) -> None:
    """MNIST has constant pixels: its ``scale`` is not its ``auto``."""
    for gamma in ("scale", "auto"):
        svm.fit(dataclasses.replace(SPEC, gamma=gamma), images)
    svm.fit(dataclasses.replace(SPEC, C=1.0), images)
    assert len(solved) == 3


def test_fields_that_a_kernel_ignores_do_not_make_another() -> None:
    linear = dataclasses.replace(SPEC, kernel="linear")
    assert Kernel.of(linear, 784, 600) == Kernel.of(
        dataclasses.replace(linear, gamma=0.3, degree=2), 784, 600
    )
    assert Kernel.of(SPEC, 784, 600) == Kernel.of(dataclasses.replace(SPEC, degree=2), 784, 600)


def test_scale_is_that_of_scikit_learn(images: Images) -> None:
    pixels = images.images[:300].reshape(300, -1).astype(float)
    standardised = StandardScaler().fit_transform(pixels)
    # As `sklearn.svm.SVC` documents it.
    expected = 1 / (784 * standardised.var())
    n_varying = int((np.ptp(pixels, axis=0) > 0).sum())
    assert n_varying < 784
    assert resolve_gamma("scale", 784, n_varying) == pytest.approx(expected, rel=1e-12)
    assert resolve_gamma("scale", 784, 784) == resolve_gamma("auto", 784, 784)
    assert resolve_gamma("scale", 784, 0) == 1


def test_grid_together_is_each_alone(
    busy_images: Images, solved: list[tuple[Kernel, float]]
) -> None:
    specs = [
        dataclasses.replace(SPEC, kernel=kernel, gamma=gamma, C=penalty)
        for kernel in ("rbf", "poly", "laplacian")
        for gamma in ("scale", "auto")
        for penalty in (0.1, 10.0)
    ]
    together = svm.fit_all(specs, busy_images)
    assert len(solved) == 4
    for spec, result in zip(specs, together, strict=True):
        problem.problem_at_hand.clear()
        alone = svm.fit(spec, busy_images)
        assert np.array_equal(result.predictions, alone.predictions)
        for metric in (keys.SUPPORT_VECTORS, keys.DUAL_COEFFICIENTS, keys.VAL_ACCURACY):
            assert result.metrics[metric] == alone.metrics[metric]


def test_shared_times_add_up_to_what_was_spent(images: Images) -> None:
    specs = [
        dataclasses.replace(SPEC, kernel=kernel, C=penalty)
        for kernel in ("rbf", "poly")
        for penalty in (0.1, 1.0, 10.0)
    ]
    start = time.perf_counter()
    results = svm.fit_all(specs, images)
    spent_s = time.perf_counter() - start
    shared = [result.metrics[keys.SHARED_TRAIN_TIME_S] for result in results]
    alone = [result.metrics[keys.TRAIN_TIME_S] for result in results]
    assert sum(shared) <= spent_s
    # Each one's kernel values and problem are counted in full where it stands for itself.
    assert all(mine <= whole for mine, whole in zip(shared, alone, strict=True))
    assert shared[1] < alone[1]


def test_vote_is_libsvms() -> None:
    """Against scikit-learn on labels without meaning, where many votes are ties."""
    random = np.random.default_rng(0)
    points, labels = random.normal(size=(200, 2)), random.integers(0, 5, size=200)
    classifier = SVC(decision_function_shape="ovo", C=100.0).fit(points, labels)
    new = random.normal(size=(2_000, 2))
    decisions = classifier.decision_function(new)
    assert np.array_equal(one_vs_one.vote(decisions), classifier.predict(new))


def test_ties_go_to_the_first_class() -> None:
    # Pairs (0, 1), (0, 2), (1, 2): one vote each; a decision of 0 is for the second of its pair.
    decisions = np.array([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [0.0, 0.0, 0.0], [-1.0, -1.0, 1.0]])
    assert one_vs_one.vote(decisions).tolist() == [0, 0, 2, 1]


# Training images of each digit in 70% of MNIST, the least even of the two data sets.
MNIST_SIZES = [4832, 5514, 4893, 4999, 4777, 4419, 4813, 5105, 4777, 4871]


def test_two_processes_share_four_gigabytes() -> None:
    each = 2 * memory.GB
    working = memory.working_bytes([1_000] * 10, 784)
    assert working + memory.shared_bytes([1_000] * 10, 3_429) <= each
    working = memory.working_bytes(MNIST_SIZES, 784)
    assert working <= each < working + memory.shared_bytes(MNIST_SIZES, 21_000)


def test_share_of_each_worker() -> None:
    assert svm.worker_environment(2) == {memory.VARIABLE: "2.0"}
    assert svm.worker_environment(16) == {memory.VARIABLE: "1.0"}
    assert svm.worker_environment(16, 4.0) == {memory.VARIABLE: "0.25"}
    working = memory.working_bytes([1_000] * 10, 784)
    assert working <= memory.LEAST_DEFAULT_GB * memory.GB


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_more_images_than_memory_allows(
    images: Images, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    monkeypatch.setenv(memory.VARIABLE, "0.6")
    with pytest.raises(svm.TooManyImages, match=r"300 training images need 0.\d\d GB") as caught:
        svm.fit(dataclasses.replace(SPEC, kernel=kernel), images)
    assert "0.60 GB are allowed" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan", "inf"])
def test_memory_that_is_no_number(
    images: Images, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(memory.VARIABLE, text)
    with pytest.raises(InvalidInput, match=memory.VARIABLE):
        svm.fit(SPEC, images)


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_pixels_that_are_no_numbers(images: Images, kernel: str) -> None:
    pixels = images.images.astype(np.float32)
    pixels[17, 3, 5] = float("nan")
    with pytest.raises(InvalidInput, match="MNIST: a pixel is not a finite number"):
        svm.fit(
            dataclasses.replace(SPEC, kernel=kernel), dataclasses.replace(images, images=pixels)
        )


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_one_class_only(images: Images, kernel: str) -> None:
    alike = dataclasses.replace(images, labels=np.full_like(images.labels, 7))
    with pytest.raises(InvalidInput, match="all training images are of class 7"):
        svm.fit(dataclasses.replace(SPEC, kernel=kernel), alike)


def test_two_classes(images: Images) -> None:
    halves = dataclasses.replace(images, labels=images.labels % 2 + 3)
    result = svm.fit(SPEC, halves)
    assert set(result.predictions) == {3, 4}
    estimator = svm.to_estimator(SPEC, halves)
    pixels = images.images[result.test_index].reshape(len(result.test_index), -1)
    assert np.array_equal(estimator.predict(pixels), result.predictions)


def test_kernel_that_overflows(images: Images) -> None:
    with pytest.raises(InvalidInput, match=r"poly kernel of degree 60 .* overflows"):
        svm.fit(dataclasses.replace(SPEC, kernel="poly", degree=60), images)
