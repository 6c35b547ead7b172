"""Fit a cell in a process of its own, whose environment decides what it computes with."""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from mnist_ops.core.errors import MnistOpsError
from mnist_ops.core.main_module import main_not_imported
from mnist_ops.study import grids, lookup

_STEP = b""


def call(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    variables: Mapping[str, str],
    on_step: Callable[[], None],
) -> Any:
    """Return what `function` returns, called in a new process with further `variables`.

    Args:
        function: of a module; it gets `arguments` and, as the last one, a function to call a step.
        arguments: are pickled. What studies in use have of their own is found there, too.
        variables: of the environment.
        on_step: is called here for each of its steps.

    Raises:
        MnistOpsError: the process ended without a result.
        Exception: what `function` raises.
    """
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    with main_not_imported():
        process = context.Process(target=_serve, args=(its, dict(variables)), daemon=True)
        process.start()
    its.close()
    try:
        places = tuple(lookup.registered.get(lookup.PLACES, {}).values())
        mine.send_bytes(pickle.dumps((places, function, arguments)))
        while (message := mine.recv_bytes()) == _STEP:
            on_step()
    except (EOFError, OSError):
        process.join()
        raise MnistOpsError(
            f"the process that fits ended with exit code {process.exitcode}: free memory, and try "
            "again"
        ) from None
    finally:
        process.terminate()
        process.join()
        mine.close()
    result, error = pickle.loads(message)
    if error is not None:
        raise error
    return result


def _serve(pipe: Connection, variables: dict[str, str]) -> None:
    os.environ |= variables
    # A terminal sends Ctrl-C to all processes; the one that waits for this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where that one has ended, nobody gets the answer.
    with suppress(OSError):
        pipe.send_bytes(_answer(pipe))


def _answer(pipe: Connection) -> bytes:
    try:
        places, function, arguments = pickle.loads(pipe.recv_bytes())
        for place in places:
            grids.find(place)
        return pickle.dumps((function(*arguments, lambda: pipe.send_bytes(_STEP)), None))
    except Exception as error:
        return pickle.dumps((None, error))
