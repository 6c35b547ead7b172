"""An MLflow-tracked experiment pipeline that reruns a published study of image classifiers."""

__version__ = "0.1.0"
