"""Check the values of a run from a store or a file, which are untrusted."""

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
        keys.AUGMENTATION: "text",
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
# Longest param and tag of MLflow stores, in characters.
MAX_PARAM = 6000
MAX_TAG = 8000
# Larger than any data set.
MAX_IMAGES = 1_000_000
# Tags that identify a cell.
_LABELS: Mapping[str, str] = MappingProxyType(
    {"fingerprint": keys.FINGERPRINT, "study": keys.STUDY, "preset": keys.PRESET}
)
_SHARES = frozenset({keys.TEST_ACCURACY, keys.TEST_F1, keys.TEST_F1_MACRO, keys.VAL_ACCURACY})
_FLAGS: Mapping[str, bool] = MappingProxyType(
    {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
)
# Values of other programs for params that do not apply.
_ABSENT = frozenset({"", "none", "nan", "null", "n/a"})
# Larger than any measurement, and far from overflow.
_MAX_NUMBER = 1e18
# Largest integer for a column of 64 bits.
MAX_WHOLE = 2**62
_MAX_TEXT = 250
_SHOWN = 40


class OtherVersion(ValueError):
    """A spec is of a version of the program that this version cannot read."""


def flag(text: str) -> bool | None:
    """Parse a flag; return None for any other text."""
    return _FLAGS.get(text.lower())


def is_measurement(value: object) -> bool:
    """Return whether `value` is a number in the range of measurements."""
    return isinstance(value, int | float) and abs(value) <= _MAX_NUMBER


def check_cell(
    tags: Mapping[str, str],
    params: Mapping[str, str],
    metrics: Mapping[str, Any],
    *,
    finished: bool,
) -> Spec | None:
    """Check the values of a cell's run, and that they match its fingerprint.

    Only params and metrics with names of this program are checked.

    Returns:
        The spec, from the spec tag or else from the params. None without a spec tag if the params
        give another fingerprint, as for runs of other programs.

    Raises:
        OtherVersion: everything is valid, but this version of the program cannot read the spec.
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
        # NaN stands for a missing metric.
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
        raise ValueError("its fingerprint does not match its spec")
    if tags.get(keys.STUDY) != spec.study:
        raise ValueError(f"its study is {shown(tags.get(keys.STUDY))}, by its spec {spec.study}")
    for name, value in spec.params.items():
        if isinstance(value, int) and value > MAX_WHOLE:
            raise ValueError(f"its spec has a {name} of {shown(value)}")
        if name in params and not _same(value, params[name]):
            raise ValueError(f"its param {name} is {shown(params[name])}, by its spec {value}")
    return spec


def shown(value: object) -> str:
    """Format a value for a message: short, on one line, text in quotes."""
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
    # Only short names: the content of a store must not decide which code is imported.
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
    """Convert a param to the type of its field in a spec."""
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
