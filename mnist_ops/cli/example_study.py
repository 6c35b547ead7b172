"""A study of my own: what is fitted to which images, and the grid of settings that is compared.

    mnist-ops run NAME.py --dry-run         print the cells, and run nothing
    mnist-ops run NAME.py                   run those that are not finished yet
    mnist-ops summarize --study NAME.py     write the report: report/index.html

Change a function and its cells are new; change the grid and only what is new in it is run.
"""

from torch import nn

from mnist_ops.study import Content, Limits, NetworkSpec, OwnData, Preset, Study


def digits() -> Content:
    """Return the images: scikit-learn's 1,797 digits of 8x8 pixels.

    `mnist_ops.data` has folder("pets", "pets/"), npz("pets", "pets.npz") and
    torchvision_set("KMNIST") for images in files. "MNIST" and "FashionMNIST" are known by name.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return Content((found.images * 15).astype("uint8"), found.target)


def small_cnn(
    image_shape: tuple[int, int, int], n_classes: int, width: int = 16, dropout: float = 0.0
) -> nn.Module:
    """Return a network for images of any shape; the arguments behind the first two are axes."""
    return nn.Sequential(
        nn.Conv2d(image_shape[0], width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(16 * width, n_classes),
    )


STUDY = Study(
    name="NAME",
    title="A small network on digits",
    question="Does a wider network or more dropout help?",
    spec=NetworkSpec,
    # Sizes: each cell runs once a seed, on so many images. `--preset full` takes the second.
    presets={
        "quick": Preset(seeds=(0, 1, 2), limits=Limits(train=200, test=200)),
        "full": Preset(seeds=(0, 1, 2, 3, 4), limits=Limits()),
    },
    # Axes: each combination of values is a cell. `--set width=8,64` replaces one.
    grid={
        "dataset": (OwnData("digits", digits),),
        "model": (small_cnn,),
        "width": (8, 32),
        "dropout": (0.0, 0.2),
        "epochs": (2, 5),
        "batch_size": (32,),
        "optimizer": ("Adam",),
        "learning_rate": (0.01,),
        "weight_decay": (0.0,),
        "device": ("auto",),
    },
)
