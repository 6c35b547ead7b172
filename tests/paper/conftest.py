"""The study's figures, drawn once."""

import pytest
from paper_figures import chosen, figures_of, known

from mnist_ops.compare.figures.figure import Figure


@pytest.fixture(scope="session")
def figures() -> list[Figure]:
    """All figures of runs with known numbers; do not change them."""
    return figures_of(chosen(change=known))
