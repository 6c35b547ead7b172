"""Run the benchmarks in this folder: ``python -m tests.benchmarks``.

A benchmark is a module `bench_<name>` that writes its figures to the file named by ``--out``. Each
can be run alone, with options of its own: ``python -m tests.benchmarks.bench_resnet --quick``. One
that fails does not keep the others from running; run it again by its name. `page` writes the
figures into the documents.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from mnist_ops import data
from mnist_ops.data.catalog import DATASETS

FIGURES = Path("build/benchmarks")
# What is left out of a quick run takes long, or needs servers or a GPU.
QUICK = {
    "resnet": ["--quick"],
    "svm": ["--datasets", "MNIST"],
    "start_up": ["--repeats", "2"],
    "report": ["--runs", "0", "--no-images", "--repeats", "2"],
}
AGAINST = ("start_up", "report")


def main() -> None:
    parts = [path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(sorted(parts)))
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)}: 12 minutes")
    parser.add_argument(
        "--torch",
        action="append",
        default=[],
        metavar="PYTHON",
        help="of bench_resnet: a Python with another torch, for the opponents; repeatable",
    )
    parser.add_argument(
        "--against", metavar="DIR", help="of start_up and report: an older checkout, in turns"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in DATASETS:
        data.ensure(name, log=print)
    failed = []
    for part in options.parts or (QUICK if options.quick else sorted(parts)):
        print(f"== {part}", flush=True)
        # A process each: a benchmark sets threads, and measures memory, of its own.
        command = [sys.executable, "-m", f"{__package__}.bench_{part}"]
        command += ["--out", str(FIGURES / f"{part}.json")]
        command += QUICK.get(part, []) if options.quick else []
        if part == "resnet":
            command += [word for python in options.torch for word in ("--torch", python)]
        if part in AGAINST and options.against:
            command += ["--against", options.against]
        if subprocess.run(command).returncode:
            failed.append(part)
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    FIGURES.mkdir(parents=True, exist_ok=True)
    main()
