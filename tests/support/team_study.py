"""The study on a team's servers and on SQLite ends in the same tables: ``make team``.

Starts PostgreSQL, a server that speaks S3 and ``mnist-ops server`` with sign-in on the loopback
device, runs the study there and once more on SQLite, and compares the tables, columns of times
aside. Exits with 1 where they differ.

    python tests/support/team_study.py --preset quick --out report-team
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import services

# Two runs of the same cell never take the same time.
OF_TIMES = ("time_s", "speedup")


def main() -> None:
    """Run both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--out", type=Path, default=Path("report-team"), help="the team's report")
    options = parser.parse_args()
    if services.MISSING:
        sys.exit(f"cannot start the team's servers: {services.MISSING}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with services.team(folder) as team:
            print(f"PostgreSQL, S3 and sign-in at {team.uri}", flush=True)
            _run(options.preset, folder / "team", team.environment)
        _run(options.preset, folder / "sqlite", {})
        differing = differences(folder / "team" / "report", folder / "sqlite" / "report")
        shutil.rmtree(options.out, ignore_errors=True)
        shutil.copytree(folder / "team" / "report", options.out)
    print(f"Report: {(options.out / 'index.html').absolute()}")
    if differing:
        sys.exit(f"differ between the stores, beyond times: {', '.join(differing)}")
    print("11 tables identical on both stores (columns of times aside).")


def differences(ours: Path, theirs: Path) -> list[str]:
    """The names of the tables that differ between two reports, in a column that is not of times."""
    names = [f"table-{number:02}.csv" for number in range(1, 12)]
    return [
        name
        for name in names
        if not _without_times(ours / "tables" / name).equals(
            _without_times(theirs / "tables" / name)
        )
    ]


def _without_times(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str)
    return frame[[name for name in frame if not any(word in name for word in OF_TIMES)]]


def _run(preset: str, folder: Path, environment: Mapping[str, str]) -> None:
    folder.mkdir()
    start = time.monotonic()
    command = [sys.executable, "-m", "mnist_ops", "run", "all", "--preset", preset]
    # A state folder of its own: its store is gone afterwards.
    own = {"PYTHONPATH": str(services.ROOT), "MNIST_OPS_STATE": str(folder / "state")}
    subprocess.run(
        [*command, "--report", "report"],
        cwd=folder,
        env=os.environ | own | dict(environment),
        check=True,
    )
    print(f"{folder.name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
