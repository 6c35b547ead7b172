"""Trajectories: which cells are one training."""

import dataclasses

from mnist_ops.runner.fit_groups import trajectories
from pipelines import STUDIES

ON_CPU = STUDIES["resnet_grid"].with_axes({"device": ("cpu",)}).cells("paper")
ON_CUDA = STUDIES["resnet_grid"].with_axes({"device": ("cuda",)}).cells("paper")


def test_a_cpu_grid_is_32_trainings() -> None:
    found = trajectories(ON_CPU, share=True)
    assert len(found) == 32
    assert {len(trajectory.cells) for trajectory in found} == {4}
    for trajectory in found:
        assert (trajectory.fitted.epochs, trajectory.fitted.pin_memory) == (5, False)
    assert {cell for trajectory in found for cell in trajectory.cells} == set(ON_CPU)


def test_pinned_memory_is_a_training_of_its_own_on_cuda() -> None:
    found = trajectories(ON_CUDA, share=True)
    assert len(found) == 64
    assert all(len({cell.pin_memory for cell in t.cells}) == 1 for t in found)


def test_only_length_and_pinning_are_shared() -> None:
    (first, *_) = ON_CPU
    for change in ({"seed": 1}, {"precision": "float32"}, {"train_limit": 100}, {"plain": True}):
        other = dataclasses.replace(first, **change)
        assert len(trajectories([first, other], share=True)) == 2


def test_without_sharing_each_cell_is_its_own() -> None:
    found = trajectories(ON_CPU, share=False)
    assert len(found) == 128


def test_key_does_not_depend_on_which_cells_are_left() -> None:
    (whole,) = trajectories(ON_CPU[:4], share=True)
    (rest,) = trajectories(ON_CPU[:1], share=True)
    assert whole.key == rest.key
    assert rest.fitted == ON_CPU[0]


def test_device_comparison_shares_nothing() -> None:
    cells = STUDIES["device_compare"].cells("paper")
    assert len(trajectories(cells, share=True)) == len(cells)


def test_costliest_first() -> None:
    found = trajectories(ON_CPU, share=True)
    assert found[0].fitted.model == "resnet50"
    assert found[0].fitted.batch_size == 16
    assert found[-1].fitted.model == "resnet18"


def test_svm_cells_of_one_kernel_and_data_set_are_fitted_together() -> None:
    found = trajectories(STUDIES["svm_grid"].cells("paper"), share=True)
    assert [len(trajectory.cells) for trajectory in found] == [6] * 4
    assert [trajectory.fitted.kernel for trajectory in found] == ["poly", "poly", "rbf", "rbf"]
    for trajectory in found:
        assert len({(cell.dataset, cell.kernel) for cell in trajectory.cells}) == 1


def test_gammas_that_are_numbers_are_kernels_of_their_own() -> None:
    cells = STUDIES["svm_grid"].with_axes({"gamma": (0.001, 0.002)}).cells("paper")
    assert len(trajectories(cells, share=True)) == 8
