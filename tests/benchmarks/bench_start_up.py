"""Start-up: what each command and each kind of worker imports, in CPU seconds and memory.

Each case of `start_up` runs in a process of its own, on a store that has one run, and computes
nothing that takes longer than its imports.

    python -m tests.benchmarks.bench_start_up --repeats 5 --against FOLDER_OF_AN_OLDER_CHECKOUT
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

# Beside the tests, whose cases it measures.
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import start_up

from tests.benchmarks import turns

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", type=Path, metavar="DIR", help="an older checkout, in turns")
    parser.add_argument(
        "--out", type=Path, default=Path("build/benchmarks/start_up.json"), help="JSON file"
    )
    options = parser.parse_args()
    sides = {"now": ROOT} | ({"before": options.against.absolute()} if options.against else {})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            (Path(folder) / side).mkdir()
        for case in [*start_up.BARE, *start_up.ON_STORE]:
            runs = turns.in_turns(
                {
                    side: partial(_measured, case, checkout, Path(folder) / side)
                    for side, checkout in sides.items()
                },
                options.repeats,
            )
            row = {"case": case} | {side: _row(found) for side, found in runs.items()}
            rows.append(row)
            for side in sides:
                shown = f"{case:32} {side:6} "
                if found := row[side]:
                    shown += f"CPU seconds {turns.shown(found['cpu_s']):26} "
                    shown += f"{found['memory_mb']:5} MB  {', '.join(found['imported'])}"
                print(shown, flush=True)
    turns.write(options.out, {"against": turns.commit(options.against), "cases": rows})


def _row(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not all(run["ran"] for run in runs):
        return None
    return {
        "imported": runs[0]["imported"],
        "cpu_s": turns.spread([run["cpu_s"] for run in runs]),
        "memory_mb": max(run["memory_mb"] for run in runs),
    }


def _measured(case: str, checkout: Path, folder: Path) -> dict[str, Any]:
    """Run a case, which finds mnist-ops in `checkout`, in a folder whose store it uses."""
    if case == next(iter(start_up.ON_STORE)):
        # It writes the run of the store, which it can once.
        shutil.rmtree(folder)
        folder.mkdir()
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": "",
        "MNIST_OPS_STATE": str(folder / "state"),
        "PYTHONPATH": str(checkout),
    }
    done = subprocess.run(
        [sys.executable, start_up.__file__, case],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    # What an older checkout lacks, a case of now cannot use there.
    found["ran"] = found["error"] in ("", "Exit(0)", "Exit(1)")
    assert found["ran"] or checkout != ROOT, found
    return found


if __name__ == "__main__":
    main()
