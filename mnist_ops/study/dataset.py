"""Properties of a data set that specs, models and reports need."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.study import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Labels and predictions are kept in a byte each.
MAX_CLASSES = 256
# As messages call the parts of a split.
PARTS = ("training", "validation", "test")
# What each class needs so that training, validation and test can each have one.
MIN_IMAGES = 3


@dataclass(frozen=True, eq=False)
class Content:
    """All images of a data set.

    Attributes:
        images: uint8, shape (n, height, width) of grey levels or (n, height, width, 3) of colours.
        labels: whole numbers from 0, shape (n,).
        class_names: the names of labels 0, 1, ...; empty for their numbers.
        n_train: how many come first that were published for training; None for no such parts.
        groups: which images belong together, as those of one person do; shape (n,). No group is in
            two of the parts for training, validation and test.
        split: indices of the images for training, for validation and for test, in place of parts
            that are drawn by seed. Without any for validation, those are drawn from the first.
    """

    images: "NDArray[Any]"
    labels: "NDArray[Any]"
    class_names: tuple[str, ...] = ()
    n_train: int | None = None
    groups: "NDArray[Any] | None" = None
    split: "tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None" = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """One data set, as it must be on disk, or as a user's study has it.

    Attributes:
        name: its name, also of its torchvision class and of its folder.
        class_names: the names of labels 0, 1, ...
        image_shape: channels, height and width of an image.
        files: MD5 of each uncompressed IDX file, by file name.
        registered_model: name of the registered model of its champions.
        box: pixels along the longer side of an image's content, for converting image files; 0 for
            image files that are scaled whole.
        centred_by_mass: whether images are centred by their centre of mass rather than their box.
        content: the images of a user's data set, which has no files.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    files: dict[str, str] = field(default_factory=dict)
    registered_model: str = ""
    box: int = 0
    centred_by_mass: bool = False
    content: Content | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.image_shape[1:]

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Shape of an image's array: height and width, after the channels if there are several."""
        return self.image_shape if self.image_shape[0] > 1 else self.image_size

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the content of all files, or all images."""
        if self.content is None:
            return sha256("".join(self.files.values()).encode()).hexdigest()[:16]
        # The command line's help does without it.
        import numpy as np

        labels = np.asarray(self.content.labels, dtype="<i8")
        found = sha256(repr((self.image_shape, self.class_names, self.content.n_train)).encode())
        found.update(np.ascontiguousarray(self.content.images).data)
        found.update(labels.tobytes())
        for name in ("groups", "split"):
            if (given := getattr(self.content, name)) is not None:
                arrays = given if name == "split" else (given,)
                found.update(repr((name, [len(each) for each in arrays])).encode())
                found.update(np.concatenate(arrays).astype("<i8").tobytes())
        return found.hexdigest()[:16]

    def folder(self, root: Path) -> Path:
        """Return the folder of the files below the data folder `root`, as in torchvision."""
        return root / self.name / "raw"


@dataclass(frozen=True, eq=False)
class OwnData:
    """A user's data set, which is read when it is first needed.

    Attributes:
        name: as in specs, runs and tables.
        read: returns its images.
    """

    name: str
    read: Callable[[], Content]

    @property
    def registered_model(self) -> str:
        """Name of the registered model of its champions."""
        return registered_model_of(self.name)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set.

        Raises:
            InvalidInput: it cannot be read, or is none; the message says why.
        """
        try:
            content = self.read()
        except MnistOpsError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InvalidInput(f"data set {self.name} cannot be read: {reason}") from error
        return _checked(self.name, content)


def found(name: str) -> Dataset | OwnData:
    """Return the data set called `name`, read or not; raises `InvalidInput` where there is none."""
    data: Dataset | OwnData = lookup.named("datasets", name)
    return data


def named(name: str) -> Dataset:
    """Return the data set `name`; raises `InvalidInput` without one."""
    data = found(name)
    return data.dataset if isinstance(data, OwnData) else data


def registered_model_of(name: str) -> str:
    """Return the name of the registered model of the champions of a user's data set."""
    return f"mnist-ops-{name}"


def classes_of(name: str) -> int:
    """Return how many classes runs on the data set called `name` may tell apart."""
    return named(name).n_classes if name in lookup.known("datasets") else MAX_CLASSES


def _checked(name: str, content: Content) -> Dataset:
    import numpy as np

    if not isinstance(content, Content):
        raise InvalidInput(f"data set {name}: its function returns {type(content)}, no Content")
    images, labels = np.asarray(content.images), np.asarray(content.labels)
    colours = images.ndim == 4 and images.shape[3] in (1, 3)
    if images.dtype != np.uint8 or not (images.ndim == 3 or colours) or not images.size:
        raise InvalidInput(
            f"data set {name}: images are uint8 of shape (n, height, width) or (n, height, width, "
            f"3), got {images.dtype} of shape {images.shape}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise InvalidInput(
            f"data set {name}: labels are whole numbers from 0, one for each of {len(images):,} "
            f"images, got {labels.dtype} of shape {labels.shape}"
        )
    n_classes = max(int(labels.max()) + 1, len(content.class_names))
    if not 2 <= n_classes <= MAX_CLASSES:
        raise InvalidInput(f"data set {name}: it has {n_classes} classes, allowed are 2 to 256")
    names = content.class_names or tuple(map(str, range(n_classes)))
    if len(names) != n_classes:
        raise InvalidInput(f"data set {name}: {n_classes} classes, but {len(names)} class names")
    counts = np.bincount(labels, minlength=n_classes)
    groups = _checked_groups(name, content, len(labels))
    split = _checked_split(name, content, labels, names)
    # Stratified into 70, 10 and 20%.
    few = [f"{n} ({c})" for n, c in zip(names, counts, strict=True) if c < MIN_IMAGES]
    if split is None and few:
        raise InvalidInput(
            f"data set {name}: too few images of {', '.join(few[:5])}: each class needs "
            f"{MIN_IMAGES}, for training, validation and test"
        )
    if images.ndim == 4:
        images = np.ascontiguousarray(np.moveaxis(images, 3, 1))
    images = images[:, 0] if images.ndim == 4 and images.shape[1] == 1 else images
    height, width = images.shape[-2:]
    channels = images.shape[1] if images.ndim == 4 else 1
    return Dataset(
        name=name,
        class_names=tuple(map(str, names)),
        image_shape=(channels, height, width),
        registered_model=registered_model_of(name),
        content=Content(
            images, labels.astype(np.int64), tuple(names), content.n_train, groups, split
        ),
    )


def _checked_groups(name: str, content: Content, n_images: int) -> "NDArray[Any] | None":
    """Return the groups as whole numbers."""
    import numpy as np

    if content.groups is None:
        return None
    found = np.asarray(content.groups)
    if found.shape != (n_images,) or found.dtype.kind not in "iuUS":
        raise InvalidInput(
            f"data set {name}: groups are whole numbers or texts, one for each of {n_images:,} "
            f"images, got {found.dtype} of shape {found.shape}"
        )
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _checked_split(
    name: str, content: Content, labels: "NDArray[Any]", names: Sequence[str]
) -> "tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None":
    import numpy as np

    parts = content.split
    if parts is None and content.n_train is not None and content.groups is not None:
        # Published parts must not share a group either.
        first = np.arange(len(labels)) < content.n_train
        parts = (np.flatnonzero(first), np.arange(0), np.flatnonzero(~first))
    if parts is None:
        return None
    if content.split is not None and content.n_train is not None:
        raise InvalidInput(f"data set {name}: give either n_train or split")
    if len(parts) != len(PARTS):
        raise InvalidInput(f"data set {name}: split is (train, validation, test), 3 arrays")
    found = [np.asarray(part) if len(part) else np.arange(0) for part in parts]
    last = len(labels) - 1
    for part, what in zip(found, PARTS, strict=True):
        if part.ndim != 1 or part.dtype.kind not in "iu" or (part.size and part.max() > last):
            raise InvalidInput(
                f"data set {name}: {what} images are given as whole numbers from 0 to {last}"
            )
    numbers, times = np.unique(np.concatenate(found), return_counts=True)
    if numbers.size and (numbers[0] < 0 or times.max() > 1):
        twice = numbers[times > 1]
        told = f"image {twice[0]} is in it twice" if len(twice) else f"it has image {numbers[0]}"
        raise InvalidInput(f"data set {name}: split is wrong: {told}")
    for part, what in zip(found, PARTS, strict=True):
        # Validation images may be drawn.
        absent = sorted(set(range(len(names))) - set(labels[part].tolist()))
        if absent and (len(part) or what != PARTS[1]):
            raise InvalidInput(
                f"data set {name}: no {what} image is of class {names[absent[0]]}: give one, or "
                "leave the split out"
            )
    if content.groups is not None:
        groups = np.asarray(content.groups)
        for i, j in itertools.combinations(range(len(PARTS)), 2):
            if len(shared := np.intersect1d(groups[found[i]], groups[found[j]])):
                raise InvalidInput(
                    f"data set {name}: group {shared[0]} has {PARTS[i]} images and {PARTS[j]} "
                    "images: it may be in one part alone"
                )
    if content.split is None:
        return None
    train, val, test = (part.astype(np.int64) for part in found)
    return train, val, test
