"""Start MLflow's tracking server, and stop it cleanly."""

import os
import signal
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from mnist_ops.core import atomic_files
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.core.redaction import redacted
from mnist_ops.ops.server.access import auth_config, restrict_access
from mnist_ops.ops.server.checks import check
from mnist_ops.ops.server.command import server_command, server_environment
from mnist_ops.ops.server.settings import ServerSettings

_STOP_LIMIT_S = 10
_START_LIMIT_S = 180

Log = Callable[[str], None]


def serve(settings: ServerSettings, ready: Callable[[str], None], log: Log) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Args:
        settings: of the server.
        ready: gets the server's URI when it responds.
        log: gets the lines of the server's log, without secrets.

    Raises:
        TrackingUnavailable: the database does not answer.
        MnistOpsError: the port is taken, the bucket cannot be used, a package is missing, or the
            server ended by itself.
    """
    check(settings)
    restrict_access(settings)
    with (
        atomic_files.private_files(),
        auth_config(settings) as config,
        _terminable() as stopped,
    ):
        environment = server_environment(settings, config)
        process = subprocess.Popen(
            server_command(settings),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Its own process group: Ctrl-C does not reach it, and stopping it ends its children.
            start_new_session=True,
        )
        output = _Output(process, log)
        try:
            if _wait_until_ready(settings, process, stopped):
                ready(settings.uri)
                while process.poll() is None and not stopped.wait(0.2):
                    pass
            if not stopped.is_set():
                raise MnistOpsError(f"the server ended by itself: {output.reason()}")
        finally:
            _stop(process)
            output.close()


def _wait_until_ready(
    settings: ServerSettings, process: "subprocess.Popen[str]", stopped: threading.Event
) -> bool:
    """Wait until the server responds; return False if it ends or is stopped before."""
    deadline = time.monotonic() + _START_LIMIT_S
    while process.poll() is None and not stopped.wait(0.2):
        if _answers(settings):
            return True
        if time.monotonic() > deadline:
            raise MnistOpsError(f"the server did not answer within {_START_LIMIT_S} s")
    return False


def _answers(settings: ServerSettings) -> bool:
    host = settings.host if settings.loopback else "127.0.0.1"
    scheme = urlsplit(settings.uri).scheme
    host = f"[{host}]" if ":" in host else host
    # The certificate is not verified, as it has the name for clients, not that of this host.
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        with urlopen(f"{scheme}://{host}:{settings.port}/health", timeout=2, context=unverified):
            return True
    except (URLError, OSError):
        return False


@contextmanager
def _terminable() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and Ctrl-C set while the block runs."""
    stopped = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(process: "subprocess.Popen[str]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            continue


class _Output:
    """Forwards the output of a process, and keeps its last lines for the reason of its end."""

    def __init__(self, process: "subprocess.Popen[str]", log: Log):
        self._process = process
        self._log = log
        self._last: deque[str] = deque(maxlen=200)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def reason(self) -> str:
        """Return the last line with an error; without one the last line."""
        self._thread.join(_STOP_LIMIT_S)
        lines = [line for line in self._last if line.strip()]
        errors = [line for line in lines if "Error: " in line or "Exception: " in line]
        return (errors or lines or [f"exit code {self._process.returncode}"])[-1].strip()

    def close(self) -> None:
        self._thread.join(_STOP_LIMIT_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            shown = redacted(line.rstrip())
            self._last.append(shown)
            self._log(shown)
