"""The memory that a process may use for its support vector machines, and what fits need."""

import os

from mnist_ops.core.errors import InvalidInput, MnistOpsError

# Gigabytes that one process may use. What starts several processes on one machine sets it in
# each (see `worker_environment`).
VARIABLE = "MNIST_OPS_SVM_MEMORY"
DEFAULT_GB = 4.0
# Enough for a process to fit 10,000 images block by block.
LEAST_DEFAULT_GB = 1.0
GB = 10**9
# Python with torch, MLflow and the pixels of both data sets: 0.98 GB resident, 0.38 GB of it file
# pages that processes share. A constant, not a look at the process, so that what is chosen does
# not depend on what the process did before.
PROCESS_BYTES = 6 * GB // 10

FLOAT_BYTES = 8
# Rows of evaluation images are taken a few at a time, so that their kernel values take this much.
EVALUATION_BYTES = 2**26
# Kernels that are fitted in one pass over the pairs of classes where inner products are not kept:
# as many as a fit group has.
KERNELS_AT_ONCE = 2
# libsvm's cache of kernel rows. A value costs it one look into the block, so a small cache is no
# slower than one that holds all; at 9,800 images it is faster, for want of fresh memory pages.
CACHE_MB = 100


class TooManyImages(MnistOpsError):
    """A fit needs more memory than it may use."""


def worker_environment(workers: int, total_gb: float | None = None) -> dict[str, str]:
    """Return variables that give each of several processes its share.

    Args:
        workers: how many processes.
        total_gb: what all may use together; None is `DEFAULT_GB`, or more where there are so many
            processes that a share would be useless.
    """
    share = DEFAULT_GB / workers if total_gb is None else total_gb / workers
    return {VARIABLE: str(max(share, LEAST_DEFAULT_GB) if total_gb is None else share)}


def allowed_bytes() -> int:
    """Return the bytes that this process may use.

    Raises:
        InvalidInput: the variable `VARIABLE` is not a positive number.
    """
    text = os.environ.get(VARIABLE, str(DEFAULT_GB))
    try:
        allowed = float(text)
    except ValueError:
        allowed = 0.0
    if not 0 < allowed < float("inf"):
        raise InvalidInput(f"{VARIABLE} must be a number of gigabytes above 0, got {text!r}")
    return int(allowed * GB)


def require(needed: int, allowed: int, n_images: int) -> None:
    """Refuse a fit of `n_images` that needs more bytes than are allowed.

    Raises:
        TooManyImages: it does.
    """
    if needed > allowed:
        raise TooManyImages(
            f"{n_images:,} training images need {needed / GB:.2f} GB in each worker process, and "
            f"{allowed / GB:.2f} GB are allowed: allow more, use fewer --workers, or lower "
            "--train-limit"
        )


def working_bytes(sizes: list[int], n_features: int) -> int:
    """Estimate the bytes of a process that fits classes of these sizes pair by pair."""
    first, second = sorted(sizes)[-1], sorted(sizes)[-2]
    n_train, n_pairs = sum(sizes), len(sizes) * (len(sizes) - 1) // 2
    # Pixels, and a copy that the scaler makes of them.
    standardising = 2 * FLOAT_BYTES * n_train * n_features
    # The kernel block of the two largest classes, that of the first with itself, the rows of
    # both while they are multiplied, and libsvm's cache of 32-bit rows.
    libsvm = FLOAT_BYTES * ((first + second) ** 2 + first**2)
    libsvm += min(CACHE_MB * 2**20, 4 * (first + second) ** 2)
    # The compiled solver has values of half the size, of several kernels, and inner products of
    # two pairs beside them.
    compiled = FLOAT_BYTES * ((first + second) ** 2 + (KERNELS_AT_ONCE + 4) * first**2) // 2
    rows = FLOAT_BYTES * 2 * (first + second) * n_features
    solving = max(libsvm, compiled) + rows
    # At worst every image is a support vector.
    predicting = FLOAT_BYTES * n_train * (n_features + 2 * n_pairs) + 3 * EVALUATION_BYTES
    return PROCESS_BYTES + max(standardising, solving, predicting)


def shared_bytes(sizes: list[int], n_evaluated: int) -> int:
    """Count the bytes of what is kept from one fit to the next, or from one pair to the next.

    All blocks of the Gram matrix, the inner products with the images to classify, and the kernel
    blocks of each class with itself.
    """
    n_train, diagonal = sum(sizes), sum(size**2 for size in sizes)
    gram = (n_train**2 + diagonal) // 2
    return FLOAT_BYTES * (gram + n_evaluated * n_train + diagonal)


def plain_bytes(n_train: int) -> int:
    """Estimate the bytes of a process that fits with a whole kernel matrix, and a copy of it."""
    return PROCESS_BYTES + 2 * FLOAT_BYTES * n_train**2
