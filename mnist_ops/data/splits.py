"""Train, validation and test: which image is in which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from mnist_ops.core.errors import InvalidInput
from mnist_ops.data.images import Images
from mnist_ops.study.specs import OFFICIAL, Spec

TEST_SHARE = 0.2
VAL_SHARE = 0.1
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint sets of indices into the pooled images, each int64 of shape (n,)."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


def split_of(spec: Spec, images: Images) -> Split:
    """Return the images that `spec` trains on, validates with and tests on; raises as `split`."""
    return split(
        images.labels,
        spec.seed,
        spec.train_limit,
        spec.val_limit,
        spec.test_limit,
        test_from=images.n_train if spec.parts == OFFICIAL else None,
        groups=images.groups,
        given=images.split,
    )


def split(
    classes: NDArray[np.int64],
    seed: int,
    train_limit: int = 0,
    val_limit: int = 0,
    test_limit: int = 0,
    *,
    test_from: int | None = None,
    groups: NDArray[np.int64] | None = None,
    given: Sequence[NDArray[np.int64]] | None = None,
) -> Split:
    """Split 70/10/20, stratified by class, then cut each part down to its limit.

    A limited part is stratified too, and a part of every larger one of the same seed.

    Args:
        classes: The class of each image, int64 of shape (n,).
        seed: 0 to 2**32 - 1; the same seed gives the same split.
        train_limit: Number of training images to keep, 0 for all.
        val_limit: Number of validation images to keep, 0 for all.
        test_limit: Number of test images to keep, 0 for all.
        test_from: Test on all images from this one on, and train on none of them; by default test
            images are drawn from all. Validation has as many images either way.
        groups: The group of each image; no group is in two parts, whose sizes are then those of
            whole groups.
        given: Indices of the three parts, which the seed only shuffles. If there are none for
            validation, an eighth of the training images is drawn.

    Raises:
        InvalidInput: A limit is smaller than the number of classes or larger than its part, the
            seed is out of range, or there are too few images to have every class in every part.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput(f"seed is {seed}: allowed are 0 to {MAX_SEED}")
    n_test, n_val = round(TEST_SHARE * len(classes)), round(VAL_SHARE * len(classes))
    draw = np.random.default_rng(seed)
    val: NDArray[np.int64] | None = None
    try:
        if given is not None:
            rest, val, test = (draw.permutation(part) for part in given)
            if not len(val):
                n_val, val = round(len(rest) / 8), None
        elif test_from is None:
            rest, test = _held_out(np.arange(len(classes)), n_test, classes, groups, seed)
        else:
            rest = np.arange(test_from)
            test = draw.permutation(np.arange(test_from, len(classes)))
        train = rest
        if val is None:
            train, val = _held_out(rest, n_val, classes, groups, seed)
    except ValueError as error:
        raise InvalidInput(f"{len(classes)} images cannot be split: {error}") from None
    if given is not None or groups is not None:
        # The number of validation images follows from the limit of another part.
        val_limit = min(val_limit, len(val))
    return Split(
        train=_limited(train, classes, train_limit, "train_limit"),
        val=_limited(val, classes, val_limit, "val_limit"),
        test=_limited(test, classes, test_limit, "test_limit"),
    )


def _held_out(
    index: NDArray[np.int64],
    n: int,
    classes: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the images of `index` without `n` of them, and these; by groups about as many."""
    own = classes[index]
    if groups is None:
        rest, held = train_test_split(index, test_size=n, stratify=own, random_state=seed)
        return rest, held
    n_groups = len(np.unique(groups[index]))
    if n_groups > 1:
        folds = StratifiedGroupKFold(
            min(max(round(len(index) / n), 2), n_groups), shuffle=True, random_state=seed
        )
        draw = np.random.default_rng(seed)
        for rest, held in folds.split(index, own, groups[index]):
            if set(own) == set(own[rest]) == set(own[held]):
                return draw.permutation(index[rest]), draw.permutation(index[held])
    raise InvalidInput(
        f"{len(index)} images in {n_groups} groups cannot be split so that every class is in every "
        "part: make smaller groups, or give split=(train, validation, test)"
    )


def _limited(
    part: NDArray[np.int64], classes: NDArray[np.int64], limit: int, limit_name: str
) -> NDArray[np.int64]:
    names = np.unique(classes)
    own = classes[part]
    if missing := set(names.tolist()) - set(own.tolist()):
        raise InvalidInput(f"{len(classes)} images are too few: a part has none of {missing}")
    if limit == 0:
        return part
    if not len(names) <= limit <= len(part):
        allowed = f"0 (all) or {len(names)} to {len(part)}"
        raise InvalidInput(f"{limit_name} is {limit}: allowed are {allowed}")
    # train_test_split cannot keep all but one to nine images. The parts are shuffled already:
    # deal each class evenly over the unit interval, and keep what comes first.
    place = np.empty(len(part))
    for name in names:
        mine = own == name
        place[mine] = np.arange(mine.sum()) / mine.sum()
    kept: NDArray[np.int64] = part[np.sort(np.argsort(place, kind="stable")[:limit])]
    return kept
