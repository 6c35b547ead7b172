"""A run's test-set predictions as the comparison needs them, wherever they come from."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray


class Predictions(Protocol):
    """What a run predicted for its test images; all three arrays have the same length."""

    @property
    def predicted(self) -> NDArray[Any]:
        """The predicted class of each test image."""

    @property
    def label(self) -> NDArray[Any]:
        """The true class."""

    @property
    def index(self) -> NDArray[Any]:
        """Which of the pooled images of the data set each test image is."""


# Run id -> its predictions; None where it has none.
PredictionsOf: TypeAlias = Callable[[str], Predictions | None]


def no_predictions(run_id: str) -> None:
    """Stands in where there is no way to get predictions."""
