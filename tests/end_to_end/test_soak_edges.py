"""Grids at their edges: first starts, other commands, moved folders, wrong clocks, bad proxies.

Whatever happens there, the same command then ends with 0, each cell has one finished run with the
bits of a grid that nothing happened to, and nothing is left behind. ``MNIST_OPS_EDGE_ROUNDS`` says
how many rounds of each kind; ``all`` takes hours, and ``make soak-edges`` is that.
"""

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from bad_proxy import KINDS, BadProxy
from doctor_fixtures import Doctor
from faults import Command, Server
from requirements import unavailable
from test_soak import SAME, results

from mnist_ops import tracking

ROUNDS = os.environ.get("MNIST_OPS_EDGE_ROUNDS", "1")
SEED = int(os.environ.get("MNIST_OPS_SOAK_SEED", "0"))
# Two cells a seed: one fit of two support vector machines.
QUICK = ["svm_grid", "--datasets", "MNIST", "--set", "kernel=rbf", "--set", "C=1,10"]
QUICK += ["--set", "gamma=scale", "--train-limit", "64", "--test-limit", "64"]
# Three cells a seed, of one training that takes a while and has checkpoints.
LONG = ["resnet_grid", "--datasets", "MNIST", "--set", "model=resnet18", "--set", "optimizer=Adam"]
LONG += ["--set", "batch_size=16", "--set", "learning_rate=0.001", "--set", "pin_memory=false"]
LONG += ["--set", "epochs=2,5,20", "--train-limit", "512", "--test-limit", "100"]
LONG += ["--device", "cpu", "--checkpoint-every", "0.5"]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STORES = ("SQLite", "server")
# Longer than an owner without a sign of life is taken for alive.
STOPPED_S = 150
# Tells the processes of a round from all others.
MARK = "MNIST_OPS_SOAK_MARK"


@dataclass
class Project:
    """A folder that a user works in, with a store and a machine's state of its own.

    Attributes:
        folder: where commands are started.
        base: of `folder`, its logs and its state.
        server: holds the store; None where it is MLflow's default, a SQLite file in `folder`.
    """

    folder: Path
    base: Path
    server: Server | None = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def uri(self) -> str:
        return self.server.uri if self.server else f"sqlite:///{self.folder}/mlflow.db"

    @property
    def state(self) -> Path:
        return self.base / "state"

    def start(self, *arguments: str, uri: str | None = None, before: Sequence[str] = ()) -> Command:
        """Start a command in the folder."""
        environment = os.environ | {MARK: self.mark, "MNIST_OPS_STATE": str(self.state)}
        environment.pop("MLFLOW_TRACKING_URI", None)
        if uri or self.server:
            environment["MLFLOW_TRACKING_URI"] = uri or self.uri
        log = self.base / f"{next(self._numbers):02}-{arguments[0]}.log"
        return Command(*arguments, log=log, cwd=self.folder, env=environment, before=before)

    def grid(self, seeds: int = 1, grid: Sequence[str] = QUICK, **how: Any) -> Command:
        wanted = ",".join(map(str, range(seeds)))
        workers = [] if "--scheduler" in grid or "--workers" in grid else ["--workers", "0"]
        return self.start("run", *grid, "--seeds", wanted, *workers, **how)

    def ends_well(self, command: Command, timeout: float = 600) -> Command:
        code = command.wait(timeout)
        assert code == 0, f"{command.log.name} ended with {code}:\n{command.said()}"
        return command

    def abandoned_journals(self) -> list[str]:
        """Files, folders and processes that no command is to leave."""
        here = [*self.state.glob("*/journals/*"), *self.state.glob("*/checkpoints/*")]
        for place in (self.folder, self.state):
            here += [p for p in place.rglob("*") if p.name.startswith(".mnist-ops-")]
            here += [p for p in place.rglob("*") if p.name.endswith((".new", ".tmp"))]
        known = {"mlflow.db", "mlruns", "mlflow.db-wal", "mlflow.db-shm", "mlflow.db-journal"}
        known |= {"report", "runs.zip"}
        # What a half-made store is kept as, and the lock of its making.
        here += [
            path
            for path in self.folder.iterdir()
            if path.name not in known and not path.name.startswith((".mlflow.db", "mlflow.db."))
        ]
        return [*map(str, here), *self.processes()]

    def processes(self) -> list[str]:
        """Those of the round that still run some seconds after its last command."""
        deadline = time.monotonic() + 20
        while (found := list(self._running())) and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def _running(self) -> Iterator[str]:
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == self.mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    yield f"{process.pid} {' '.join(process.cmdline())}"
            except psutil.Error:
                continue

    def end_processes(self) -> None:
        """End what a round has left, so that it does not disturb the next."""
        for text in self._running():
            os.kill(int(text.split()[0]), signal.SIGKILL)


# What a grid gives that nothing happened to: the same for all kinds.
UNDISTURBED: dict[tuple[int, bool], Any] = {}


class Bench:
    """Makes projects, and holds them against one that nothing happened to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]):
        self.tell = tell
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.losses = 0
        self._servers: list[Server] = []

    def project(self, *, server: bool = False) -> Project:
        base = self.folder / f"round-{uuid.uuid4().hex[:8]}"
        (base / "project").mkdir(parents=True)
        served = None
        if server:
            (base / "server").mkdir()
            served = Server(base / "server")
            self._servers.append(served)
        return Project(base / "project", base, served)

    def finish(self, project: Project, seeds: int = 1, grid: Sequence[str] = QUICK) -> None:
        """Have the same command end well, and look at all that is there then."""
        project.ends_well(project.grid(seeds, grid))
        self.check(project, seeds, grid)

    def check(self, project: Project, seeds: int = 1, grid: Sequence[str] = QUICK) -> None:
        self.monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
        self.monkeypatch.setenv("MNIST_OPS_STATE", str(project.state))
        self.monkeypatch.chdir(project.folder)
        client = tracking.connect(project.uri, create=False)
        experiments = [e.experiment_id for e in client.search_experiments()]
        assert not client.search_runs(experiments, "attributes.status = 'RUNNING'")
        found, wanted = results(client), self.undisturbed(seeds, grid)
        assert not found.index.duplicated().any()
        self.losses += len(set(wanted.index) - set(found.index))
        assert list(found.index) == list(wanted.index)
        same = [*SAME, "predictions", "train_loss history", "val_accuracy history"]
        for column in wanted.columns.intersection(same):
            assert found[column].equals(wanted[column]), column
        assert not project.abandoned_journals()
        for log in sorted(project.base.glob("*.log")):
            assert "Traceback" not in log.read_text(errors="replace"), log.read_text()
        of_machine = {"data-missing", "dataset-missing", "disk-little", "no-store"}
        problems = {
            kind: finding.what
            for kind, finding in Doctor().issues().items()
            if finding.severity == "problem" and kind not in of_machine
        }
        assert not problems

    def undisturbed(self, seeds: int, grid: Sequence[str]) -> Any:
        key = (seeds, grid is QUICK)
        if key not in UNDISTURBED:
            quiet = self.project()
            # As one process computes it; bits do not depend on who does.
            plain = [text for text in grid if not text.startswith("tcp://")]
            for option in ("--scheduler", "--workers"):
                if option in plain:
                    del plain[plain.index(option) :]
            quiet.ends_well(quiet.grid(seeds, plain))
            UNDISTURBED[key] = results(tracking.connect(quiet.uri, create=False))
        return UNDISTURBED[key]

    def forget(self, project: Project) -> None:
        """End the round's server, and delete its files."""
        project.end_processes()
        if project.server:
            project.server.stop()
            self._servers.remove(project.server)
        shutil.rmtree(project.base, ignore_errors=True)

    def close(self) -> None:
        for server in self._servers:
            server.stop()


TABLE: list[str] = [f"{'kind':40} {'rounds':>6} {'failed':>6} {'losses':>6}"]


@pytest.fixture(scope="module", autouse=True)
def tell(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Print a line at once, captured or not; at the end, the table."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(text, flush=True)

    yield line
    line("\n" + "\n".join(TABLE))


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> Iterator[Bench]:
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    made = Bench(tmp_path, monkeypatch, tell)
    try:
        yield made
    finally:
        made.close()


not_in_a_sample = pytest.mark.skipif(
    ROUNDS == "1", reason="takes minutes a round: make soak-edges (other tests try bad proxies)"
)

Round = Callable[[Bench, random.Random], Project]


def soak(kind: str, rounds: Sequence[tuple[str, Round]], bench: Bench) -> None:
    """Do some of the rounds of a kind, spread evenly over them, or all."""
    some = len(rounds) if ROUNDS == "all" else min(int(ROUNDS), len(rounds))
    chosen = [rounds[(i * len(rounds) + len(rounds) // 2) // some] for i in range(some)]
    failed = []
    for number, (name, play) in enumerate(chosen, start=1):
        began = time.monotonic()
        dice = random.Random(f"{SEED} {kind} {name}")
        try:
            bench.forget(play(bench, dice))
            outcome = "well"
        except Exception as error:
            failed.append(f"{name}: {error}")
            outcome = f"NOT WELL: {error}"
        took = time.monotonic() - began
        bench.tell(f"{kind}, {number}/{len(chosen)}: {name}: {outcome} ({took:.0f} s)")
    TABLE.append(f"{kind:40} {len(chosen):6} {len(failed):6} {bench.losses:6}")
    assert not failed, "\n\n".join(failed)


def first_start(delay: float, number: signal.Signals, *, server: bool) -> Round:
    def play(bench: Bench, dice: random.Random) -> Project:
        project = bench.project(server=server)
        grid = project.grid(grid=[*QUICK, "--workers", dice.choice("01")])
        if grid.runs_after(delay):
            if number == signal.SIGKILL:
                grid.kill_tree()
            else:
                grid.tell(number)
            assert grid.wait() != -signal.SIGABRT
        bench.finish(project)
        return project

    return play


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("server", [False, True], ids=["SQLite", "server"])
def test_first_starts_that_are_cut(bench: Bench, server: bool) -> None:
    rounds = []
    for number in range(60):
        how = random.Random(f"{SEED} {number} {server}").choice(SIGNALS)
        delay = 0.25 * (number + 1)
        rounds.append((f"{how.name} after {delay:.2f} s", first_start(delay, how, server=server)))
    soak(f"first start cut, {STORES[server]}", rounds, bench)


def at_once(count: int, *, server: bool) -> Round:
    def play(bench: Bench, dice: random.Random) -> Project:
        project = bench.project(server=server)
        grids = []
        for _ in range(count):
            grids.append(project.grid())
            time.sleep(dice.choice([0, 0, 0.05, 0.5]))
        for grid in grids:
            project.ends_well(grid)
        bench.finish(project)
        return project

    return play


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_first_starts_at_once(bench: Bench) -> None:
    rounds = [
        (
            f"{count} at once, {'server' if server else 'SQLite'}, {again}",
            at_once(count, server=server),
        )
        for again in range(3)
        for server in (False, True)
        for count in (2, 3)
    ]
    soak("first starts at once", rounds, bench)


def cut(command: Command, dice: random.Random, most: float) -> None:
    """Kill a command at a random moment, if it has not ended."""
    if command.runs_after(dice.uniform(0.5, most)):
        if dice.random() < 0.6:
            command.kill_tree()
        else:
            command.tell(dice.choice(SIGNALS[1:]))
            command.wait()


def cut_command(*arguments: str, most: float = 12) -> Round:
    def play(bench: Bench, dice: random.Random) -> Project:
        project = bench.project()
        if arguments[0] == "import":
            source = bench.project()
            source.ends_well(source.grid())
            source.ends_well(source.start("export", str(project.folder / "runs.zip")))
            bench.forget(source)
        elif arguments[0] in ("doctor", "sync"):
            grid = project.grid(grid=[*QUICK, "--workers", "0"])
            grid.wait_until_said("cells")
            grid.runs_after(dice.uniform(0, 0.5))
            grid.kill_tree()
        else:
            project.ends_well(project.grid())
        for _ in range(2):
            cut(project.start(*arguments), dice, most)
        again = project.start(*arguments)
        if arguments[0] == "doctor":
            # It may find what is no fault of the round: the machine has no data set, say.
            assert again.wait() in (0, 1), again.said()
        else:
            project.ends_well(again)
        bench.finish(project)
        return project

    return play


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)
def test_other_commands_that_are_cut(bench: Bench) -> None:
    commands = [
        ("import", "runs.zip"),
        ("export", "runs.zip"),
        ("summarize", "--format", "html,json"),
        ("champion",),
        ("doctor", "--fix"),
        ("sync",),
    ]
    rounds = [
        (f"{' '.join(command)}, {again}", cut_command(*command))
        for again in range(5)
        for command in commands
    ]
    soak("other commands cut", rounds, bench)


def stopped(whom: str, *, long_s: float = STOPPED_S) -> Round:
    def play(bench: Bench, dice: random.Random) -> Project:
        project = bench.project(server=whom == "driver with a server")
        grid, cluster = [*LONG, "--workers", "1"], []
        if whom == "remote worker":
            cluster, address = start_cluster(project)
            grid = [*LONG, "--scheduler", address]
        try:
            running = project.grid(grid=grid)
            running.wait_until_said("cells")
            assert running.runs_after(dice.uniform(5, 15)), running.said()
            who = psutil.Process(running.process.pid)
            if whom == "worker":
                who = running.workers()[0]
            elif whom == "remote worker":
                who = psutil.Process(cluster[1].pid)
            who.suspend()
            time.sleep(long_s)
            who.resume()
            running.wait(900)
            project.ends_well(project.grid(grid=grid), 900)
        finally:
            for process in cluster:
                process.terminate()
                process.wait(30)
        bench.check(project, grid=grid)
        return project

    return play


def start_cluster(project: Project) -> tuple[list[subprocess.Popen[bytes]], str]:
    """A Dask scheduler and a worker of it, and the scheduler's address."""
    file = project.base / "scheduler.json"
    shared = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    environment = os.environ | {"MNIST_OPS_STATE": str(project.state), MARK: project.mark}
    processes = []
    for role, more in (
        ("scheduler", ["--port", "0"]),
        ("worker", ["--nthreads", "1", "--no-nanny"]),
    ):
        with (project.base / f"dask-{role}.txt").open("w") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"distributed.cli.dask_{role}", *shared, *more],
                    env=environment,
                    cwd=project.base,
                    stderr=log,
                )
            )
        deadline = time.monotonic() + 60
        while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.2)
    return processes, json.loads(file.read_text())["address"]


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)
@not_in_a_sample
def test_processes_that_stop_for_a_while(bench: Bench) -> None:
    kinds = ["driver", "worker", "remote worker", "driver with a server"]
    rounds = [(f"{whom} stopped for {STOPPED_S} s", stopped(whom)) for whom in kinds]
    soak("SIGSTOP, then SIGCONT", rounds, bench)


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def moved(how: str) -> Round:
    def play(bench: Bench, dice: random.Random) -> Project:
        project = bench.project()
        before = project.folder
        if "cut" in how:
            grid = project.grid(grid=[*QUICK, "--workers", "0"])
            grid.wait_until_said("cells")
            grid.kill_tree()
        else:
            project.ends_well(project.grid())
        project.folder = project.base / "elsewhere" / "100% moved"
        project.folder.parent.mkdir()
        if "copied" in how:
            shutil.copytree(before, project.folder)
            kept = files_of(before)
        else:
            before.rename(project.folder)
        bench.finish(project, seeds=2)
        if "copied" in how:
            assert files_of(before) == kept
            grown = project.folder
            project.folder = before
            # The original grows by itself.
            bench.finish(project, seeds=1)
            bench.finish(project, seeds=3)
            project.folder = grown
            bench.check(project, seeds=2)
        else:
            assert not before.exists()
        if "back" in how:
            project.folder.rename(before)
            project.folder = before
            bench.finish(project, seeds=3)
        return project

    return play


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_folders_that_are_moved_or_copied(bench: Bench) -> None:
    kinds = ["moved", "copied", "cut and moved", "cut and copied", "moved and back"]
    soak("folder moved or copied", [(how, moved(how)) for how in kinds], bench)


def wrong_clock(first: str, then: str, *, server: bool, together: bool = False) -> Round:
    def clock(offset: str) -> list[str]:
        return ["faketime", "-f", offset] if offset != "now" else []

    def play(bench: Bench, dice: random.Random) -> Project:
        project = bench.project(server=server)
        one = project.grid(before=clock(first))
        if together:
            other = project.grid(before=clock(then))
            project.ends_well(one)
            project.ends_well(other)
        else:
            cut(one, dice, 12)
            project.ends_well(project.grid(before=clock(then)))
        bench.finish(project)
        return project

    return play


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_clocks_that_are_an_hour_off(bench: Bench) -> None:
    if shutil.which("faketime") is None:
        bench.tell("clocks an hour off: NOT TRIED, no faketime: apt-get install faketime")
        unavailable("needs faketime: apt-get install faketime")
    rounds = [
        (
            f"{first}, {'beside' if together else 'then'} {then}, {STORES[server]}",
            wrong_clock(first, then, server=server, together=together),
        )
        for server in (False, True)
        for together in (False, True)
        for first, then in (("+1h", "now"), ("-1h", "now"), ("now", "-1h"), ("-1h", "+1h"))
    ]
    soak("clocks an hour off", rounds, bench)


def behind(kind: str, moment: str) -> Round:
    """A grid whose proxy misbehaves for a while: from the start, in the work, or at the end."""

    def play(bench: Bench, dice: random.Random) -> Project:
        project = bench.project(server=True)
        proxy = BadProxy(project.uri)
        try:
            if moment == "start":
                proxy.kind = kind
            grid = project.grid(uri=proxy.uri)
            if moment == "work":
                grid.wait_until_said("cells")
            elif moment == "end":
                grid.wait_until_said("cells")
                grid.runs_after(dice.uniform(0, 2))
            proxy.kind = kind
            grid.runs_after(20)
            proxy.kind = None
            grid.wait(300)
            project.ends_well(project.grid(uri=proxy.uri))
        finally:
            proxy.close()
        bench.finish(project)
        return project

    return play


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)
@not_in_a_sample
def test_proxies_that_misbehave(bench: Bench) -> None:
    rounds = [
        (f"{kind}, at the {moment}", behind(kind, moment))
        for moment in ("work", "end", "start")
        for kind in KINDS
    ]
    soak("bad proxy", rounds, bench)
