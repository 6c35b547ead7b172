"""Expand a study's grid to its cells: axes, presets, and the user's changes."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import dataset as datasets
from mnist_ops.study import lookup, model
from mnist_ops.study.dataset import OwnData
from mnist_ops.study.model import Model, check_name
from mnist_ops.study.paper import OwnPaper
from mnist_ops.study.specs import Spec

# Fields of a spec that follow from the study's functions and data sets.
_OF_CODE = ("data_digest", "code", "arguments")


@dataclass(frozen=True)
class Limits:
    """Numbers of images of a cell.

    Attributes:
        train: training images; 0 is all of the training part.
        test: test images; 0 is all of the test part.
    """

    train: int = 0
    test: int = 0


@dataclass(frozen=True)
class Preset:
    """A size at which a study can be run.

    Attributes:
        seeds: seeds of each configuration.
        limits: numbers of images.
    """

    seeds: tuple[int, ...]
    limits: Limits


@dataclass(frozen=True)
class Choices:
    """The user's changes to a preset.

    Attributes:
        seeds: replaces the preset's.
        train_limit: replaces the preset's; 0 is all images.
        test_limit: likewise.
        precision: of networks: ``auto`` (by device), or one of `PRECISIONS`.
        plain: train torchvision's networks, and fit scikit-learn's `SVC`, as they are.
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
        name: on the command line and in tags.
        title: in the MLflow UI.
        question: the question that the grid answers, in one sentence.
        spec: the class of its cells.
        presets: sizes at which it can be run, by name.
        grid: axis name -> values, in the order in which the cells are listed. A model is a name
            that is known, a user's function, or the place of one (``file.py:function``); the
            arguments of functions are axes as well. A data set is a name or an `OwnData`.
        is_about_time: whether times are compared, so that cells do not share a device.
        paper: the publication that it reruns, if any.
        place: where it is found, as ``file.py:NAME``, if it has functions or data of its own.

    Raises:
        InvalidInput: the grid has an axis that its cells do not have, lacks one that they need, or
            has no values for one; the message names it.
    """

    name: str
    title: str
    question: str
    spec: type[Spec]
    presets: Mapping[str, Preset]
    grid: Mapping[str, tuple[Any, ...]]
    is_about_time: bool = False
    paper: OwnPaper | None = None
    place: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_name("a study", self.name)
        fields = {field.name: field.default for field in dataclasses.fields(self.spec)}
        # Seeds are those of the preset.
        known = fields.keys() - {"study", "seed", *_OF_CODE}
        needed = {name for name in known if fields[name] is dataclasses.MISSING} | {"device"}
        of_functions = self._arguments
        if unknown := sorted(self.grid.keys() - known - of_functions.keys()):
            axes = ", ".join([*sorted(known), *of_functions])
            raise InvalidInput(f"study {self.name} has no axis {unknown[0]!r}; its axes: {axes}")
        if absent := sorted(needed - self.grid.keys()):
            raise InvalidInput(f"study {self.name} needs the axis {absent[0]!r} in its grid")
        if self.paper is not None and not isinstance(self.paper, OwnPaper):
            raise InvalidInput(f"paper of study {self.name} is an OwnPaper, got {self.paper!r:.80}")
        for axis, values in self.grid.items():
            if not isinstance(values, tuple) or not values:
                raise InvalidInput(
                    f"axis {axis} of study {self.name} takes a tuple of values, as ({values!r},)"
                )

    def preset(self, name: str) -> Preset:
        """Return the preset `name`; raises `InvalidInput` without one."""
        if name not in self.presets:
            raise InvalidInput.not_one_of("preset", name, self.presets)
        return self.presets[name]

    def cells(self, preset: str, choices: Choices | None = None) -> list[Spec]:
        """Return the cells of the grid at `preset` with the user's `choices`.

        Raises:
            InvalidInput: the preset is unknown, or a value is not allowed.
        """
        choices = choices or Choices()
        size = self.preset(preset)
        axes = dict(self.grid) | {"seed": choices.seeds or size.seeds}
        limits = size.limits
        fields: dict[str, Any] = {
            "train_limit": limits.train if choices.train_limit is None else choices.train_limit,
            "test_limit": limits.test if choices.test_limit is None else choices.test_limit,
        }
        own = {"precision": choices.precision, "plain": choices.plain}
        has = {field.name for field in dataclasses.fields(self.spec)}
        fields |= {name: value for name, value in own.items() if name in has}
        points = (dict(zip(axes, v, strict=True)) for v in itertools.product(*axes.values()))
        return list(dict.fromkeys(self._cell(fields | point) for point in points))

    def _cell(self, fields: dict[str, Any]) -> Spec:
        """Return the cell with these values; an argument counts for the functions that take it."""
        known = {field.name for field in dataclasses.fields(self.spec)}
        own: dict[str, Any] = {}
        if "model" in fields:
            made = self._model(fields["model"])
            own = {"model": made.name, "code": made.code} if made else {}
            taken = made.arguments if made else {}
            own["arguments"] = [(k, v) for k, v in fields.items() if k in taken and k not in known]
        if isinstance(data := _data(fields["dataset"]), OwnData):
            own |= {"dataset": data.name, "data_digest": data.dataset.digest}
            for name in ("train_limit", "test_limit"):
                if 0 < fields[name] < (least := data.dataset.n_classes):
                    raise InvalidInput(
                        f"{name} must be 0 (all images) or at least {least}, one image a class of "
                        f"{data.name}; got {fields[name]}"
                    )
        return self.spec(study=self.name, **{k: v for k, v in fields.items() if k in known} | own)

    def register(self) -> None:
        """Let the functions and the data sets of the study be found by their names.

        Raises:
            InvalidInput: one has the name of something else.
        """
        for made in self._functions():
            lookup.register("models", made.name, made)
        for value in self.grid["dataset"]:
            if isinstance(value, OwnData):
                lookup.register("datasets", check_name("a data set", value.name), value)

    @property
    def has_own(self) -> bool:
        """Return whether it has functions or data sets of its own, which workers must load."""
        own_data = any(isinstance(value, OwnData) for value in self.grid["dataset"])
        return own_data or any(True for _ in self._functions())

    @property
    def datasets(self) -> list[str]:
        """The names of its data sets."""
        return [v.name if isinstance(v, OwnData) else str(v) for v in self.grid["dataset"]]

    def _functions(self) -> Iterator[Model]:
        for value in self.grid.get("model", ()):
            made = self._model(value)
            if made is not None and made.code:
                yield made

    def _model(self, value: Any) -> Model | None:
        """Return the model that a value of the grid stands for; None for a name of another sort."""
        if not self.spec.takes_functions:
            return None
        if callable(value):
            return model.of_function(value)
        if ":" in str(value):
            return model.of_function(lookup.load(value))
        return model.named(value)

    @property
    def _arguments(self) -> dict[str, Any]:
        """The arguments of the study's functions that may be axes, with their defaults."""
        taken = {name: v for made in self._functions() for name, v in made.arguments.items()}
        known = {field.name for field in dataclasses.fields(self.spec)} | {"random_state"}
        return {name: value for name, value in taken.items() if name not in known}

    def label(self, preset: str, cell: Spec) -> str:
        """Return the preset tag of `cell`: `preset`, or a label of its own if the user changed it.

        A cell with another size, other test images or another precision must not be averaged with
        those of the preset.
        """
        limits = Limits(cell.train_limit, cell.test_limit)
        if limits == self.preset(preset).limits and not cell.departures:
            return preset
        return _own_label(limits, *cell.departures)

    def departed_label(self, preset: str, *departures: str) -> str:
        """Return the preset tag of cells of `preset` with these departures (`Spec.departures`)."""
        return _own_label(self.preset(preset).limits, *departures)

    def same_size(self, preset: str) -> tuple[str, ...]:
        """Return the presets with the size of `preset`, itself first."""
        if preset not in self.presets:
            return (preset,)
        limits = self.presets[preset].limits
        same = (name for name, other in self.presets.items() if other.limits == limits)
        return tuple(dict.fromkeys((preset, *same)))

    def with_axes(self, axes: Mapping[str, tuple[Any, ...]]) -> "Study":
        """Return the study with axes of its grid replaced or added."""
        return replace(self, grid=dict(self.grid) | dict(axes))

    def parse_axis(self, axis: str, text: str) -> tuple[Any, ...]:
        """Read comma-separated `text` as values of `axis`.

        Raises:
            InvalidInput: the axis is unknown, or an entry is not of its type.
        """
        if axis not in self.axes:
            raise InvalidInput.not_one_of(f"an axis of {self.name}", axis, self.axes)
        return parse_values(axis, text, self.axes[axis])

    @property
    def axes(self) -> dict[str, Any]:
        """Every field of the cells that may be an axis -> a value of its type."""
        elsewhere = {"study", "model", "seed", "device", "train_limit", "test_limit"}
        elsewhere |= {"precision", "plain", *_OF_CODE}
        defaults = {
            field.name: field.default
            for field in dataclasses.fields(self.spec)
            if field.name not in elsewhere and field.default is not dataclasses.MISSING
        }
        given = {axis: v[0] for axis, v in self.grid.items() if axis != "device"}
        return defaults | self._arguments | given


def find(name: str) -> Study:
    """Return the study that the user calls `name`; what it has of its own can then be found, too.

    Raises:
        InvalidInput: there is no such study, or its file cannot be imported.
    """
    found = lookup.find("studies", name)
    if not isinstance(found, Study):
        raise InvalidInput(f"{name} is no Study, but {found!r:.80}")
    if lookup.ours("studies").get(found.name, found) != found:
        raise InvalidInput(f"there is a study {found.name} already: give yours another name")
    found.register()
    if not found.has_own:
        return found
    placed = replace(found, place=lookup.absolute(name))
    lookup.registered.setdefault(lookup.PLACES, {})[found.name] = placed.place
    return placed


def _data(value: Any) -> Any:
    """Return the `OwnData` that a value of the axis stands for; the value if it is a known name."""
    return value if isinstance(value, OwnData) else datasets.found(value)


def _own_label(limits: Limits, *departures: str) -> str:
    return "-".join(["custom", str(limits.train or "all"), str(limits.test or "all"), *departures])


def parse_values(name: str, text: str, like: Any) -> tuple[Any, ...]:
    """Read a comma-separated list as values of the type of `like`.

    Raises:
        InvalidInput: the list is empty, or an entry is not of that type.
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
