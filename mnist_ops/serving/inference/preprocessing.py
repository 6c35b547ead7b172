"""Image files as a model takes them: grey levels, light on dark, in the size of its data set.

A file of grey pixels of that size is taken as it is. Any other is made grey and brought to it in
the way its data set was made: what it shows is cut out, scaled to the data set's box along the
longer side, and put into the middle, by its centre of mass where the data set is. An image whose
border is light on the whole is dark on light, and is inverted; none of the 140,000 images of our
two data sets has such a border.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_ops.core.errors import MnistOpsError
from mnist_ops.study import dataset as datasets
from mnist_ops.study.dataset import Dataset

# A photograph of today's telephones has 50 million pixels at most; a decompression bomb has more.
MAX_PIXELS = 64_000_000
# Formats that are read by code for pictures alone: PostScript, for one, is a program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"}
)
# Of the full range: what is darker than this counts as background.
_INK = 0.1
_LIGHT = 127.5

Grey = NDArray[np.uint8]
# The lightest levels of 8, 10, 12 and 16 bits.
_WHITES = (255.0, 1023.0, 4095.0, 65535.0)
# What telephones and browsers save, and nothing here reads.
_OTHER_FORMATS = (".heic", ".heif", ".avif")


class UnreadableImage(MnistOpsError):
    """A file is no image that can be classified."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, ready for a model.

    Attributes:
        pixels: uint8, shape (height, width): grey levels, 0 is background.
        inverted: whether the file was dark on light.
        resized: whether it had another size.
    """

    pixels: Grey
    inverted: bool
    resized: bool


def read(path: Path, dataset: str) -> Picture:
    """The image in the file `path`.

    Args:
        path: of an image of any size, colours and format of `FORMATS`; of several frames the first
            counts.
        dataset: whose images it is to look like.

    Raises:
        UnreadableImage: there is no such file, it is not an image, it is damaged, or it has more
            than `MAX_PIXELS`.
    """
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise UnreadableImage(f"{path}: {what}")
    grey = _read_grey(path)
    inverted = _is_dark_on_light(grey)
    if inverted:
        grey = 255 - grey
    like = datasets.named(dataset)
    if grey.shape == like.image_size:
        return Picture(grey, inverted, resized=False)
    return Picture(_fitted(grey, like), inverted, resized=True)


def _read_grey(path: Path) -> Grey:
    try:
        with warnings.catch_warnings():
            # Its size is checked here, and what else there may be to say of it changes nothing.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                # Opening reads no more than the header.
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImage(
                        f"{path}: has {image.width} x {image.height} pixels, more than "
                        f"{MAX_PIXELS / 1e6:.0f} million: make it smaller"
                    )
                return _grey(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        advice = ": save it as PNG or JPEG" if path.suffix.lower() in _OTHER_FORMATS else ""
        raise UnreadableImage(f"{path}: is no image of {', '.join(FORMATS)}{advice}") from None
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
        # What a decoder raises on a damaged file is its own affair: SyntaxError, struct.error,
        # ZeroDivisionError and others were seen.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(f"{path}: is a damaged image: {reason}") from None


def _grey(image: Image.Image) -> Grey:
    """Grey levels 0 to 255 of an image of any mode."""
    if image.mode == "F" or image.mode.startswith("I"):
        levels = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
        # These modes have no white of their own: it is that of the narrowest usual range, shares
        # from 0 to 1 or 8, 10, 12 or 16 bits, which has all levels; else the lightest.
        lightest = float(levels.max(initial=0))
        ranges = ((1.0,) if image.mode == "F" else ()) + _WHITES
        white = next((white for white in ranges if lightest <= white), lightest)
        return np.clip(levels * (255 / white), 0, 255).round().astype(np.uint8)
    if image.has_transparency_data:
        whole = image.convert("LA")
        levels, alpha = (np.asarray(band, np.float64) for band in whole.split())
        opaque = levels[alpha > _LIGHT]
        # Transparent lies behind: dark strokes are on a light ground, light ones on a dark one.
        ground = 0.0 if len(opaque) and opaque.mean() > _LIGHT else 255.0
        share = alpha / 255
        return (levels * share + ground * (1 - share)).round().astype(np.uint8)
    return np.asarray(image.convert("L"), np.uint8)


def _is_dark_on_light(grey: Grey) -> bool:
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    return float(border.mean()) > _LIGHT


def _fitted(grey: Grey, like: Dataset) -> Grey:
    """`grey`, light on dark, cut out and brought to the size of the data set's images."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    # Paper is not quite white, so its inverse is not quite black.
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
    """Where the top left corner of `piece` goes so that its centre of mass is in the middle."""
    weight = max(float(piece.sum(dtype=np.float64)), 1.0)
    place = []
    for axis, (length, room) in enumerate(zip(piece.shape, size, strict=True)):
        along = piece.sum(axis=1 - axis, dtype=np.float64)
        centre = float((along * np.arange(length)).sum()) / weight
        # The middle as the data set counts it: between the two pixels there.
        wanted = round((room - 1) / 2 - centre)
        place.append(min(max(wanted, 0), room - length))
    return place[0], place[1]
