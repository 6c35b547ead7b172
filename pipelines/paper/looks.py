"""The colours of models, kernels and devices, and the symbols of data sets, in all figures.

The colours are those of Okabe and Ito, which can be distinguished with any colour vision.
"""

from mnist_ops.compare.figures import style

_COLOURS = {
    "ResNet-18": "#0072b2",
    "ResNet-50": "#d55e00",
    "SVM rbf": "#009e73",
    "SVM poly": "#cc79a7",
    "SVM linear": "#b3a100",
    "SVM sigmoid": "#8a8a8a",
    "CPU": "#e69f00",
    "CUDA": "#56b4e9",
}
_SYMBOLS = {"MNIST": "circle", "FashionMNIST": "diamond"}


def colour(entity: str) -> str:
    """Return the colour of a model, kernel or device."""
    return _COLOURS.get(entity) or style.colour(entity)


def symbol(dataset: str) -> str:
    """Return the marker of a data set."""
    return _SYMBOLS.get(dataset, "square")
