"""Properties of a data set that specs, models and reports need."""

from collections.abc import Callable
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
    """

    images: "NDArray[Any]"
    labels: "NDArray[Any]"
    class_names: tuple[str, ...] = ()
    n_train: int | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """One data set, as it must be on disk, or as a user's study has it.

    Attributes:
        name: its name, also of its torchvision class and of its folder.
        class_names: the names of labels 0, 1, ...
        image_shape: channels, height and width of an image.
        files: MD5 of each uncompressed IDX file, by file name.
        registered_model: name of the registered model of its champions.
        box: pixels along the longer side of an image's content, for converting image files.
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
    # Stratified thrice into 70, 10 and 20%.
    if few := [f"{n} ({c})" for n, c in zip(names, counts, strict=True) if c < MIN_IMAGES]:
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
        registered_model=f"mnist-ops-{name}",
        box=max(height, width),
        content=Content(images, labels.astype(np.int64), tuple(names), content.n_train),
    )
