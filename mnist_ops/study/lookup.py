"""Find data sets, models, methods, studies and papers by name.

A short name belongs to this project or to an installed package, which declares it as an entry point
of the group ``mnist_ops.datasets``, ``mnist_ops.models`` and so on. Any other object is named by
its location: ``package.module:NAME`` or ``folder/file.py:NAME``. What a user's study has of its own
gets its short name when the study is used (`register`).
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import mnist_ops
from mnist_ops.core.errors import InvalidInput

# What is looked up -> where this project declares its own, as a mapping by name; a place that
# begins with a dot or colon is in `pipelines`. It has no entry points for them: the environments
# that `mlflow run` makes do not install the project.
_OURS = MappingProxyType(
    {
        "datasets": "mnist_ops.data.catalog:DATASETS",
        "models": "mnist_ops.fitting.resnet.catalog:MODELS",
        "methods": "mnist_ops.study.method:METHODS",
        "studies": ":STUDIES",
        "papers": ".paper:PAPERS",
    }
)
_SINGULAR = MappingProxyType(
    {
        "datasets": "dataset",
        "models": "model",
        "methods": "method",
        "studies": "study",
        "papers": "paper",
    }
)


# What studies have of their own, by kind and name, and the studies' places, for other processes;
# and the folders of the files being imported.
PLACES = "places"
registered: dict[str, dict[str, Any]] = {}
_folders: list[Path] = []


def find(kind: str, name: str) -> Any:
    """Return the object with the name `name`.

    Args:
        kind: ``datasets``, ``models``, ``methods``, ``studies`` or ``papers``.
        name: a short name, ``module:NAME`` or ``file.py:NAME``; for a file alone, the object
            named after its kind, such as ``STUDY``.

    Raises:
        InvalidInput: there is no such object, or its module cannot be imported.
    """
    place = f"{name}:{_SINGULAR[kind].upper()}" if name.endswith(".py") else name
    return load(place) if ":" in place else named(kind, name)


def named(kind: str, name: str) -> Any:
    """Return the object with the short name `name`; never imports code that the name gives.

    Raises:
        InvalidInput: there is none.
    """
    if (found := ours(kind).get(name)) is not None:
        return found
    if name in _installed(kind):
        return load(_installed(kind)[name])
    if name in registered.get(kind, {}):
        return registered[kind][name]
    raise InvalidInput.not_one_of(_SINGULAR[kind], name, known(kind))


def register(kind: str, name: str, value: Any) -> None:
    """Let `value`, which a study has of its own, be found as `name`.

    Raises:
        InvalidInput: this project or an installed package has something of that name.
    """
    if name in known(kind):
        raise InvalidInput(f"there is a {_SINGULAR[kind]} {name} already: give yours another name")
    registered.setdefault(kind, {})[name] = value


def is_registered(kind: str, name: str) -> bool:
    """Return whether a study that is in use has something of its own called `name`."""
    return name in registered.get(kind, {})


def known(kind: str) -> tuple[str, ...]:
    """Return the short names of a kind: this project's, then those of installed packages."""
    return tuple(dict.fromkeys([*ours(kind), *_installed(kind)]))


def ours(kind: str) -> Mapping[str, Any]:
    """Return this project's objects of a kind, by name."""
    if kind not in _OURS:
        return {}
    place = _OURS[kind]
    declared: Mapping[str, Any] = load(_pipelines() + place if place[0] in ".:" else place)
    return declared


@cache
def _pipelines() -> str:
    """Return the name by which this project's `pipelines` can be imported.

    A wheel has it inside `mnist_ops`, a checkout beside it. Users may have a `pipelines` of their
    own, which is never imported for ours.
    """
    package = Path(mnist_ops.__file__).resolve().parent
    if not (package / "pipelines").is_dir():
        found = importlib.util.find_spec("pipelines")
        beside = package.parent / "pipelines" / "__init__.py"
        if found is not None and found.origin and Path(found.origin).resolve() == beside:
            return "pipelines"
        mnist_ops.__path__.append(str(package.parent))
    return "mnist_ops.pipelines"


def load(place: str) -> Any:
    """Return the object at `place`, ``module:NAME`` or ``file.py:NAME``.

    Raises:
        InvalidInput: it cannot be imported, or has no such name.
    """
    module, _, name = place.rpartition(":")
    try:
        found = _file(module) if module.endswith(".py") else importlib.import_module(module)
        return getattr(found, name)
    except (Exception, SystemExit) as error:
        # A user's module may raise anything when it is imported, also SystemExit.
        kind = "" if isinstance(error, InvalidInput) else f"{type(error).__name__}: "
        reason = kind + " ".join(str(error).split())
        raise InvalidInput(f"{place} cannot be loaded: {reason}") from error


@cache
def _installed(kind: str) -> Mapping[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=f"mnist_ops.{kind}")}


def absolute(place: str) -> str:
    """Return the place of a study with the whole path of its file."""
    file, _, name = (f"{place}:STUDY" if place.endswith(".py") else place).rpartition(":")
    return f"{beside(file)}:{name}" if file.endswith(".py") else place


def beside(name: str) -> Path:
    """Return the path called `name`: from the file being imported, or else the current folder."""
    path = Path(name).expanduser()
    from_file = _folders[-1] / path if _folders else path
    return (from_file if from_file.exists() else path).absolute()


def _file(file: str) -> ModuleType:
    path = beside(file)
    return _module(path, hashlib.sha256(path.read_bytes()).hexdigest())


@cache
def _module(path: Path, content: str) -> ModuleType:
    """Import a file once for each content: a process may live longer than one version of it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Pickling looks up classes of the file there.
    sys.modules.setdefault(path.stem, module)
    with _importing_from(path.parent), suppress(_ImportedFarEnough):
        spec.loader.exec_module(module)
    return module


def stop_import() -> None:
    """End the import of a file here, if one is going on: what follows would run its study."""
    if _folders:
        raise _ImportedFarEnough


class _ImportedFarEnough(BaseException):
    """The file has come to where it runs its study."""


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let a file import what is beside it, as if Python had been started with it."""
    if str(folder) not in sys.path:
        # Last: a file must not stand in the way of a library of its name.
        sys.path.append(str(folder))
    _folders.append(folder)
    # Bytecode is taken for that of an edit of the same length within a second: the old code would
    # run under the digest of the new.
    writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_none
        _folders.pop()
