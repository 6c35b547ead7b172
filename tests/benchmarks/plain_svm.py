"""The opponent: what a user of scikit-learn writes, at its best.

`SVC` with defaults and a kernel cache of 1 GB, one fit a configuration, joblib over the cores; of
scikit-learn, or of scikit-learn-intelex, which has the same class on Intel's library. Pixels are
standardised once, outside the clock, and workers get them as shared memory maps.
"""

import importlib
import itertools
import time

import joblib
import numpy as np

# The grid of pipelines/svm_grid.py: kernel, gamma, C.
CONFIGURATIONS = tuple(
    itertools.product(("poly", "rbf"), ("scale", "auto"), (0.1, 1.0, 10.0)),
)


def fit_predict(
    package: str,
    configuration: tuple[str, str, float],
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Predicted classes, and the number of support vectors."""
    kernel, gamma, penalty = configuration
    classifier = importlib.import_module(package).SVC(
        kernel=kernel, gamma=gamma, C=penalty, cache_size=1000
    )
    classifier.fit(x_train, y_train)
    return classifier.predict(x_test), len(classifier.support_)


def _import(package: str) -> None:
    importlib.import_module(package)
    time.sleep(0.5)


def run(
    package: str,
    pool: joblib.Parallel,
    configurations: tuple[tuple[str, str, float], ...],
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[float, list[tuple[np.ndarray, int]]]:
    """Seconds for all configurations, and what each gave; arrays as `fit_predict` takes them."""
    # Long enough that each process gets one, and imports outside the clock.
    pool(joblib.delayed(_import)(package) for _ in range(4 * pool.n_jobs))
    start = time.perf_counter()
    results = list(
        pool(
            joblib.delayed(fit_predict)(package, configuration, *arrays)
            for configuration in configurations
        )
    )
    return time.perf_counter() - start, results
