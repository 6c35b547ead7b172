"""Image files of any kind become what a model takes, or one line."""

import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import fixture_images
from PIL import Image

from mnist_ops.data.catalog import DATASETS
from mnist_ops.serving.inference import preprocessing
from mnist_ops.serving.inference.preprocessing import UnreadableImage

DIGIT = fixture_images("MNIST").images[7]


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("dataset", DATASETS)
def test_an_image_of_the_data_set_is_taken_as_it_is(dataset: str, tmp_path: Path) -> None:
    for number, pixels in enumerate(fixture_images(dataset).images[::10]):
        path = saved(Image.fromarray(pixels), tmp_path / f"{number}.png")
        picture = preprocessing.read(path, dataset)
        assert np.array_equal(picture.pixels, pixels)
        assert not picture.inverted


@pytest.mark.parametrize("dataset", DATASETS)
def test_dark_on_light_is_inverted(dataset: str, tmp_path: Path) -> None:
    for number, pixels in enumerate(fixture_images(dataset).images[::10]):
        path = saved(Image.fromarray(255 - pixels), tmp_path / f"{number}.png")
        picture = preprocessing.read(path, dataset)
        assert picture.inverted
        assert np.array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_colour_mode_is_the_same_digit(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(DIGIT)
    if mode == "I;16":
        image = Image.fromarray(DIGIT.astype(np.uint16) * 257)
    elif mode == "P":
        image = image.convert("RGB").quantize(64)
    else:
        image = image.convert(mode, dither=Image.Dither.NONE)
    suffix = {"F": ".tiff", "CMYK": ".tiff", "I": ".tiff"}.get(mode, ".png")
    picture = preprocessing.read(saved(image, tmp_path / f"d{suffix}"), "MNIST")
    limit = 128 if mode == "1" else 8
    assert np.abs(picture.pixels.astype(int) - DIGIT).max() <= limit


@pytest.mark.parametrize("ink", [0, 255])
def test_strokes_on_a_transparent_ground_are_seen(ink: int, tmp_path: Path) -> None:
    pixels = np.zeros((28, 28, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = ink, DIGIT
    picture = preprocessing.read(saved(Image.fromarray(pixels), tmp_path / "d.png"), "MNIST")
    assert np.array_equal(picture.pixels, DIGIT)


@pytest.mark.parametrize("size", [(280, 280), (84, 90), (1000, 400), (100, 101)])
def test_a_digit_of_another_size_is_brought_to_that_of_its_data_set(
    size: tuple[int, int], tmp_path: Path
) -> None:
    sheet = Image.new("L", size, 250)
    side = min(size) * 2 // 3
    # Paper that is not quite white, ink that is not quite black.
    ink = Image.fromarray(DIGIT).resize((side, side))
    sheet.paste(30, (size[0] - side, 0), ink)
    picture = preprocessing.read(saved(sheet.convert("RGB"), tmp_path / "photo.png"), "MNIST")
    assert picture.inverted
    assert np.corrcoef(picture.pixels.ravel(), DIGIT.ravel())[0, 1] > 0.85
    rows, columns = np.nonzero(picture.pixels > 30)
    assert max(np.ptp(rows), np.ptp(columns)) < 21


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (29, 28), (3, 2)])
@pytest.mark.parametrize("grey", [0, 100, 255])
def test_odd_sizes_and_blank_images_are_images(
    dataset: str, size: tuple[int, int], grey: int, tmp_path: Path
) -> None:
    picture = preprocessing.read(saved(Image.new("L", size, grey), tmp_path / "odd.png"), dataset)
    assert picture.pixels.shape == (28, 28)
    assert picture.pixels.dtype == np.uint8
    assert not picture.pixels.any()


def test_the_camera_s_rotation_counts(tmp_path: Path) -> None:
    turned = Image.fromarray(np.rot90(DIGIT, 1).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it right
    path = saved(turned, tmp_path / "d.png", exif=exif)
    assert np.array_equal(preprocessing.read(path, "MNIST").pixels, DIGIT)


def png_that_says(width: int, height: int) -> bytes:
    """A PNG of a few bytes with a header of any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + content + chunk(b"IEND", b"")


def test_files_that_are_no_images_are_one_line(tmp_path: Path) -> None:
    good = io.BytesIO()
    Image.fromarray(DIGIT).save(good, "PNG")
    contents = {
        "empty.png": (b"", "is not an image"),
        "text.png": (b"hello", "is not an image"),
        "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n", "is not an image"),
        "cut.png": (good.getvalue()[:60], "cut.png: "),
        "bomb.png": (png_that_says(60_000, 60_000), r"bomb\.png: has more than 64 million"),
        "large.png": (png_that_says(9_000, 9_000), r"large\.png: has 9000 x 9000 pixels"),
    }
    for name, (content, told) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImage, match=told) as raised:
            preprocessing.read(tmp_path / name, "MNIST")
        assert "\n" not in str(raised.value)
        assert name in str(raised.value)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="does not exist"):
        preprocessing.read(tmp_path / "none.png", "MNIST")
    with pytest.raises(UnreadableImage, match="is not a file"):
        preprocessing.read(tmp_path, "MNIST")
    # Opening it would wait for a writer, forever.
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match="is not a file"):
        preprocessing.read(tmp_path / "pipe.png", "MNIST")


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tiff", "ppm"])
def test_no_mutated_image_does_harm(suffix: str, tmp_path: Path) -> None:
    """Bytes changed, cut and repeated, seeded: one line, or an image."""
    chance = random.Random(11)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(np.dstack([DIGIT] * 3)).resize((60, 50)).save(path)
    whole = path.read_bytes()
    refusals = []
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        if chance.random() < 0.3:
            del content[chance.randrange(len(content)) :]
        path.write_bytes(bytes(content))
        try:
            assert preprocessing.read(path, "MNIST").pixels.shape == (28, 28)
        except UnreadableImage as error:
            refusals.append(str(error))
    print(f"{suffix}: {len(refusals)} of 60 mutated images refused, the others read")
    assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.parametrize(("white", "kind"), [(1.0, np.float32), (4095, np.uint16)])
def test_white_of_shares_and_of_12_bits(tmp_path: Path, white: float, kind: type) -> None:
    levels = np.zeros((28, 28), kind)
    levels[8:20, 8:20] = white
    path = tmp_path / "picture.tiff"
    Image.fromarray(levels).save(path)
    pixels = preprocessing.read(path, "MNIST").pixels
    assert pixels.max() == 255
    assert pixels.min() == 0
