"""An MLflow-tracked experiment pipeline that reruns a published MNIST / FashionMNIST study."""

__version__ = "0.1.0"
