"""The opponent: what a user of scikit-learn writes, at its best.

`SVC` with defaults and a kernel cache of 1 GB, one fit a configuration, joblib over the cores.
Pixels are standardised once, outside the clock, and workers get them as shared memory maps.
"""

import itertools
import time

import joblib
import numpy as np
from sklearn.svm import SVC

# The grid of pipelines/svm_grid.py: kernel, gamma, C.
CONFIGURATIONS = tuple(
    itertools.product(("poly", "rbf"), ("scale", "auto"), (0.1, 1.0, 10.0)),
)


def fit_predict(
    configuration: tuple[str, str, float],
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Predicted classes, and the number of support vectors."""
    kernel, gamma, penalty = configuration
    classifier = SVC(kernel=kernel, gamma=gamma, C=penalty, cache_size=1000)
    classifier.fit(x_train, y_train)
    return classifier.predict(x_test), len(classifier.support_)


def run(
    pool: joblib.Parallel,
    configurations: tuple[tuple[str, str, float], ...],
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
) -> tuple[float, list[tuple[np.ndarray, int]]]:
    """Seconds for all configurations, and what each gave."""
    start = time.perf_counter()
    results = list(
        pool(
            joblib.delayed(fit_predict)(configuration, x_train, y_train, x_test)
            for configuration in configurations
        )
    )
    return time.perf_counter() - start, results
