"""Convert image files to a model's input: grey levels, light on dark, in the size of its data set.

A grey image of that size is used as it is. Any other is converted as the images of its data set
were: to grey levels, its content cut out, scaled to the data set's box along the longer side, and
centred, by its centre of mass if those of the data set are. An image with a light border is dark on
light, and is inverted; none of the 140,000 images of the study's data sets has such a border.

Of a user's data set no more is known than the form of its images: an image is converted to that
many channels and scaled to their size, and nothing else.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_ops.core.errors import MnistOpsError
from mnist_ops.study import dataset as datasets
from mnist_ops.study.dataset import Dataset

# More than photographs of phones (50 million), fewer than decompression bombs.
MAX_PIXELS = 64_000_000
# Formats without code, unlike PostScript, for example.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"}
)
# Share of the full range below which a level is background.
_INK = 0.1
_LIGHT = 127.5

Grey = NDArray[np.uint8]
# White in 8, 10, 12 and 16 bits.
_WHITES = (255.0, 1023.0, 4095.0, 65535.0)
# Formats of phones and browsers that are not supported.
_OTHER_FORMATS = (".heic", ".heif", ".avif")


class UnreadableImage(MnistOpsError):
    """A file cannot be read as an image."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, ready for a model.

    Attributes:
        pixels: uint8, shape (height, width): grey levels, 0 is background; or (3, height, width)
            of colours.
        inverted: whether the image was dark on light.
    """

    pixels: Grey
    inverted: bool


def read(path: Path, dataset: str | Dataset) -> Picture:
    """Read the image in the file `path`.

    Args:
        path: of an image of any size and colours, in one of `FORMATS`; the first of its frames is
            used.
        dataset: the data set whose form the image gets, or its name.

    Raises:
        UnreadableImage: the file is missing, not an image, damaged, or has more than `MAX_PIXELS`.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise UnreadableImage(f"{path}: {what}")
    like = dataset if isinstance(dataset, Dataset) else datasets.named(dataset)
    if not like.box:
        return Picture(_read(path, lambda image: _scaled(image, like)), inverted=False)
    grey = _read(path, _grey)
    inverted = _is_dark_on_light(grey)
    if inverted:
        grey = 255 - grey
    if grey.shape == like.image_size:
        return Picture(grey, inverted)
    return Picture(_fitted(grey, like), inverted)


def _read(path: Path, convert: Callable[[Image.Image], Grey]) -> Grey:
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images, whose size is checked here.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                # Opening reads no more than the header.
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImage(
                        f"{path}: has {image.width} x {image.height} pixels, more than "
                        f"{MAX_PIXELS / 1e6:.0f} million: make it smaller"
                    )
                return convert(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        advice = ": save it as PNG or JPEG" if path.suffix.lower() in _OTHER_FORMATS else ""
        raise UnreadableImage(f"{path}: is not an image of {', '.join(FORMATS)}{advice}") from None
    except Image.DecompressionBombError:
        raise UnreadableImage(
            f"{path}: has more than {MAX_PIXELS / 1e6:.0f} million pixels: make it smaller"
        ) from None
    except MemoryError:
        raise UnreadableImage(f"{path}: does not fit into memory") from None
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split()) or "it is damaged"
        raise UnreadableImage(f"{path}: cannot be read: {reason}") from None
    except Exception as error:
        # Decoders raise various exceptions on damaged files, such as SyntaxError, struct.error and
        # ZeroDivisionError.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(f"{path}: is a damaged image: {reason}") from None


def _grey(image: Image.Image) -> Grey:
    """Return the grey levels, 0 to 255, of an image of any mode."""
    if image.mode == "F" or image.mode.startswith("I"):
        levels = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
        # These modes do not define white. It is that of the narrowest usual range with all levels,
        # from 0 to 1 or of 8, 10, 12 or 16 bits; else it is the lightest level.
        lightest = float(levels.max(initial=0))
        ranges = ((1.0,) if image.mode == "F" else ()) + _WHITES
        white = next((white for white in ranges if lightest <= white), lightest)
        return np.clip(levels * (255 / white), 0, 255).round().astype(np.uint8)
    if image.has_transparency_data:
        whole = image.convert("LA")
        levels, alpha = (np.asarray(band, np.float64) for band in whole.split())
        opaque = levels[alpha > _LIGHT]
        # Transparent pixels are background: light behind dark strokes, dark behind light ones.
        ground = 0.0 if len(opaque) and opaque.mean() > _LIGHT else 255.0
        share = alpha / 255
        return (levels * share + ground * (1 - share)).round().astype(np.uint8)
    return np.asarray(image.convert("L"), np.uint8)


def _scaled(image: Image.Image, like: Dataset) -> Grey:
    """Return the whole image in the channels and the size of the data set, as `data.folder`."""
    height, width = like.image_size
    image = image.convert("L" if like.image_shape[0] == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height))
    levels: Grey = np.asarray(image, np.uint8)
    return levels if levels.ndim == 2 else np.ascontiguousarray(np.moveaxis(levels, 2, 0))


def _is_dark_on_light(grey: Grey) -> bool:
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    return float(border.mean()) > _LIGHT


def _fitted(grey: Grey, like: Dataset) -> Grey:
    """Return the content of `grey`, light on dark, scaled and centred as in the data set."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    # Inverted paper is not quite black.
    ground = float(np.median(border))
    levels = np.clip((grey - ground) / max(float(grey.max()) - ground, 1.0), 0, 1)
    rows, columns = np.flatnonzero((levels > _INK).any(1)), np.flatnonzero((levels > _INK).any(0))
    if not len(rows):
        return np.zeros(like.image_size, np.uint8)
    cut = levels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = cut.shape
    scale = like.box / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray((cut * 255).round().astype(np.uint8)).resize(
        size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    )
    piece = np.asarray(small)
    fitted = np.zeros(like.image_size, np.uint8)
    top, left = (
        (room - length) // 2 for room, length in zip(fitted.shape, piece.shape, strict=True)
    )
    if like.centred_by_mass:
        top, left = _centred_by_mass(piece, like.image_size)
    fitted[top : top + piece.shape[0], left : left + piece.shape[1]] = piece
    return fitted


def _centred_by_mass(piece: Grey, size: tuple[int, int]) -> tuple[int, int]:
    """Return the top left corner of `piece` that puts its centre of mass in the middle."""
    weight = max(float(piece.sum(dtype=np.float64)), 1.0)
    place = []
    for axis, (length, room) in enumerate(zip(piece.shape, size, strict=True)):
        along = piece.sum(axis=1 - axis, dtype=np.float64)
        centre = float((along * np.arange(length)).sum()) / weight
        # The middle of the data set's images is between two pixels.
        wanted = round((room - 1) / 2 - centre)
        place.append(min(max(wanted, 0), room - length))
    return place[0], place[1]
