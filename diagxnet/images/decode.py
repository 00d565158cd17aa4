"""From an image file of any kind that is read to the grey square: one path for training and for prediction."""

import os
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from diagxnet.images.dicom import read_dicom
from diagxnet.images.doubts import Doubt, doubts_of_shape, doubts_of_square
from diagxnet.images.grey import Film
from diagxnet.images.kinds import DAMAGE, DAMAGED, DICOM, HEAD, ImageError, kind_of
from diagxnet.images.pictures import read_picture
from diagxnet.reading.paths import leads_out

CROPS = ("guide", "pad", "stretch")
"""What of a film becomes the square: see `square`."""

RESIZE_RATIO = 256 / 224
"""The guide resizes the shorter side to 256 and crops the middle 224; other sizes keep the proportion."""


@dataclass(frozen=True)
class Radiograph:
    """image: [size, size] uint8, as the models see it. doubts: why a prediction of it may be worth nothing. shape:
    width and height of the file's image, upright, in pixels."""

    image: np.ndarray
    doubts: tuple[Doubt, ...]
    shape: tuple[int, int]


def decode(
    path: str | Path,
    size: int,
    root: str | Path | None = None,
    linked: str | Path | None = None,
    *,
    crop: str = "guide",
) -> np.ndarray:
    """The image at `path` as grey square: [size, size] uint8; the rest as in `read_radiograph`."""
    return square(_film(path, _shorter(size, crop), root, linked).grey, size, crop)


def read_radiograph(
    path: str | Path,
    size: int,
    root: str | Path | None = None,
    linked: str | Path | None = None,
    *,
    crop: str = "guide",
) -> Radiograph:
    """The radiograph at `path`, as grey square, and what is doubtful about it.

    path: JPEG, PNG, BMP, TIFF or DICOM, by its first bytes, whatever its name. size: side in pixels. crop: see
    `square`. root: where given, the file behind every link must be under it, or under the folder `linked`. Raises
    ImageError with the reason: missing, empty, of another kind, truncated, too many pixels, outside `root`.
    """
    film = _film(path, _shorter(size, crop), root, linked)
    image, shape = square(film.grey, size, crop), (film.width, film.height)
    return Radiograph(image, (*film.doubts, *doubts_of_shape(*shape, size, crop), *doubts_of_square(image)), shape)


def square(grey: Image.Image, size: int, crop: str = "guide") -> np.ndarray:
    """[size, size] uint8 of `grey`, in one resampling (bilinear with antialiasing).

    crop: `guide`, its middle: the shorter side goes to round(size * 256 / 224) pixels, and the middle is cut out;
    `pad`, the whole film in its proportions, with black at two sides; `stretch`, the whole film, made square.
    """
    if crop == "pad":
        scale = size / max(grey.size)
        fitted = grey.resize([max(1, round(side * scale)) for side in grey.size], Image.Resampling.BILINEAR)
        padded = Image.new(grey.mode, (size, size))
        padded.paste(fitted, ((size - fitted.width) // 2, (size - fitted.height) // 2))
        return np.asarray(padded)
    box = _box(grey.size, _shorter(size, crop), size) if crop == "guide" else None
    return np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR, box=box))


def whole_square(path: str | Path, size: int, root: str | Path | None = None) -> np.ndarray:
    """The image at `path` as grey square of the whole of its shorter side, [size, size] uint8: what torchxrayvision's
    models are shown (centre crop, then resize). Raises ImageError as `read_radiograph` does."""
    grey = _film(path, size, root, None).grey
    side = min(grey.size)
    left, top = ((length - side) / 2 for length in grey.size)
    return np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)))


def _shorter(size: int, crop: str) -> int:
    """Pixels that the shorter side of a film must keep as it is decoded."""
    return round(size * RESIZE_RATIO) if crop == "guide" else size


def _film(path: str | Path, shorter: int, root: str | Path | None, linked: str | Path | None) -> Film:
    if root is not None:
        _check_inside(path, root, linked)
    try:
        with _opened(path) as file:
            head = file.read(HEAD)
            kind = kind_of(head)
            if not head:
                raise ImageError("is empty")
            if kind.refusal:
                raise ImageError(kind.refusal)
            if kind is DICOM:
                return read_dicom(path)
            return read_picture(file, kind, head, shorter)
    except DAMAGE as error:
        system = isinstance(error, OSError) and error.strerror
        raise ImageError(f"cannot be read: {error.strerror}" if system else DAMAGED) from error


def _opened(path: str | Path) -> BinaryIO:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise ImageError("is missing") from None
    if stat.S_ISDIR(mode):
        raise ImageError("is a folder")
    if not stat.S_ISREG(mode):
        raise ImageError("is no regular file")  # a pipe would be waited for
    return open(path, "rb")


def _check_inside(path: str | Path, root: str | Path, linked: str | Path | None) -> None:
    path, root = os.fspath(path), os.fspath(root)
    if os.name != "nt" and not os.path.islink(path) and not _behind_link(os.path.dirname(path), root):
        return  # the usual case, at the cost of one or two lstat calls
    if leads_out(path, root, linked):
        raise ImageError("is a link to a file outside data.root")


@lru_cache(maxsize=1024)
def _behind_link(folder: str, root: str) -> bool:
    """Whether a component of `folder` below `root` is a link, or `folder` is not written as a path below `root`."""
    if folder == root:
        return False
    parent = os.path.dirname(folder)
    return parent == folder or os.path.islink(folder) or _behind_link(parent, root)


def _box(image_size: tuple[int, int], shorter: int, size: int) -> tuple[float, float, float, float]:
    """The part of the source that the centre crop shows, as resizing first and cropping then would cut it."""
    scale = shorter / min(image_size)
    box = []
    for length in image_size:
        resized = max(size, int(length * scale))
        start = round((resized - size) / 2)
        box.append((start * length / resized, (start + size) * length / resized))
    (left, right), (top, bottom) = box
    return left, top, right, bottom
