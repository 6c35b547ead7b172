"""The small real data sets of tests/data, for tests that need images but not 70,000."""

import gzip
import hashlib
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torchvision.datasets

from mnist_ops.data import Images
from mnist_ops.data.catalog import DATASETS
from mnist_ops.study.dataset import Dataset

GZIPPED = Path(__file__).parents[1] / "data"


def gzip_files(name: str) -> dict[str, Path]:
    """The gzip file behind each uncompressed file name of data set `name`."""
    return {file: GZIPPED / name / "raw" / f"{file}.gz" for file in DATASETS[name].files}


def fixture_info(name: str) -> Dataset:
    """Data set `name` with the digests of its small files: put it into DATASETS for a test."""
    md5s = {
        file: hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest()
        for file, path in gzip_files(name).items()
    }
    return replace(DATASETS[name], files=md5s)


def install_files(name: str, root: Path) -> Path:
    """Write the small files, uncompressed, under the data directory `root`; their folder."""
    folder = DATASETS[name].folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    for file, path in gzip_files(name).items():
        with gzip.open(path) as content, (folder / file).open("wb") as out:
            shutil.copyfileobj(content, out)
    return folder


@cache
def fixture_images(name: str) -> Images:
    """The small data set in memory: 400 training images, then 200 test images, as `load` does."""
    with TemporaryDirectory() as root:
        install_files(name, Path(root))
        reader = getattr(torchvision.datasets, name)
        parts = [reader(root, train=train) for train in (True, False)]
    info = fixture_info(name)
    return Images(
        name=name,
        images=torch.cat([part.data for part in parts]).numpy(),
        labels=torch.cat([part.targets for part in parts]).numpy(),
        n_train=len(parts[0].data),
        digest=info.digest,
        class_names=info.class_names,
    )


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def nothing_staged(folder: Path) -> bool:
    return not list(folder.glob(".staging-*"))
