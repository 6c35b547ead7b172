"""The report: seconds and memory of `summarize`, each case a process of its own.

From the recorded runs without images, with images that are drawn for the first time, and with
images that did not change; and from a SQLite store, which has the recorded runs again and again
with other seeds. Against an older checkout both read the runs that were recorded with that one.

    python -m tests.benchmarks.bench_report --runs 20000 --against FOLDER_OF_AN_OLDER_CHECKOUT
"""

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.study.specs import from_canonical
from mnist_ops.tracking.database import open_sqlite
from mnist_ops.tracking.exchange.archive import Archive
from mnist_ops.tracking.exchange.records import RunRecord
from tests.benchmarks import turns

ROOT = Path(__file__).parents[2]
UNCHANGED = "recorded runs, images unchanged"


def main() -> None:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000, help="of the store; 0 leaves it out")
    parser.add_argument("--no-images", action="store_true", help="without those cases")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--against", type=Path, metavar="DIR", help="an older checkout, in turns")
    parser.add_argument(
        "--out", type=Path, default=Path("build/benchmarks/report.json"), help="JSON file"
    )
    options = parser.parse_args()
    sides = {"now": ROOT} | ({"before": options.against.absolute()} if options.against else {})
    runs = list(sides.values())[-1] / "mlruns" / "recorded"
    plain, recorded = ["--format", "html,json"], ["--from", str(runs)]
    cases = {"recorded runs, no images": [*recorded, *plain]}
    if options.runs:
        cases[f"store of {options.runs:,} runs, no images"] = plain
    if not options.no_images:
        cases["recorded runs, all images drawn"] = recorded
        cases[UNCHANGED] = recorded
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fill(folder / "mlflow.db", options.runs, runs)
        for case, arguments in cases.items():
            measured = {
                side: partial(
                    _measured, checkout, arguments, folder / side, again=case == UNCHANGED
                )
                for side, checkout in sides.items()
            }
            found = turns.in_turns(measured, options.repeats)
            rows.append({"case": case} | {side: _row(times) for side, times in found.items()})
            for side in sides:
                row = rows[-1][side]
                print(
                    f"{case:36} {side:6} seconds {turns.shown(row['wall_s']):26} "
                    f"of CPU {turns.shown(row['cpu_s']):26} {row['memory_mb']:5} MB",
                    flush=True,
                )
    turns.write(options.out, {"against": turns.commit(options.against), "cases": rows})


def _row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "wall_s": turns.spread([run["wall_s"] for run in runs]),
        "cpu_s": turns.spread([run["cpu_s"] for run in runs]),
        "memory_mb": max(run["memory_mb"] for run in runs),
    }


def fill(path: Path, runs: int, recorded: Path) -> None:
    """Create a SQLite store at `path` with so many runs, those `recorded` with other seeds."""
    client = tracking.connect(f"sqlite:///{path}")
    experiment = client.create_experiment("many", artifact_location=(path.parent / "a").as_uri())
    store = open_sqlite(path)
    with closing(store), store:
        for number, record in enumerate(islice(_records(recorded), runs)):
            run_id = f"{number:032x}"
            store.execute(
                "INSERT INTO runs (run_uuid, name, user_id, status, start_time, end_time, "
                "lifecycle_stage, artifact_uri, experiment_id, source_type, source_name, "
                "entry_point_name, source_version) "
                "VALUES (?, ?, '', 'FINISHED', ?, ?, 'active', ?, ?, 'UNKNOWN', '', '', '')",
                (run_id, record.name, record.start_time, record.end_time, run_id, int(experiment)),
            )
            for table, entries in (("params", record.params), ("tags", record.tags)):
                store.executemany(
                    f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, ?, ?)",
                    [(run_id, key, text) for key, text in entries.items()],
                )
            points = [
                (run_id, key, value or 0.0, timestamp, step, value is None)
                for key, (*_, (step, timestamp, value)) in record.metrics.items()
            ]
            for table in ("latest_metrics", "metrics"):
                store.executemany(
                    f"INSERT INTO {table} (run_uuid, key, value, timestamp, step, is_nan) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    points,
                )


def _records(folder: Path) -> Iterator[RunRecord]:
    (path,) = folder.glob("*.zip")
    with Archive(path) as archive:
        recorded = [record for record, _ in archive.items() if not record.unknown]
    for more in count(step=1000):
        for record in recorded:
            spec = from_canonical(record.tags[keys.SPEC])
            other = dataclasses.replace(spec, seed=spec.seed + more)
            tags = {keys.SPEC: other.canonical, keys.FINGERPRINT: other.fingerprint}
            yield record.model_copy(
                update={
                    "fingerprint": other.fingerprint,
                    "name": other.name,
                    "tags": record.tags | tags,
                    "params": record.params | {keys.SEED: str(other.seed)},
                }
            )


def _measured(checkout: Path, arguments: list[str], out: Path, *, again: bool) -> dict[str, float]:
    """Run `summarize` of `checkout` in the folder of the store; `again` where there is a report."""
    if not again:
        shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "mnist_ops", "summarize", *arguments, "--out", str(out)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": "", "PYTHONPATH": str(checkout)}
    begin = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=out.parent, env=environment, stdout=subprocess.DEVNULL, stderr=said
        )
        # Of this process and of those that it waited for, which a browser's are not.
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - begin
        if status:
            said.seek(0)
            sys.exit(said.read().decode())
    return {
        "wall_s": round(wall_s, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "memory_mb": used.ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()
