"""Make the small data sets of this folder from the real ones: python tests/data/make_fixtures.py.

The first 40 training and 20 test images of each class, in their published order.
"""

import gzip
from pathlib import Path

import torch
from torchvision.datasets import MNIST, FashionMNIST

from mnist_ops.data import default_data_dir, ensure

HERE = Path(__file__).parent
PER_CLASS = {"train": 40, "t10k": 20}


def main() -> None:
    """Write the eight files."""
    for dataset in (MNIST, FashionMNIST):
        ensure(dataset.__name__)
        folder = HERE / dataset.__name__ / "raw"
        folder.mkdir(parents=True, exist_ok=True)
        for part, per_class in PER_CLASS.items():
            full = dataset(default_data_dir(), train=part == "train")
            first = [torch.nonzero(full.targets == label)[:per_class, 0] for label in range(10)]
            kept = torch.cat(first).sort().values
            write_idx(folder / f"{part}-images-idx3-ubyte.gz", full.data[kept])
            write_idx(folder / f"{part}-labels-idx1-ubyte.gz", full.targets[kept])


def write_idx(path: Path, values: torch.Tensor) -> None:
    """Write a tensor of bytes in IDX format: 0, 0, type 8, dimensions, sizes, values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    content = bytes([0, 0, 8, values.ndim]) + sizes + values.to(torch.uint8).numpy().tobytes()
    path.write_bytes(gzip.compress(content, mtime=0))


if __name__ == "__main__":
    main()
