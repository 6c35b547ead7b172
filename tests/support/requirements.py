"""Requirements of tests: skip the test where one is absent, and fail it in CI."""

import os
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """End the test: it fails where the variable CI is set, and is skipped elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def require(available: object, reason: str) -> None:
    """End the test as `unavailable` does, unless `available` is true."""
    if not available:
        unavailable(reason)
