"""Many writers to one store, and reading all of it back: runs a second, nothing lost or doubled.

A PostgreSQL server of its own, written to by 20 processes, each cell with the calls that a worker
makes; then read as `mnist-ops summarize` reads. With ``--server``, through ``mnist-ops server``
with sign-in and artifacts in S3, which is what a team has; without, straight to the database.

    python -m tests.benchmarks.bench_store --runs 10000
    python -m tests.benchmarks.bench_store --server
"""

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

# Beside the tests, whose parts it is made of.
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import parallel_writers
import services

from mnist_ops import tracking
from tests.benchmarks import turns


def main() -> None:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--writers", type=int, default=20)
    parser.add_argument("--server", action="store_true", help="through the tracking server")
    parser.add_argument(
        "--out", type=Path, default=Path("build/benchmarks/store.json"), help="JSON file"
    )
    options = parser.parse_args()
    if services.MISSING:
        print(f"nothing to measure: {services.MISSING}")
        return
    each = -(-options.runs // options.writers)
    runs = each * options.writers
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if options.server:
            team = stack.enter_context(services.team(Path(folder)))
            os.environ |= team.environment
            store = team.uri
        else:
            store = stack.enter_context(services.postgres())
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
        # What is on its way is of no use to anybody once the store is gone.
        os.environ["MNIST_OPS_STATE"] = f"{folder}/state"
        stack.callback(os.chdir, Path.cwd())
        os.chdir(folder)
        # Its tables are made by the first to come, who must be alone.
        tracking.connect(store)
        rate = parallel_writers.write(store, options.writers, each)
        read_s = parallel_writers.check(store, runs)
    report = {
        "store": "server, PostgreSQL, S3, sign-in" if options.server else "PostgreSQL",
        "writers": options.writers,
        "runs": runs,
        "written_a_second": rate,
        "read_s": read_s,
        "read_a_second": runs / read_s,
    }
    print(json.dumps(report, indent=2))
    turns.write(options.out, report)
    print(f"{runs:,} runs by {options.writers} writers: none lost, none doubled")


if __name__ == "__main__":
    main()
