"""Run every benchmark in this folder: ``python -m tests.benchmarks``.

A benchmark is a module `bench_<name>` that writes its figures to the file named by ``--out``. Each
can be run alone, with options of its own: ``python -m tests.benchmarks.bench_resnet --quick``.
"""

import subprocess
import sys
from pathlib import Path

FIGURES = Path("build/benchmarks")


def main() -> None:
    FIGURES.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"== {path.stem}", flush=True)
        figures = FIGURES / f"{path.stem.removeprefix('bench_')}.json"
        # A process each: a benchmark sets threads, and measures memory, of its own.
        module = f"{__package__}.{path.stem}"
        subprocess.run([sys.executable, "-m", module, "--out", str(figures)], check=True)


if __name__ == "__main__":
    main()
