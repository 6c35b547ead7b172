"""Specs of the cells of a study, and their fingerprints.

A spec has everything that determines a result, and nothing else. Specs with the same canonical form
are the same experiment.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, ClassVar

from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import dataset as datasets
from mnist_ops.study import lookup
from mnist_ops.study.dataset import Dataset
from mnist_ops.study.model import check_name, check_registered

OPTIMIZERS = ("SGD", "Adam")
DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "bfloat16", "float16")
# Default type of mixed precision, by device.
DEFAULT_PRECISION: Mapping[str, str] = MappingProxyType({"cpu": "bfloat16", "cuda": "float16"})
KERNELS = ("linear", "poly", "rbf", "sigmoid", "laplacian")
GAMMAS = ("scale", "auto")
SCHEDULES = CONSTANT, COSINE = ("constant", "cosine")
AUGMENTATIONS = NO_AUGMENTATION, SHIFT, FLIP, SHIFT_FLIP = ("none", "shift", "flip", "shift-flip")
# Source of the test images: drawn from all images, or the published test images.
POOLED, OFFICIAL = PARTS = ("pooled", "official")

# Part of every fingerprint: increased when the meaning of a field changes, so that old results do
# not count for the new meaning.
SCHEMA = 1
# Fields that were added later, and their implicit value before. With that value they are not in the
# canonical form, so older fingerprints stay valid.
ADDED: Mapping[str, Any] = MappingProxyType(
    {
        "parts": POOLED,
        "data_digest": "",
        "code": "",
        "arguments": (),
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "schedule": CONSTANT,
        "augmentation": NO_AUGMENTATION,
    }
)
_REGULARISING = ("weight decay", "label smoothing", "schedule", "augmentation")
# Fields that are no params of runs: the study's name, sizes, and what `arguments` stand for.
_NO_PARAMS = ("study", "train_limit", "test_limit", "data_digest", "code", "arguments")
_ARGUMENTS = (bool, int, float, str, type(None))
_MAX_ARGUMENT = 250


def pinning_matters(device: str) -> bool:
    """Return whether pinned memory changes anything: without an accelerator nothing is copied."""
    return device != "cpu"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The fields that every cell has.

    Attributes:
        study: name of the study the cell belongs to.
        dataset: name of a data set in `mnist_ops.study.lookup`.
        model: name of the model, one of `models`.
        seed: of the split, the initial weights and the data order; 0 or more.
        device: ``cpu`` or ``cuda``, where the fit runs.
        train_limit: number of training images, drawn stratified; 0 is all.
        test_limit: test images, likewise.
        parts: ``pooled`` draws training, validation and test images from all images of the data
            set; ``official`` tests on the images published for it, and trains on none of them.
        data_digest: of the images, where a user's study has the data set; else empty.
        code: of the model, where a user's function makes it (see `study.source`); else empty. A
            spec with either can be read where the user's code is not.
        arguments: name and value of each argument of that function, sorted.

    Raises:
        InvalidInput: a field has a value that is not allowed; the message names both.
    """

    family: ClassVar[str]
    # Whether each cell of a fit group has a time of its own.
    timed_each: ClassVar[bool] = False
    # Whether a user's function may make the model.
    takes_functions: ClassVar[bool] = False
    added: ClassVar[Mapping[str, Any]] = ADDED

    study: str
    dataset: str
    model: str
    seed: int = 0
    device: str = "cpu"
    train_limit: int = 0
    test_limit: int = 0
    parts: str = POOLED
    data_digest: str = ""
    code: str = ""
    arguments: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        _one_of("parts", self.parts, PARTS)
        for name in ("data_digest", "code"):
            if not re.fullmatch("([0-9a-f]{16})?", str(getattr(self, name))):
                raise InvalidInput(f"{name} must be 16 hexadecimal digits, or empty")
        # Which classes a user's data set has is known where the study is (see `Study.cells`).
        n_classes = 2 if self.data_digest else self.data.n_classes
        if self.code and self.takes_functions:
            check_name("a model", self.model)
        else:
            _one_of("model", self.model, self.models())
        if self.data_digest:
            check_name("a data set", self.dataset)
        object.__setattr__(self, "arguments", _sorted_arguments(self.arguments))
        _one_of("device", self.device, DEVICES)
        _whole("seed", self.seed, at_least=0)
        for name in ("train_limit", "test_limit"):
            limit = getattr(self, name)
            _whole(name, limit, at_least=0)
            if 0 < limit < n_classes:
                raise InvalidInput(
                    f"{name} must be 0 (all images) or at least {n_classes}, one image a class; "
                    f"got {limit}"
                )

    @classmethod
    def models(cls) -> tuple[str, ...]:
        """Return the allowed values of `model`."""
        raise NotImplementedError

    @property
    def data(self) -> Dataset:
        """The data set that it names.

        Raises:
            InvalidInput: that is not known.
            OtherCode: it is of a user's study, which is not in use.
        """
        if self.data_digest:
            check_registered("datasets", self.dataset)
        return datasets.named(self.dataset)

    @property
    def val_limit(self) -> int:
        """Number of validation images: a seventh of `train_limit`, as in the split; 0 is all."""
        return max(round(self.train_limit / 7), self.data.n_classes) if self.train_limit else 0

    @property
    def canonical(self) -> str:
        """The spec as JSON with sorted keys, equal for equal experiments."""
        fields = self._fields() | {"family": self.family, "schema": SCHEMA}
        fields = {k: v for k, v in fields.items() if k not in self.added or v != self.added[k]}
        if self.arguments:
            fields["arguments"] = dict(self.arguments)
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical form."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Name of the run, unique within a study at one size."""
        raise NotImplementedError

    @property
    def description(self) -> str:
        """The spec in one sentence."""
        raise NotImplementedError

    @property
    def params(self) -> dict[str, Any]:
        """Params of the run."""
        fields = self._fields()
        return {k: v for k, v in fields.items() if k not in _NO_PARAMS} | dict(self.arguments)

    def _fields(self) -> dict[str, Any]:
        # `dataclasses.asdict` copies each value, and a report asks for thousands.
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def length(self) -> int:
        """Number of steps of the fit's progress, such as epochs."""
        return 1

    @property
    def fit_group(self) -> str:
        """Key of the fit group: cells with the same key share one fit."""
        return self.fingerprint

    @property
    def fit_order(self) -> tuple[Any, ...]:
        """Sort key within a fit group, of which the first cell is fitted."""
        return ()

    def steps(self, n_train: int) -> int:
        """Return the number of steps of a training on `n_train` images; 0 for other fits."""
        return 0

    def on(self, device: str) -> "Spec":
        """Return the spec for another device; itself if it has only one."""
        return self

    @property
    def departures(self) -> tuple[str, ...]:
        """Settings, beside the size, that no preset has, for the preset tag."""
        return () if self.parts == POOLED else (self.parts,)

    @property
    def _suffix(self) -> str:
        device = "" if self.device == "cpu" else f"-{self.device}"
        parts = "" if self.parts == POOLED else f"-{self.parts}"
        given = "".join(f"-{name}{_short(value)}" for name, value in self.arguments)
        return f"{given}-s{self.seed}{device}{parts}"

    @property
    def _given(self) -> str:
        """The arguments as a part of a sentence."""
        return "".join(f", {name} {_short(value)}" for name, value in self.arguments)


@dataclass(frozen=True, kw_only=True)
class ResNetSpec(Spec):
    """One training of a ResNet.

    Attributes:
        batch_size: images a step.
        optimizer: ``SGD`` (with `momentum`) or ``Adam``.
        learning_rate: of the first step.
        momentum: of SGD; Adam ignores it.
        epochs: passes over the training images.
        pin_memory: whether batches for a CUDA device use pinned host memory; no effect on a CPU.
        precision: ``float32``, or the type that automatic mixed precision computes in; ``auto``
            becomes the usual one of the device.
        plain: whether torchvision's network is trained without rewriting it.
        weight_decay: of every weight, as torch's SGD and AdamW have it; 0 for none.
        label_smoothing: share of each target that all classes get; 0 for none.
        schedule: ``constant``, or ``cosine`` from the learning rate to 0 over all steps.
        augmentation: of training images, each time that they are used: ``none``; ``shift`` by up to
            an eighth of the image, ``flip`` of every other one left to right, or ``shift-flip``.
    """

    family: ClassVar[str] = "resnet"
    takes_functions: ClassVar[bool] = True

    batch_size: int
    optimizer: str
    learning_rate: float
    epochs: int
    pin_memory: bool = False
    momentum: float = 0.9
    precision: str = "auto"
    plain: bool = False
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    schedule: str = CONSTANT
    augmentation: str = NO_AUGMENTATION

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("augmentation", self.augmentation, AUGMENTATIONS)
        _share(self, "weight_decay")
        _share(self, "label_smoothing")
        if self.precision == "auto":
            object.__setattr__(self, "precision", DEFAULT_PRECISION[self.device])
        _one_of("precision", self.precision, ("auto", *PRECISIONS))
        _whole("batch_size", self.batch_size, at_least=2)
        _whole("epochs", self.epochs, at_least=1)
        _positive(self, "learning_rate")
        if not 0 <= self.momentum < 1:
            raise InvalidInput(f"momentum must be from 0 to below 1, got {self.momentum!r}")
        for name in ("pin_memory", "plain"):
            _flag(name, getattr(self, name))
        if self.precision == "float16" and self.device == "cpu":
            raise InvalidInput("precision float16 needs device cuda; a CPU computes in bfloat16")

    @classmethod
    def models(cls) -> tuple[str, ...]:
        """Return the names of networks."""
        return lookup.known("models")

    @property
    def length(self) -> int:
        """Number of epochs."""
        return self.epochs

    @property
    def fit_group(self) -> str:
        """Without the epochs at a constant rate: a shorter training then begins a longer one.

        Without an accelerator there is no transfer that pinned memory could change, either.
        """
        pin_memory = self.pin_memory and pinning_matters(self.device)
        epochs = 1 if self.schedule == CONSTANT else self.epochs
        return dataclasses.replace(self, epochs=epochs, pin_memory=pin_memory).fingerprint

    @property
    def fit_order(self) -> tuple[Any, ...]:
        """Most epochs first, then without pinned memory."""
        return -self.epochs, self.pin_memory

    def steps(self, n_train: int) -> int:
        """Return the steps of all epochs."""
        return self.epochs * -(-n_train // self.batch_size)

    def on(self, device: str) -> "ResNetSpec":
        """Return the spec for another device, with the default type of mixed precision there."""
        precision = "auto" if self.amp else self.precision
        return dataclasses.replace(self, device=device, precision=precision)

    @property
    def amp(self) -> bool:
        """Return whether the fit uses automatic mixed precision."""
        return self.precision != "float32"

    @property
    def name(self) -> str:
        """For example ``MODEL-DATASET-adam-lr0.001-bs16-e5-pin0-s0``."""
        return (
            f"{self.model}-{self.dataset.lower()}-{self.optimizer.lower()}"
            f"-lr{self.learning_rate:g}-bs{self.batch_size}-e{self.epochs}"
            f"-pin{int(self.pin_memory)}{self._regularised('-wd', '-ls', '-', '-aug-')}"
            f"{self._suffix}"
        )

    @property
    def description(self) -> str:
        """For example ``MODEL on DATASET: Adam, learning rate 0.001, ...``."""
        momentum = f" with momentum {self.momentum:g}" if self.optimizer == "SGD" else ""
        pinned = ", pinned host memory" if self.pin_memory else ""
        return (
            f"{self.model} on {self.dataset}: {self.optimizer}{momentum}, learning rate "
            f"{self.learning_rate:g}, batch size {self.batch_size}, {self.epochs} epochs{pinned}; "
            f"{self.precision} on {self.device}, seed {self.seed}"
            f"{self._regularised(*(f', {each} ' for each in _REGULARISING))}"
            f"{self._given}"
        )

    def _regularised(self, decay: str, smoothing: str, schedule: str, augmentation: str) -> str:
        """Return what the training has beyond the usual, each with a text before it."""
        parts = [f"{decay}{self.weight_decay:g}"] if self.weight_decay else []
        parts += [f"{smoothing}{self.label_smoothing:g}"] if self.label_smoothing else []
        parts += [f"{schedule}{self.schedule}"] if self.schedule != CONSTANT else []
        augmented = self.augmentation != NO_AUGMENTATION
        parts += [f"{augmentation}{self.augmentation}"] if augmented else []
        return "".join(parts)

    @property
    def params(self) -> dict[str, Any]:
        """Params of the run, with `amp`."""
        return super().params | {"amp": self.amp}

    @property
    def departures(self) -> tuple[str, ...]:
        """Also another precision than the device's default, and the plain network."""
        precision = () if self.precision == DEFAULT_PRECISION[self.device] else (self.precision,)
        return (*super().departures, *precision, *((keys.PLAIN,) if self.plain else ()))


@dataclass(frozen=True, kw_only=True)
class SvmSpec(Spec):
    """One fit of a support vector classifier.

    Attributes:
        kernel: one of `KERNELS`.
        C: inverse strength of the regularisation.
        gamma: ``scale`` (1 / (features * variance)), ``auto`` (1 / features), or a number.
        degree: of the polynomial kernel.
        plain: whether scikit-learn's `SVC` fits each classifier on its own.
    """

    family: ClassVar[str] = "svm"
    timed_each: ClassVar[bool] = True
    added: ClassVar[Mapping[str, Any]] = {**ADDED, "plain": False}

    model: str = "svm"
    kernel: str
    C: float
    gamma: str | float = "scale"
    degree: int = 3
    plain: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("device", self.device, ("cpu",))
        _flag("plain", self.plain)
        _one_of("kernel", self.kernel, KERNELS)
        _positive(self, "C")
        _whole("degree", self.degree, at_least=1)
        if isinstance(self.gamma, str):
            _one_of("gamma", self.gamma, (*GAMMAS, "a positive number"))
        else:
            _positive(self, "gamma")

    @classmethod
    def models(cls) -> tuple[str, ...]:
        """Return the only allowed value."""
        return (cls.family,)

    @property
    def fit_group(self) -> str:
        """Key without C and the rule for gamma, as such cells share kernel values."""
        gamma = "scale" if isinstance(self.gamma, str) else self.gamma
        return dataclasses.replace(self, C=1.0, gamma=gamma).fingerprint

    @property
    def departures(self) -> tuple[str, ...]:
        """Also the plain fit."""
        return (*super().departures, *((keys.PLAIN,) if self.plain else ()))

    @property
    def name(self) -> str:
        """For example ``svm-DATASET-rbf-c10-gscale-s0``."""
        return f"svm-{self.dataset.lower()}-{self.kernel}-c{self.C:g}-g{self._gamma}{self._suffix}"

    @property
    def description(self) -> str:
        """For example ``SVM on DATASET: rbf kernel, C 10, gamma scale; seed 0``."""
        degree = f" of degree {self.degree}" if self.kernel == "poly" else ""
        return (
            f"SVM on {self.dataset}: {self.kernel} kernel{degree}, C {self.C:g}, "
            f"gamma {self._gamma}; seed {self.seed}"
        )

    @property
    def _gamma(self) -> str:
        return self.gamma if isinstance(self.gamma, str) else f"{self.gamma:g}"


@dataclass(frozen=True, kw_only=True)
class EstimatorSpec(Spec):
    """One fit of whatever a user's function makes that has `fit` and `predict`, as scikit-learn's.

    It is given ``seed`` or ``random_state`` where it takes one; its other arguments are axes.
    """

    family: ClassVar[str] = "estimator"
    takes_functions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("device", self.device, ("cpu",))

    @classmethod
    def models(cls) -> tuple[str, ...]:
        """Return no names: each is a function of the study."""
        return ()

    @property
    def name(self) -> str:
        """For example ``forest-DATASET-trees100-s0``."""
        return f"{self.model}-{self.dataset.lower()}{self._suffix}"

    @property
    def description(self) -> str:
        """For example ``forest on DATASET, trees 100; seed 0``."""
        return f"{self.model} on {self.dataset}{self._given}; seed {self.seed}"


# A reader of runs asks twice for each.
@lru_cache(maxsize=16)
def from_canonical(text: str) -> Spec:
    """Return the spec with the canonical form `text`, as in the spec tag of runs.

    Raises:
        InvalidInput: the text is not a spec, is of another schema, or has an invalid value.
    """
    try:
        fields = json.loads(text)
        family, schema = fields.pop("family"), fields.pop("schema")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidInput("a spec cannot be read") from None
    if schema != SCHEMA or str(family) not in lookup.known("methods"):
        raise InvalidInput(f"a spec has family {family!r} and schema {schema!r}: not known here")
    try:
        spec: Spec = lookup.named("methods", str(family)).spec(**fields)
    except (TypeError, OverflowError) as error:
        raise InvalidInput(f"a spec cannot be read: {error}") from None
    return spec


def _sorted_arguments(given: Any) -> tuple[tuple[str, Any], ...]:
    """Return arguments, from JSON or from a study, in the one form that equal ones have."""
    pairs = dict(given)
    for name, value in pairs.items():
        is_finite = not isinstance(value, float) or math.isfinite(value)
        if not (str(name).isidentifier() and isinstance(value, _ARGUMENTS) and is_finite):
            raise InvalidInput(
                f"argument {name} must be a number, a text, true, false or None; got {value!r}"
            )
        if len(str(value)) > _MAX_ARGUMENT or not str(value).isprintable():
            raise InvalidInput(f"argument {name} must be printable and short, got {value!r:.60}")
    return tuple(sorted(pairs.items()))


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _share(spec: Spec, field: str) -> None:
    value = getattr(spec, field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InvalidInput(f"{field} must be from 0 to below 1, got {value!r}")
    object.__setattr__(spec, field, float(value))


def _flag(field: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidInput(f"{field} must be true or false, got {value!r}")


def _one_of(field: str, value: object, allowed: Iterable[str]) -> None:
    if value not in (allowed := tuple(allowed)):
        raise InvalidInput.not_one_of(field, value, allowed)


def _whole(field: str, value: object, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise InvalidInput(f"{field} must be a whole number of at least {at_least}, got {value!r}")


def _positive(spec: Spec, field: str) -> None:
    value = getattr(spec, field)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise InvalidInput(f"{field} must be a positive number, got {value!r}")
    # 10 and 10.0 are the same experiment, so they must have the same canonical form.
    object.__setattr__(spec, field, float(value))
