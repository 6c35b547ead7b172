"""The report: seconds and memory of `summarize`, each case a process of its own.

From the recorded runs without images, with images that are drawn for the first time, and with
images that did not change; and from a SQLite store, which has the recorded runs again and again
with other seeds.

    python -m tests.benchmarks.bench_report --runs 20000
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.study.specs import from_canonical
from mnist_ops.tracking.database import open_sqlite
from mnist_ops.tracking.exchange.archive import Archive
from mnist_ops.tracking.exchange.records import RunRecord

RECORDED = Path(__file__).parents[2] / "mlruns" / "recorded"


def main() -> None:
    """Measure, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000, help="of the store")
    parser.add_argument("--no-images", action="store_true", help="without those cases")
    parser.add_argument("--out", type=Path, default=Path("bench_report.json"), help="JSON file")
    options = parser.parse_args()
    recorded = ["--from", str(RECORDED), "--out"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        fill(folder / "mlflow.db", options.runs)
        cases = {
            "recorded runs, no images": [*recorded, "plain", "--format", "html,json"],
            f"store of {options.runs:,} runs, no images": ["--out", "of", "--format", "html,json"],
        }
        if not options.no_images:
            cases["recorded runs, all images drawn"] = [*recorded, "images"]
            cases["recorded runs, images unchanged"] = [*recorded, "images"]
        rows = [{"case": name} | _measured(folder, case) for name, case in cases.items()]
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "cases": rows,
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        print(
            f"{row['case']:40} {row['wall_s']:6.1f} s, {row['cpu_s']:6.1f} s of CPU, "
            f"{row['memory_mb']:6} MB"
        )


def fill(path: Path, runs: int) -> None:
    """Create a SQLite store at `path` with so many runs, the recorded ones with other seeds."""
    client = tracking.connect(f"sqlite:///{path}")
    experiment = client.create_experiment("many", artifact_location=(path.parent / "a").as_uri())
    store = open_sqlite(path)
    with closing(store), store:
        for number, record in enumerate(islice(_records(), runs)):
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


def _records() -> Iterator[RunRecord]:
    (path,) = RECORDED.glob("*.zip")
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


def _measured(folder: Path, arguments: list[str]) -> dict[str, float]:
    command = [sys.executable, "-m", "mnist_ops", "summarize", *arguments]
    environment = os.environ | {"MLFLOW_TRACKING_URI": ""}
    begin = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said
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
