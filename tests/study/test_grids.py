"""Grids: the study's cells, and what a user changes of them."""

import dataclasses
import re
from typing import Any

import pytest

from mnist_ops.core.errors import InvalidInput
from mnist_ops.study.grids import Choices
from pipelines import STUDIES

CPU = {"device": ("cpu",)}


def test_the_study_has_160_cells() -> None:
    counts = {
        "resnet_grid": len(STUDIES["resnet_grid"].with_axes(CPU).cells("paper")),
        "svm_grid": len(STUDIES["svm_grid"].cells("paper")),
        "device_compare": len(STUDIES["device_compare"].cells("paper")),
    }
    assert counts == {"resnet_grid": 128, "svm_grid": 24, "device_compare": 8}


def test_names_and_fingerprints_are_unique() -> None:
    cells = [
        cell
        for name, study in STUDIES.items()
        for cell in (study.with_axes(CPU) if name == "resnet_grid" else study).cells("rigorous")
    ]
    assert len({cell.fingerprint for cell in cells}) == len(cells) == 5 * 160
    assert len({(cell.study, cell.name) for cell in cells}) == len(cells)


def test_choices_replace_the_presets() -> None:
    study = STUDIES["svm_grid"].with_axes({"C": (3.0,), "degree": (2, 4)})
    cells = study.cells("paper", Choices(seeds=(7,), train_limit=100, test_limit=0))
    assert {cell.params["C"] for cell in cells} == {3.0}
    assert {cell.params["degree"] for cell in cells} == {2, 4}
    assert {(c.seed, c.train_limit, c.test_limit) for c in cells} == {(7, 100, 0)}


def test_precision_follows_the_device() -> None:
    cells = STUDIES["device_compare"].cells("paper")
    assert {(c.device, c.params["precision"]) for c in cells} == {
        ("cpu", "bfloat16"),
        ("cuda", "float16"),
    }


@pytest.mark.parametrize(
    ("axis", "text", "values"),
    [
        ("epochs", "2, 5", (2, 5)),
        ("learning_rate", "1e-3", (0.001,)),
        ("pin_memory", "true,False", (True, False)),
        ("model", "resnet50", ("resnet50",)),
        ("momentum", "0.5", (0.5,)),
    ],
)
def test_axes_are_read_as_their_type(axis: str, text: str, values: tuple[object, ...]) -> None:
    read = STUDIES["resnet_grid"].parse_axis(axis, text)
    assert read == values
    assert [type(value) for value in read] == [type(value) for value in values]


def test_gamma_is_a_name_or_a_number() -> None:
    assert STUDIES["svm_grid"].parse_axis("gamma", "scale,0.01") == ("scale", 0.01)


@pytest.mark.parametrize(
    ("axis", "text", "told"),
    [
        ("depth", "3", "an axis of resnet_grid must be one of"),
        ("optimiser", "Adam", "did you mean optimizer?"),
        ("epochs", "two", "whole numbers"),
        ("learning_rate", "fast", "numbers"),
        ("pin_memory", "maybe", "true or false"),
        ("epochs", " , ", "no values"),
    ],
)
def test_axes_that_cannot_be_read(axis: str, text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(told)):
        STUDIES["resnet_grid"].parse_axis(axis, text)


def test_unknown_preset() -> None:
    with pytest.raises(InvalidInput, match="quick, paper, rigorous"):
        STUDIES["svm_grid"].cells("papr")


def test_label_sets_changed_cells_apart() -> None:
    study = STUDIES["resnet_grid"].with_axes(CPU)
    assert {study.label("quick", cell) for cell in study.cells("quick")} == {"quick"}
    (changed,) = {
        study.label("paper", cell) for cell in study.cells("paper", Choices(train_limit=1000))
    }
    assert changed == "custom-1000-all"
    (plain,) = {
        study.label("paper", cell) for cell in study.cells("paper", Choices(precision="float32"))
    }
    assert plain == "custom-all-all-float32"
    official = STUDIES["svm_grid"].with_axes({"parts": ("official",)})
    assert {official.label("paper", cell) for cell in official.cells("paper")} == {
        "custom-10000-2000-official"
    }
    svms = STUDIES["svm_grid"]
    alone = {svms.label("paper", cell) for cell in svms.cells("paper", Choices(plain=True))}
    assert alone == {svms.departed_label("paper", "plain")} == {"custom-10000-2000-plain"}


def test_networks_have_one_size_at_paper_and_rigorous() -> None:
    networks = STUDIES["resnet_grid"]
    assert networks.same_size("rigorous") == ("rigorous", "paper")
    assert networks.same_size("custom-1000-all") == ("custom-1000-all",)
    assert STUDIES["svm_grid"].same_size("paper") == ("paper",)


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({"depth": (3,)}, "has no axis 'depth'; its axes: C, "),
        ({"seed": (3,)}, "has no axis 'seed'"),
        ({"C": 1.0}, "axis C of study mine takes a tuple of values"),
        ({"C": ()}, "axis C of study mine takes a tuple of values"),
        ({"dataset": "MNIST"}, "axis dataset of study mine takes a tuple of values"),
    ],
)
def test_a_grid_that_its_cells_cannot_have_is_named(axes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(told)):
        dataclasses.replace(STUDIES["svm_grid"], name="mine").with_axes(axes)


@pytest.mark.parametrize("axis", ["kernel", "C", "dataset", "device"])
def test_an_axis_that_cells_need_is_named(axis: str) -> None:
    study = STUDIES["svm_grid"]
    grid = {name: values for name, values in study.grid.items() if name != axis}
    with pytest.raises(InvalidInput, match=f"needs the axis '{axis}'"):
        dataclasses.replace(study, grid=grid)


def test_a_grid_may_fix_what_an_option_decides_otherwise() -> None:
    study = STUDIES["resnet_grid"].with_axes({"precision": ("float32",), "device": ("cpu",)})
    assert {cell.precision for cell in study.cells("quick")} == {"float32"}
