"""From a study's grid to its cells: axes, presets, and what a user changed of them."""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from mnist_ops.core.errors import InvalidInput
from mnist_ops.study.specs import PRECISIONS, ResNetSpec, Spec


@dataclass(frozen=True)
class Limits:
    """How many images a cell uses.

    Attributes:
        train: training images; 0 takes the whole training part.
        test: test images; 0 takes the whole test part.
    """

    train: int = 0
    test: int = 0


@dataclass(frozen=True)
class Preset:
    """A size at which every study can be run.

    Attributes:
        seeds: each cell runs once a seed.
        limits: images a cell, by the family of its spec.
    """

    seeds: tuple[int, ...]
    limits: Mapping[str, Limits]


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": Preset(seeds=(0,), limits={"resnet": Limits(256, 512), "svm": Limits(512, 512)}),
        "paper": Preset(seeds=(0,), limits={"resnet": Limits(), "svm": Limits(10_000, 2_000)}),
        "rigorous": Preset(seeds=(0, 1, 2, 3, 4), limits={"resnet": Limits(), "svm": Limits()}),
    }
)

# The computing type of mixed precision where the user names none, by device.
DEFAULT_PRECISION: Mapping[str, str] = MappingProxyType({"cpu": "bfloat16", "cuda": "float16"})


@dataclass(frozen=True)
class Choices:
    """What a user asked for beyond the preset.

    Attributes:
        seeds: replaces the preset's.
        train_limit: replaces the preset's; 0 takes all.
        test_limit: likewise.
        precision: ``auto`` (by device), or one of `PRECISIONS`.
        plain: train torchvision's networks as they are, without the faster form.
    """

    seeds: tuple[int, ...] | None = None
    train_limit: int | None = None
    test_limit: int | None = None
    precision: str = "auto"
    plain: bool = False


@dataclass(frozen=True)
class Study:
    """A question, and the grid that answers it.

    Attributes:
        name: as on the command line and in the tags.
        title: as in the MLflow UI.
        question: what the grid is to answer, in one sentence.
        spec: the class of its cells.
        grid: axis name -> values, in the order in which the cells are listed.
        is_about_time: whether no cell may run beside another on a device.
    """

    name: str
    title: str
    question: str
    spec: type[Spec]
    grid: Mapping[str, tuple[Any, ...]]
    is_about_time: bool = False

    def cells(self, preset: str, choices: Choices | None = None) -> list[Spec]:
        """Every cell of the grid at `preset`, after the user's `choices`.

        Raises:
            InvalidInput: unknown preset, or a value no spec allows.
        """
        choices = choices or Choices()
        size = find_preset(preset)
        limits = size.limits[self.spec.family]
        axes = dict(self.grid) | {"seed": choices.seeds or size.seeds}
        sizes = {
            "train_limit": limits.train if choices.train_limit is None else choices.train_limit,
            "test_limit": limits.test if choices.test_limit is None else choices.test_limit,
        }
        cells = []
        for values in itertools.product(*axes.values()):
            fields = dict(zip(axes, values, strict=True)) | sizes
            if self.spec.family == "resnet":
                fields["precision"] = _precision(choices.precision, fields["device"])
                fields["plain"] = choices.plain
            cells.append(self.spec(study=self.name, **fields))
        return list(dict.fromkeys(cells))

    def with_axes(self, axes: Mapping[str, tuple[Any, ...]]) -> "Study":
        """The same study with axes of its grid replaced, or added, by name."""
        return replace(self, grid=dict(self.grid) | dict(axes))

    def parse_axis(self, axis: str, text: str) -> tuple[Any, ...]:
        """Read comma-separated `text` as values of `axis`.

        Raises:
            InvalidInput: the cells have no such axis, or an entry cannot be read as its type.
        """
        if axis not in self.axes:
            raise InvalidInput(
                f"{self.name} has no axis {axis!r}; its axes: {', '.join(self.axes)}"
            )
        return parse_values(axis, text, self.axes[axis])

    @property
    def axes(self) -> dict[str, Any]:
        """Every field of the cells that may be an axis -> a value of its type."""
        elsewhere = {"study", "model", "seed", "device", "train_limit", "test_limit"}
        elsewhere |= {"precision", "plain"}
        defaults = {
            field.name: field.default
            for field in dataclasses.fields(self.spec)
            if field.name not in elsewhere and field.default is not dataclasses.MISSING
        }
        return defaults | {axis: v[0] for axis, v in self.grid.items() if axis != "device"}


def find_preset(name: str) -> Preset:
    """The preset called `name`; raises `InvalidInput` where there is none."""
    if name not in PRESETS:
        raise InvalidInput(f"preset must be one of {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]


def preset_label(preset: str, cell: Spec) -> str:
    """What the preset tag of `cell` says: `preset`, or what the user made of it.

    A cell whose size, parts or arithmetic is not the preset's must never be averaged with those of
    the preset, so it carries a label of its own.
    """
    unusual = [] if cell.parts == "pooled" else [cell.parts]
    if isinstance(cell, ResNetSpec):
        if cell.precision != DEFAULT_PRECISION[cell.device]:
            unusual.append(cell.precision)
        if cell.plain:
            unusual.append("plain")
    limits = Limits(cell.train_limit, cell.test_limit)
    if limits == find_preset(preset).limits[cell.family] and not unusual:
        return preset
    return _own_label(limits, *unusual)


def official_label(preset: str, family: str) -> str:
    """The preset tag of cells of `preset`, tested on the official test images instead."""
    return _own_label(find_preset(preset).limits[family], "official")


def _own_label(limits: Limits, *unusual: str) -> str:
    return "-".join(["custom", str(limits.train or "all"), str(limits.test or "all"), *unusual])


def same_size(preset: str, family: str) -> tuple[str, ...]:
    """The presets at which cells of `family` have the size they have at `preset`, itself first."""
    if preset not in PRESETS:
        return (preset,)
    limits = PRESETS[preset].limits[family]
    others = (name for name, p in PRESETS.items() if p.limits[family] == limits and name != preset)
    return (preset, *others)


def parse_values(name: str, text: str, like: Any) -> tuple[Any, ...]:
    """Read a comma-separated list as values of the type of `like`.

    Raises:
        InvalidInput: the list is empty, or an entry cannot be read as that type.
    """
    values = tuple(_parse(name, part.strip(), like) for part in text.split(",") if part.strip())
    if not values:
        raise InvalidInput(f"{name} has no values")
    return values


def _parse(name: str, text: str, like: Any) -> Any:
    if isinstance(like, bool):
        if text.lower() not in ("true", "false"):
            raise InvalidInput(f"{name} takes true or false, got {text!r}")
        return text.lower() == "true"
    if isinstance(like, int | float):
        try:
            return type(like)(text)
        except ValueError:
            kind = "whole numbers" if isinstance(like, int) else "numbers"
            raise InvalidInput(f"{name} takes {kind}, got {text!r}") from None
    if name == "gamma":
        # The one axis of two types: a rule by name, or a number.
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _precision(asked: str, device: str) -> str:
    if asked == "auto":
        return DEFAULT_PRECISION[device]
    if asked not in PRECISIONS:
        raise InvalidInput(f"precision must be one of auto, {', '.join(PRECISIONS)}; got {asked!r}")
    return asked
