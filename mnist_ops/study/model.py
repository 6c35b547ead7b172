"""What a model is, to a spec and to a fit: a function that makes one, and its arguments."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.study import lookup, source

# What an argument may be: JSON has these, and they are written as they are read.
Argument = bool | int | float | str | None
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")


@dataclass(frozen=True, eq=False)
class Model:
    """A model that is not fitted yet.

    Attributes:
        name: as in specs and on the command line.
        title: as in tables.
        build: makes one, its weights drawn anew. A network is made for images of a shape (channels,
            height, width) and a number of classes, its two arguments without a name; what
            `EstimatorSpec` fits has none. Further arguments are given by name.
        arguments: name -> default of each argument that may be an axis.
        code: the digest of a user's function; empty for a model with a name of its own.
        flops: of a pass over one image, by which fits are ordered and forecast; 1 if unknown.
    """

    name: str
    title: str
    build: Callable[..., Any]
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    code: str = ""
    flops: int = 1


def named(name: str) -> Model:
    """Return the model called `name`; raises `InvalidInput` where there is none."""
    found: Model = lookup.named("models", name)
    return found


class OtherCode(MnistOpsError):
    """The code of a model is not here as its spec has it."""

    resumable = True


def with_code(name: str, code: str) -> Model:
    """Return the model called `name`, whose code has the digest `code` (see `Model.code`).

    Raises:
        InvalidInput: there is no model of that name.
        OtherCode: a study has to be named that has it, or its code has changed since.
    """
    if not code:
        return named(name)
    check_registered("models", name)
    found = named(name)
    if found.code != code:
        raise OtherCode(
            f"the code of {name} changed since: bring back that of digest {code} (it is "
            f"{found.code} now), or run and register the study again"
        )
    return found


def check_registered(kind: str, name: str) -> None:
    """Raise `OtherCode` where no study in use has something of its own called `name`."""
    if not lookup.is_registered(kind, name):
        raise OtherCode(f"{name} is of a study's own file: name that with --study FILE.py")


@cache
def of_function(function: Callable[..., Any]) -> Model:
    """Return the model that a user's function makes, called like the function.

    Raises:
        InvalidInput: its name is none for a model, or its source cannot be read.
    """
    name = check_name("a model", getattr(function, "__name__", repr(function)))
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the arguments of {name} cannot be read: {error}") from None
    defaults = {
        each.name: each.default
        for each in parameters
        if each.default is not each.empty or each.kind is each.KEYWORD_ONLY
    }
    return Model(name, name, function, defaults, source.digest(function))


def check_name(what: str, name: str) -> str:
    """Return `name`, which runs, files and tags can have.

    Raises:
        InvalidInput: it is not such a name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{what} is called {name!r}: a name has up to 60 letters, digits, and _ . - between"
        )
    return name
