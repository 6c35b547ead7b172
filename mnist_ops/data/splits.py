"""Train, validation and test: which image is in which."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from mnist_ops.core.errors import InvalidInput
from mnist_ops.data.images import Images
from mnist_ops.study.specs import Spec

TEST_SHARE = 0.2
VAL_SHARE = 0.1
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint sets of indices into the pooled images, each int64 of shape (n,)."""

    train: torch.Tensor
    val: torch.Tensor
    test: torch.Tensor


def split_of(spec: Spec, images: Images) -> Split:
    """Return the images that `spec` trains on, validates with and tests on; raises as `split`."""
    limits = spec.train_limit, spec.val_limit, spec.test_limit
    test_from = images.n_train if spec.parts == "official" else None
    return split(images.labels, spec.seed, *limits, test_from=test_from)


def split(
    labels: torch.Tensor,
    seed: int,
    train_limit: int = 0,
    val_limit: int = 0,
    test_limit: int = 0,
    *,
    test_from: int | None = None,
) -> Split:
    """Split 70/10/20, stratified by class, then cut each part down to its limit.

    A limited part is stratified too, and a part of every larger one of the same seed.

    Args:
        labels: The class of each image, int64 of shape (n,).
        seed: 0 to 2**32 - 1; the same seed gives the same split.
        train_limit: Number of training images to keep, 0 for all.
        val_limit: Number of validation images to keep, 0 for all.
        test_limit: Number of test images to keep, 0 for all.
        test_from: Test on all images from this one on, and train on none of them; by default test
            images are drawn from all. Validation has as many images either way.

    Raises:
        InvalidInput: A limit is smaller than the number of classes or larger than its part, the
            seed is out of range, or there are too few images to have every class in every part.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput(f"seed is {seed}: allowed are 0 to {MAX_SEED}")
    classes = labels.numpy()
    n_test, n_val = round(TEST_SHARE * len(classes)), round(VAL_SHARE * len(classes))
    try:
        if test_from is None:
            rest, test = train_test_split(
                np.arange(len(classes)), test_size=n_test, stratify=classes, random_state=seed
            )
        else:
            rest = np.arange(test_from)
            test = np.random.default_rng(seed).permutation(np.arange(test_from, len(classes)))
        train, val = train_test_split(
            rest, test_size=n_val, stratify=classes[rest], random_state=seed
        )
    except ValueError as error:
        raise InvalidInput(f"{len(classes)} images cannot be split: {error}") from None
    return Split(
        train=_limited(train, classes, train_limit, "train_limit"),
        val=_limited(val, classes, val_limit, "val_limit"),
        test=_limited(test, classes, test_limit, "test_limit"),
    )


def _limited(
    part: NDArray[np.int64], classes: NDArray[np.int64], limit: int, limit_name: str
) -> torch.Tensor:
    names = np.unique(classes)
    own = classes[part]
    if missing := set(names.tolist()) - set(own.tolist()):
        raise InvalidInput(f"{len(classes)} images are too few: a part has none of {missing}")
    if limit == 0:
        return torch.from_numpy(part)
    if not len(names) <= limit <= len(part):
        allowed = f"0 (all) or {len(names)} to {len(part)}"
        raise InvalidInput(f"{limit_name} is {limit}: allowed are {allowed}")
    # train_test_split cannot keep all but one to nine images. The parts are shuffled already:
    # deal each class evenly over the unit interval, and keep what comes first.
    place = np.empty(len(part))
    for name in names:
        mine = own == name
        place[mine] = np.arange(mine.sum()) / mine.sum()
    kept = np.sort(np.argsort(place, kind="stable")[:limit])
    return torch.from_numpy(part[kept])
