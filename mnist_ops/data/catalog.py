"""What the data sets are: their names, their classes and the digests of their files."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from torchvision.datasets import FashionMNIST

from mnist_ops.core.errors import InvalidInput


@dataclass(frozen=True)
class DatasetInfo:
    """One data set, as it must be on disk.

    Attributes:
        name: Its name, also that of its torchvision class and of its folder.
        class_names: The names of labels 0 to 9.
        files: MD5 of each uncompressed IDX file, by file name.
    """

    name: str
    class_names: tuple[str, ...]
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the content of all files."""
        return sha256("".join(self.files.values()).encode()).hexdigest()[:16]

    def folder(self, root: Path) -> Path:
        """The folder of the files under the data directory `root`, as torchvision lays it out."""
        return root / self.name / "raw"


# torchvision pins FashionMNIST's gzip files only. These MD5s are of the same content: packed
# with the original gzip headers, it gives exactly the four gzip digests of torchvision's list.
DATASETS: dict[str, DatasetInfo] = {
    "MNIST": DatasetInfo(
        name="MNIST",
        class_names=tuple(str(digit) for digit in range(10)),
        files={
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    ),
    "FashionMNIST": DatasetInfo(
        name="FashionMNIST",
        class_names=tuple(FashionMNIST.classes),
        files={
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
    ),
}


def dataset_info(name: str) -> DatasetInfo:
    """The data set called `name`.

    Raises:
        InvalidInput: There is none of that name.
    """
    try:
        return DATASETS[name]
    except KeyError:
        allowed = ", ".join(DATASETS)
        raise InvalidInput(f"dataset is {name!r}: allowed are {allowed}") from None
