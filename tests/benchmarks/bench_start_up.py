"""Start-up: what each command and each kind of worker imports, in CPU seconds and memory.

Each case of `start_up` runs in a process of its own, on a store that has one run, and computes
nothing that takes longer than its imports.

    python -m tests.benchmarks.bench_start_up --repeats 5
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

# Beside the tests, whose cases it measures.
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import start_up


def main() -> None:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench_start_up.json"), help="JSON file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in [*start_up.BARE, *start_up.ON_STORE]:
            runs = [_measured(case, Path(folder)) for _ in range(options.repeats)]
            row = {
                "case": case,
                "imported": runs[0]["imported"],
                "cpu_s": median(run["cpu_s"] for run in runs),
                "cpu_s_range": [f([run["cpu_s"] for run in runs]) for f in (min, max)],
                "memory_mb": max(run["memory_mb"] for run in runs),
            }
            rows.append(row)
            low, high = row["cpu_s_range"]
            print(
                f"{case:32} {row['cpu_s']:6.2f} s of CPU ({low:.2f} to {high:.2f}) "
                f"{row['memory_mb']:6} MB  {', '.join(row['imported'])}",
                flush=True,
            )
    figures = {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "repeats": options.repeats,
        "cases": rows,
    }
    options.out.write_text(json.dumps(figures, indent=2))


def _measured(case: str, folder: Path) -> dict[str, object]:
    environment = os.environ | {"MLFLOW_TRACKING_URI": "", "MNIST_OPS_STATE": str(folder / "state")}
    done = subprocess.run(
        [sys.executable, start_up.__file__, case],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
