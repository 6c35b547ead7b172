"""Check Python, packages and optional programs, such as a compiler and a browser."""

import importlib.util
import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

import mnist_ops
from mnist_ops.core import instruction_set
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.issue import Examination, Issue, note
from mnist_ops.runner.allocator import fast_allocator

_SUBJECT = "environment"
_DISTRIBUTION = "mnist-ops"
_COMPILERS = ("c++", "g++", "clang++", "cl")


def check_environment(context: Context) -> Examination:
    """Check versions against the requirements, and optional programs."""
    python, requirements = _asked_for()
    issues = [
        *_python(python),
        *_packages(requirements),
        *_torchvision(),
        *_compiler(),
        *_allocator(),
        *_browser(),
    ]
    ok = f"Python {platform.python_version()}, {len(requirements)} packages fit"
    if instructions := instruction_set.current():
        ok += f", instruction set {instructions}"
    return Examination(_SUBJECT, ok, tuple(issues))


def _asked_for() -> tuple[str, list[str]]:
    """Return the required Python and packages.

    A checkout has them in its pyproject.toml, as it may not be installed, or changed since.
    """
    project = Path(mnist_ops.__file__).parents[1] / "pyproject.toml"
    if project.exists():
        declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        if declared.get("name") == _DISTRIBUTION:
            return declared["requires-python"], declared["dependencies"]
    about = metadata.metadata(_DISTRIBUTION)
    listed = metadata.requires(_DISTRIBUTION) or []
    return about["Requires-Python"], [line for line in listed if "extra ==" not in line]


def _python(asked: str) -> Iterator[Issue]:
    here = platform.python_version()
    if not SpecifierSet(asked).contains(here, prereleases=True):
        yield Issue(
            "python-version",
            f"Python {here} does not match {asked}",
            "create the environment with another: `make PYTHON=/path/to/python3.11 run`",
        )


def _packages(lines: list[str]) -> Iterator[Issue]:
    unfit = []
    for line in lines:
        asked = Requirement(line)
        if asked.marker is not None and not asked.marker.evaluate():
            continue
        found = _installed(asked.name)
        if found is None:
            unfit.append((asked, f"{asked.name} is not installed"))
        elif not asked.specifier.contains(found, prereleases=True):
            unfit.append((asked, f"{asked.name} {found} does not match {asked.specifier}"))
    if unfit:
        command = " ".join(f"'{asked.name}{asked.specifier}'" for asked, _ in unfit)
        yield Issue(
            "package-version",
            "packages that do not fit: " + ", ".join(problem for _, problem in unfit),
            f"`{_pip()} install {command}`",
            tuple(asked.name for asked, _ in unfit),
        )


def _torchvision() -> Iterator[Issue]:
    """Yield a pair that does not match fails at the first operator, with a riddle."""
    torch = _installed("torch")
    if torch is None or _installed("torchvision") is None:
        return
    for line in metadata.requires("torchvision") or []:
        try:
            asked = Requirement(line)
        except InvalidRequirement:
            continue
        if asked.name == "torch" and not asked.specifier.contains(torch, prereleases=True):
            pair = f"torchvision {_installed('torchvision')} needs torch{asked.specifier}"
            yield Issue(
                "torch-pair",
                f"{pair}, and torch is {torch}",
                f"`{_pip()} install --upgrade torch torchvision` installs two that match",
            )


def _compiler() -> Iterator[Issue]:
    if not any(map(shutil.which, _COMPILERS)):
        yield note(
            "no-compiler",
            f"no C++ compiler ({', '.join(_COMPILERS[:3])})",
            "optional; networks train a tenth faster with one, support vector machines 1.3 to 1.6 "
            "times as fast: `apt-get install g++`",
        )
        return
    # Whether they round as torch does is checked by every process that trains: it takes torch.
    off = os.environ.get("MNIST_OPS_KERNELS") == "0"
    if off or importlib.util.find_spec("ninja") is None:
        yield note(
            "no-kernels",
            f"compiled kernels are not used: {'MNIST_OPS_KERNELS is 0' if off else 'no ninja'}",
            "harmless; torch's own operators and scikit-learn's solver are used, slower"
            + ("" if off else f": `{_pip()} install ninja`"),
        )


def _allocator() -> Iterator[Issue]:
    if sys.platform == "linux" and fast_allocator() is None:
        yield note(
            "no-allocator",
            "no fast memory allocator",
            "training is faster with one: `apt-get install libtcmalloc-minimal4`",
        )


def _browser() -> Iterator[Issue]:
    if importlib.util.find_spec("kaleido") is None:
        yield note("no-images", "no kaleido: no SVG and PNG figures", f"`{_pip()} install kaleido`")
        return
    from choreographer.browsers.chromium import Chromium

    if not Chromium.find_browser(skip_local=False):
        yield note(
            "no-images",
            "no Chrome or Chromium: no SVG and PNG figures",
            "`apt-get install chromium`, or set BROWSER_PATH to one",
        )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pip() -> str:
    return f"{Path(sys.executable).name} -m pip"
