"""The data sets there are: their classes, images and the digests of their files."""

from mnist_ops.study.dataset import Dataset

# torchvision pins FashionMNIST's gzip files only. These MD5s are of the same content: packed
# with the original gzip headers, it gives exactly the four gzip digests of torchvision's list.
DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="MNIST",
            class_names=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
            files={
                "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
                "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
                "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
                "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
            },
            image_shape=(1, 28, 28),
            registered_model="mnist-ops-mnist",
            # The digits fit a box of 20x20 and have their centre of mass in the middle
            # (LeCun et al., Proc. IEEE 86(11), 1998, section III.A).
            box=20,
            centred_by_mass=True,
        ),
        Dataset(
            name="FashionMNIST",
            class_names=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            files={
                "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
                "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
                "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
            },
            image_shape=(1, 28, 28),
            registered_model="mnist-ops-fashion",
            # The pieces are cut out, scaled along the longer side and put into the middle
            # (Xiao et al., arXiv:1708.07747, section 2).
            box=28,
        ),
    )
}
