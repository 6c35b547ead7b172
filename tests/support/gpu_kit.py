"""Pack what a machine with a GPU and without a network lacks: libraries and the data sets.

    python tests/support/gpu_kit.py --python 3.12

The kit is one folder: libraries, for the Python and the platform of that machine, as one compressed
archive, and each data set as another. What such a machine has is left out (torch is 3 GB), and so
is what only servers, reports and plots import. `gpu_proof.py` unpacks it; it needs no pip.
"""

import argparse
import hashlib
import json
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEFAULT_OUT = ROOT / "build" / "gpu-kit"
LIBRARIES, MANIFEST = "libraries.tar.xz", "kit.json"
# What a rented machine takes in one upload, the project's files included.
ROOM_MIB = 64

# A machine for training has these, and what they need.
PRESENT = [
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "pillow",
    "joblib",
    "threadpoolctl",
    "narwhals",
    "python-dateutil",
    "six",
]
# Imported by MLflow's server, its plots and its other clients, by Dask's dashboard, or by reports.
NOT_IMPORTED = [
    "aiohappyeyeballs",
    "aiohttp",
    "aiosignal",
    "attrs",
    "blinker",
    "bokeh",
    "contourpy",
    "cycler",
    "docker",
    "flask",
    "flask-cors",
    "fonttools",
    "formulaic",
    "frozenlist",
    "graphene",
    "graphql-core",
    "graphql-relay",
    "gunicorn",
    "h11",
    "huey",
    "interface-meta",
    "itsdangerous",
    "kiwisolver",
    "matplotlib",
    "multidict",
    "patsy",
    "plotly",
    "prettytable",
    "propcache",
    "pyarrow",
    "pyasn1-modules",
    "pycparser",
    "pyparsing",
    "skops",
    "statsmodels",
    "uvicorn",
    "wcwidth",
    "werkzeug",
    "xyzservices",
    "yarl",
]
# Published as source only; pure Python, so built here.
SOURCE_ONLY = ("fvcore", "iopath")
TESTING = ("pytest", "pytest-timeout")
# pip takes the numbers of a platform literally: no name stands for the older ones.
GLIBC = ("2_28", "2_27", "2_24", "2_17", "2_12", "2_5")


def platforms(machine: str) -> list[str]:
    """Return the tags of wheels for a Linux with glibc 2.28 or newer."""
    old = [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")]
    return [f"manylinux_{version}_{machine}" for version in GLIBC] + old


def requirements() -> list[str]:
    """Return what the project needs to run and test, without torch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["kernels"]]
    wanted += [each for each in extras["dev"] if name_of(each) in TESTING]
    return [each for each in wanted if name_of(each) not in ("torch", "torchvision")]


def name_of(requirement: str) -> str:
    """Return the normalised name of a requirement."""
    end = next((i for i, c in enumerate(requirement) if c in "[<>=!~; "), len(requirement))
    return requirement[:end].lower().replace("_", "-")


def constraints() -> list[str]:
    """Return the versions that are installed here: those that the tests have seen."""
    found = {name_of(each.metadata["Name"]): each.version for each in metadata.distributions()}
    return [f"{name}=={version}" for name, version in found.items() if name != "mnist-ops"]


def install(target: Path, python: str, machine: str, work: Path) -> list[str]:
    """Install the libraries of the kit into `target`; return their names and versions."""
    built, report = work / "built", work / "report.json"
    _pip("wheel", "--no-deps", "--wheel-dir", built, *SOURCE_ONLY)
    wanted, known = work / "wanted.txt", work / "known.txt"
    wanted.write_text("\n".join(requirements()), encoding="utf-8")
    known.write_text("\n".join(constraints()), encoding="utf-8")
    there = ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    there += [part for tag in platforms(machine) for part in ("--platform", tag)]
    there += ["--find-links", str(built), "--target", str(target)]
    _pip(
        *("install", "--dry-run", "--ignore-installed", "--report", report, *there),
        *("--constraint", known, "--requirement", wanted),
    )
    chosen = packed(json.loads(report.read_text(encoding="utf-8")))
    _pip("install", "--no-deps", "--no-compile", *there, *chosen)
    # The pages of MLflow's server, half of it all, and the libraries' own tests.
    for folder in (target / "mlflow" / "server" / "js", *target.rglob("tests")):
        shutil.rmtree(folder, ignore_errors=True)
    return chosen


def packed(report: dict) -> list[str]:
    """Return the libraries of pip's report that go into the kit, with their versions."""
    left_out = {*PRESENT, *NOT_IMPORTED}
    found = {name_of(e["metadata"]["name"]): e["metadata"]["version"] for e in report["install"]}
    return sorted(f"{name}=={version}" for name, version in found.items() if name not in left_out)


def _pip(*arguments: object) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"gpu-kit: pip {arguments[0]} failed:\n{done.stderr.strip()}")


def archive(path: Path, folder: Path, names: Iterable[str]) -> None:
    """Write files and folders of `folder` into a compressed archive, the same each time."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ""
        return None if "__pycache__" in member.name else member

    with (
        lzma.open(path, "wb", preset=8) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for name in sorted(names):
            tar.add(folder / name, name, filter=plain)


def data_files(names: Sequence[str]) -> Path:
    """Fetch the data sets where they are missing; return their folder."""
    subprocess.run([sys.executable, "-m", "mnist_ops", "data", *names], cwd=ROOT, check=True)
    from mnist_ops.data.store import absolute

    return absolute(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default="3.12", help="version of Python on that machine")
    parser.add_argument("--machine", default="x86_64", help="its processor: x86_64 or aarch64")
    parser.add_argument("--datasets", nargs="*", default=["MNIST", "FashionMNIST"])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    options = parser.parse_args()
    kit = options.out.absolute()
    kit.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kit.parent, prefix=".gpu-kit-") as scratch:
        work = Path(scratch)
        ready, site = work / "kit", work / "site"
        ready.mkdir()
        libraries = install(site, options.python, options.machine, work)
        archive(ready / LIBRARIES, site, [path.name for path in site.iterdir()])
        if options.datasets:
            data = data_files(options.datasets)
            for name in options.datasets:
                archive(ready / f"data-{name}.tar.xz", data, [name])
        digests = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in ready.iterdir()
        }
        about = {"python": options.python, "libraries": libraries, "sha256": digests}
        (ready / MANIFEST).write_text(json.dumps(about, indent=2), encoding="utf-8")
        shutil.rmtree(kit, ignore_errors=True)
        ready.rename(kit)
    for path in sorted(kit.iterdir()):
        print(f"{path.stat().st_size / 2**20:6.1f} MiB  {path.name}")
    size = sum(path.stat().st_size for path in kit.iterdir()) / 2**20
    print(f"{size:6.1f} MiB  {kit}: {len(libraries)} libraries for Python {options.python}")
    tracked = _tracked_mib()
    if tracked and size + tracked > ROOM_MIB:
        print(f"With the project's files, {tracked:.0f} MiB, that is over {ROOM_MIB} MiB.")


def _tracked_mib() -> float:
    """Return the size of the files that git tracks; 0 without git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return 0
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 2**20


if __name__ == "__main__":
    main()
