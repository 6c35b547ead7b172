"""Signals that arrive at an awkward moment."""

import signal
import time
import weakref
from collections.abc import Iterator

import pytest

from mnist_ops.core import cancellation


class _Object:
    pass


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    cancellation.on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_an_interrupt_in_a_callback_of_python_is_sent_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    things = [_Object()]
    reference = weakref.ref(things[0], lambda _: signal.raise_signal(signal.SIGTERM))
    with cancellation.interrupts_sent_again():
        # Python discards what the callback raises.
        things.clear()
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            time.sleep(60)
    assert capsys.readouterr().err == ""
