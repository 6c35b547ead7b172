"""What a data set is, as far as a spec, a model and a report need to know it."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mnist_ops.study import lookup


@dataclass(frozen=True, eq=False)
class Dataset:
    """One data set, as it must be on disk.

    Attributes:
        name: its name, also that of its torchvision class and of its folder.
        class_names: the names of labels 0, 1, ...
        files: MD5 of each uncompressed IDX file, by file name.
        image_shape: channels, height and width of an image.
        registered_model: name of the registered model of its champions.
        box: pixels along the longer side of what an image shows, for image files that are to be
            made like its images.
        centred_by_mass: whether the centre of mass of what an image shows is in the middle, rather
            than its box.
    """

    name: str
    class_names: tuple[str, ...]
    files: dict[str, str]
    image_shape: tuple[int, int, int]
    registered_model: str
    box: int
    centred_by_mass: bool = False

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.image_shape[1:]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the content of all files."""
        return sha256("".join(self.files.values()).encode()).hexdigest()[:16]

    def folder(self, root: Path) -> Path:
        """The folder of the files under the data directory `root`, as torchvision lays it out."""
        return root / self.name / "raw"


def named(name: str) -> Dataset:
    """Return the data set called `name`; raises `InvalidInput` where there is none."""
    found: Dataset = lookup.named("datasets", name)
    return found


def most_classes() -> int:
    """Return the number of classes of the known data set that has the most."""
    return max(named(name).n_classes for name in lookup.known("datasets"))
