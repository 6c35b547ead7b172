"""The wheel, installed once for all tests."""

from pathlib import Path

import installed_wheel
import pytest


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment that has the wheel, and the libraries of this one."""
    return installed_wheel.install(tmp_path_factory.mktemp("wheel"))
