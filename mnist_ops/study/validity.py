"""Check the values of a run from a store or a file, which may hold anything."""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import lookup
from mnist_ops.study.specs import Spec, from_canonical

PARAMS: Mapping[str, str] = MappingProxyType(
    {
        keys.DATASET: "text",
        keys.MODEL: "text",
        keys.BATCH_SIZE: "whole",
        keys.OPTIMIZER: "text",
        keys.LEARNING_RATE: "number",
        keys.MOMENTUM: "number",
        keys.EPOCHS: "whole",
        keys.PIN_MEMORY: "flag",
        keys.AMP: "flag",
        keys.PRECISION: "text",
        keys.SEED: "whole",
        keys.DEVICE: "text",
        keys.KERNEL: "text",
        keys.C: "number",
        keys.GAMMA: "text",
        keys.DEGREE: "whole",
        keys.WEIGHT_DECAY: "number",
        keys.LABEL_SMOOTHING: "number",
        keys.SCHEDULE: "text",
        keys.N_TRAIN: "whole",
        keys.N_VAL: "whole",
        keys.N_TEST: "whole",
    }
)

METRICS = (
    keys.TEST_ACCURACY,
    keys.TEST_F1,
    keys.TEST_F1_MACRO,
    keys.VAL_ACCURACY,
    keys.TRAIN_LOSS,
    keys.TRAIN_TIME_S,
    keys.PREDICT_TIME_S,
    keys.IMAGES_PER_SECOND,
    keys.FLOPS,
    keys.FLOPS_FVCORE,
    keys.PARAMETERS,
    keys.LIVE_PARAMETERS,
    keys.SUPPORT_VECTORS,
)

# Milliseconds since 1970, up to the year 2200.
MAX_TIME = 7_258_118_400_000
# What MLflow stores take of a param and a tag, in characters.
MAX_PARAM = 6000
MAX_TAG = 8000
# Beyond the number of images in any data set.
MAX_IMAGES = 1_000_000
# Tags that say what a run is.
_LABELS: Mapping[str, str] = MappingProxyType(
    {"fingerprint": keys.FINGERPRINT, "study": keys.STUDY, "preset": keys.PRESET}
)
_SHARES = frozenset({keys.TEST_ACCURACY, keys.TEST_F1, keys.TEST_F1_MACRO, keys.VAL_ACCURACY})
_FLAGS: Mapping[str, bool] = MappingProxyType(
    {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
)
# What a foreign store writes where a param does not apply.
_ABSENT = frozenset({"", "none", "nan", "null", "n/a"})
# Beyond anything that is measured, and far from where arithmetic overflows.
_MAX_NUMBER = 1e18
# What a column of 64 bits takes.
MAX_WHOLE = 2**62
_MAX_TEXT = 250
_SHOWN = 40


class OtherVersion(ValueError):
    """A spec is of a version of the program that this one cannot read."""


def flag(text: str) -> bool | None:
    """Return the flag that `text` means; None where it means none."""
    return _FLAGS.get(text.lower())


def is_measurement(value: object) -> bool:
    """Return whether `value` is a number that a measurement can give."""
    return isinstance(value, int | float) and abs(value) <= _MAX_NUMBER


def check_cell(
    tags: Mapping[str, str],
    params: Mapping[str, str],
    metrics: Mapping[str, Any],
    *,
    finished: bool,
) -> Spec | None:
    """Check the values of a cell's run, and that they fit its fingerprint.

    Params and metrics of other names than the program's own are not checked.

    Returns:
        The spec of the fingerprint, from the spec tag or else the params; None without a spec tag
        where the params give another fingerprint: another program wrote the run.

    Raises:
        OtherVersion: all else is valid, and this version of the program cannot read the spec.
        ValueError: a value is invalid or contradicts the spec; the message is the end of a
            sentence about the run.
    """
    for name, key in _LABELS.items():
        text = tags.get(key, "")
        absent = not text and key == keys.PRESET
        if not absent and not (text and len(text) <= _MAX_TEXT and text.isprintable()):
            raise ValueError(f"its {name} is {shown(text)}")
    _check_params(params)
    if keys.SPEC not in tags and finished and not (params.keys() & PARAMS.keys()):
        raise ValueError("it has neither a spec nor params")
    _check_metrics(metrics, finished=finished)
    return _spec_of(tags[keys.FINGERPRINT], tags, params)


def _check_params(params: Mapping[str, Any]) -> None:
    for name, kind in PARAMS.items():
        text = params.get(name, "")
        if text.strip().lower() in _ABSENT:
            continue
        if len(text) > _MAX_TEXT or not _is_of(kind, text):
            raise ValueError(f"its param {name} is {shown(text)}")


def _check_metrics(metrics: Mapping[str, Any], *, finished: bool) -> None:
    for name in METRICS:
        # NaN stands for a metric that is not there.
        value = metrics.get(name, math.nan)
        least = -_MAX_NUMBER if name == keys.TRAIN_LOSS else 0
        most = 1 if name in _SHARES else _MAX_NUMBER
        is_number = isinstance(value, int | float)
        if not is_number or not (math.isnan(value) or least <= value <= most):
            raise ValueError(f"its metric {name} is {shown(value)}")
    if finished and math.isnan(metrics.get(keys.TEST_ACCURACY, math.nan)):
        raise ValueError(f"it is finished without a {keys.TEST_ACCURACY}")


def _spec_of(fingerprint: str, tags: Mapping[str, str], params: Mapping[str, str]) -> Spec | None:
    if keys.SPEC not in tags:
        return _spec_by_params(fingerprint, tags, params)
    try:
        spec = from_canonical(tags[keys.SPEC])
    except InvalidInput as error:
        raise OtherVersion(f"this version cannot read its spec ({str(error)[:80]})") from None
    if spec.fingerprint != fingerprint:
        raise ValueError("its fingerprint is not that of its spec")
    if tags.get(keys.STUDY) != spec.study:
        raise ValueError(f"its study is {shown(tags.get(keys.STUDY))}, by its spec {spec.study}")
    for name, value in spec.params.items():
        if isinstance(value, int) and value > MAX_WHOLE:
            raise ValueError(f"its spec has a {name} of {shown(value)}")
        if name in params and not _same(value, params[name]):
            raise ValueError(f"its param {name} is {shown(params[name])}, by its spec {value}")
    return spec


def shown(value: object) -> str:
    """Return a value for a message: on one short line, in quotes where it is text."""
    text = repr(value[:_SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_of(kind: str, text: str) -> bool:
    if kind == "text":
        return text.isprintable()
    if kind == "flag":
        return flag(text) is not None
    try:
        number = float(text)
    except ValueError:
        return False
    return math.isfinite(number) and (
        kind == "number" or (number % 1 == 0 and abs(number) <= MAX_WHOLE)
    )


def _same(value: object, text: str) -> bool:
    if isinstance(value, bool):
        return flag(text) is value
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text == value


def _spec_by_params(
    fingerprint: str, tags: Mapping[str, str], params: Mapping[str, str]
) -> Spec | None:
    study = tags.get(keys.STUDY, "")
    sizes = [(0, 0), tuple(_value(n, params.get(n, "")) for n in (keys.N_TRAIN, keys.N_TEST))]
    # Only a short name is looked up: what a store says must not decide which code is imported.
    if study in lookup.known("studies"):
        presets = lookup.named("studies", study).presets
        if preset := presets.get(tags.get(keys.PRESET, "")):
            sizes.append((preset.limits.train, preset.limits.test))
    for kind in (lookup.named("methods", name).spec for name in lookup.known("methods")):
        given: dict[str, Any] = {
            field.name: _value(field.name, params[field.name])
            for field in dataclasses.fields(kind)
            if field.name in params
        }
        if keys.PRECISION not in params and keys.PRECISION in kind.__dataclass_fields__:
            given[keys.PRECISION] = "bfloat16" if flag(params.get(keys.AMP, "")) else "float32"
        for train, test in sizes:
            try:
                spec: Spec = kind(study=study, **given, train_limit=train, test_limit=test)
            except (InvalidInput, TypeError):
                continue
            if spec.fingerprint == fingerprint:
                return spec
    return None


def _value(name: str, text: str) -> Any:
    """A param as the field of a spec that it is."""
    kinds = {**PARAMS, keys.PLAIN: "flag"}
    kind = kinds.get(name, "text")
    try:
        if kind == "flag":
            return flag(text)
        if kind == "whole":
            return int(text)
        return float(text) if kind == "number" or name == keys.GAMMA else text
    except ValueError:
        return text
