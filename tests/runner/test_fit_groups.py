"""Fit groups: which cells are one training."""

import dataclasses

from mnist_ops.runner.fit_groups import grouped
from pipelines import STUDIES

ON_CPU = STUDIES["resnet_grid"].with_axes({"device": ("cpu",)}).cells("paper")
ON_CUDA = STUDIES["resnet_grid"].with_axes({"device": ("cuda",)}).cells("paper")


def test_a_cpu_grid_is_32_trainings() -> None:
    found = grouped(ON_CPU, share=True)
    assert len(found) == 32
    assert {len(group.cells) for group in found} == {4}
    for group in found:
        assert (group.fitted.epochs, group.fitted.pin_memory) == (5, False)
    assert {cell for group in found for cell in group.cells} == set(ON_CPU)


def test_pinned_memory_is_a_training_of_its_own_on_cuda() -> None:
    found = grouped(ON_CUDA, share=True)
    assert len(found) == 64
    assert all(len({cell.pin_memory for cell in t.cells}) == 1 for t in found)


def test_only_length_and_pinning_are_shared() -> None:
    (first, *_) = ON_CPU
    for change in ({"seed": 1}, {"precision": "float32"}, {"train_limit": 100}, {"plain": True}):
        other = dataclasses.replace(first, **change)
        assert len(grouped([first, other], share=True)) == 2


def test_without_sharing_each_cell_is_its_own() -> None:
    found = grouped(ON_CPU, share=False)
    assert len(found) == 128


def test_key_does_not_depend_on_which_cells_are_left() -> None:
    (whole,) = grouped(ON_CPU[:4], share=True)
    (rest,) = grouped(ON_CPU[:1], share=True)
    assert whole.key == rest.key
    assert rest.fitted == ON_CPU[0]


def test_device_comparison_shares_nothing() -> None:
    cells = STUDIES["device_compare"].cells("paper")
    assert len(grouped(cells, share=True)) == len(cells)


def test_costliest_first() -> None:
    found = grouped(ON_CPU, share=True)
    assert found[0].fitted.model == "resnet50"
    assert found[0].fitted.batch_size == 16
    assert found[-1].fitted.model == "resnet18"


def test_svm_cells_of_one_kernel_and_data_set_are_fitted_together() -> None:
    found = grouped(STUDIES["svm_grid"].cells("paper"), share=True)
    assert [len(group.cells) for group in found] == [6] * 4
    assert [group.fitted.kernel for group in found] == ["poly", "poly", "rbf", "rbf"]
    for group in found:
        assert len({(cell.dataset, cell.kernel) for cell in group.cells}) == 1


def test_gammas_that_are_numbers_are_kernels_of_their_own() -> None:
    cells = STUDIES["svm_grid"].with_axes({"gamma": (0.001, 0.002)}).cells("paper")
    assert len(grouped(cells, share=True)) == 8
