"""Start commands as a user does, and do to them what happens to processes."""

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import requests

MNIST_OPS = [sys.executable, "-m", "mnist_ops"]


class Command:
    """A ``mnist-ops`` in a process group of its own."""

    def __init__(
        self,
        *arguments: str,
        log: Path,
        max_file_size: int | None = None,
        before: Sequence[str] = (),
        **process: Any,
    ):
        """Start ``mnist-ops`` with `arguments`; what it says goes to the file `log`.

        Args:
            arguments: of the command.
            log: of standard output and error.
            max_file_size: bytes; a file of it or its children that grows beyond fails to.
            before: a command that starts the command, such as ``faketime``.
            process: more for `subprocess.Popen`.
        """

        def limit() -> None:
            if max_file_size is not None:
                # Python ignores the signal, so that writing fails as on a full disk.
                resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_size, max_file_size))

        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*before, *MNIST_OPS, *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=limit,
                **process,
            )

    def wait(self, timeout: float = 900) -> int:
        """Its exit code."""
        return self.process.wait(timeout)

    def runs_after(self, seconds: float) -> bool:
        """Return whether it still runs `seconds` later."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def wait_until_said(self, words: str, timeout: float = 120) -> None:
        """Return when it has said `words`, or has ended."""
        deadline = time.monotonic() + timeout
        while words not in self.said() and time.monotonic() < deadline:
            if self.process.poll() is not None:
                return
            time.sleep(0.05)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the process that the user started."""
        self.process.send_signal(number)

    def kill_tree(self) -> None:
        """SIGKILL for it and all that it has started, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()

    def workers(self) -> list[psutil.Process]:
        """Its Dask workers."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            # A process may end between being listed and being looked at.
            with suppress(psutil.NoSuchProcess):
                how = " ".join(child.cmdline())
                forked = "forkserver" in how and child.ppid() != self.process.pid
                if forked or "spawn_main" in how:
                    found.append(child)
        return found

    def kill_a_worker(self, dice: random.Random) -> bool:
        """SIGKILL for one of its Dask workers; whether there was one."""
        workers = self.workers()
        if workers:
            dice.choice(workers).kill()
        return bool(workers)

    def said(self) -> str:
        """Return its output so far."""
        return self.log.read_text()


class Grid(Command):
    """A ``mnist-ops run``."""

    def __init__(self, *arguments: str, **how: Any):
        """Start ``mnist-ops run`` with `arguments`; see `Command`."""
        super().__init__("run", *arguments, **how)


class Server:
    """A real tracking server, on a store and a port of its own, that can be stopped and started."""

    def __init__(self, folder: Path):
        """Start one whose store and artifacts are in `folder`."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "served")]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                requests.get(self.uri + "/health", timeout=1)
                return
            except requests.RequestException:
                time.sleep(0.2)
        raise AssertionError("the tracking server did not start")

    def stop(self) -> None:
        """End it at once, as a crash would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


def truncate_one(files: Sequence[Path], dice: random.Random) -> bool:
    """Cut one of `files` at a random length; whether there was one."""
    if not files:
        return False
    path = dice.choice(list(files))
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content))])
    return True
