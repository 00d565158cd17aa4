"""From an image file to the packed grey square: one path for training data and for later prediction."""

import os
import struct
import warnings
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
"""Formats that are opened: Pillow knows more, some of which start other programs."""

MAX_PIXELS = 80_000_000
"""An image with more is refused before it is decoded; the largest radiographs have about 20 million."""

RESIZE_RATIO = 256 / 224
"""The guide resizes the shorter side to 256 and crops the middle 224; other sizes keep the proportion."""

DRAFT_GAP = 2
"""libjpeg may scale while it decodes, to no less than this many times the wanted size; bilinear does the rest."""


DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
"""What Pillow's readers raise where a file's content is not as its format wants it."""

DAMAGED = "is truncated or damaged"


class ImageError(Exception):
    """An image that cannot be used; the message is the reason, without the path."""


def decode(path: str | Path, size: int, root: str | Path | None = None) -> np.ndarray:
    """The image at `path` as grey square: [size, size] uint8.

    path: JPEG, PNG, BMP or TIFF. size: side in pixels. root: where given, the file behind every link must be under it.
    Raises ImageError with the reason: missing, empty, not an image, truncated, too many pixels, outside `root`.
    """
    if root is not None:
        _check_inside(path, root)
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        empty = Path(path).stat().st_size == 0
        raise ImageError("is empty" if empty else f"is no image ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ImageError(f"has more than {MAX_PIXELS:,} pixels") from None
    except DAMAGE as error:
        raise ImageError(_reason(path, error)) from error
    with image:
        return preprocess(image, size)


def preprocess(image: Image.Image, size: int) -> np.ndarray:
    """An opened image as grey square: [size, size] uint8.

    The shorter side goes to round(size * 256 / 224) pixels (bilinear with antialiasing), the middle is cut out; both in
    one resampling. A JPEG is scaled by libjpeg while it is decoded, to no less than twice that. Samples of more than 8
    bits are stretched from the image's own minimum and maximum to 0 and 255, since 12-bit data in 16-bit files would
    be nearly black otherwise. The orientation that EXIF gives is applied, alpha is ignored. Raises ImageError.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"has {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}")
    shorter = round(size * RESIZE_RATIO)
    try:
        if image.format == "JPEG":
            _draft(image, DRAFT_GAP * shorter)
        square = _grey(image).resize((size, size), Image.Resampling.BILINEAR, box=_box(image.size, shorter, size))
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            square.getexif()[ExifTags.Base.Orientation] = image.getexif()[ExifTags.Base.Orientation]
            square = ImageOps.exif_transpose(square)
    except DAMAGE as error:
        raise ImageError(DAMAGED) from error
    return np.asarray(square)


def _reason(path: str | Path, error: Exception) -> str:
    """Why a file could not be opened: the system's reason, or else its content."""
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if Path(path).is_dir():
        return "is a folder"
    system = isinstance(error, OSError) and error.strerror
    return f"cannot be read: {error.strerror}" if system else DAMAGED


def _check_inside(path: str | Path, root: str | Path) -> None:
    path, root = os.fspath(path), os.fspath(root)
    if os.name != "nt" and not os.path.islink(path) and not _behind_link(os.path.dirname(path), root):
        return  # the usual case, at the cost of one or two lstat calls
    real, root = os.path.realpath(path), os.path.realpath(root)
    if not real.startswith(os.path.join(root, "")):
        raise ImageError("is a link to a file outside data.root")


@lru_cache(maxsize=1024)
def _behind_link(folder: str, root: str) -> bool:
    """Whether a component of `folder` below `root` is a link, or `folder` is not written as a path below `root`."""
    if folder == root:
        return False
    parent = os.path.dirname(folder)
    return parent == folder or os.path.islink(folder) or _behind_link(parent, root)


def _draft(image: Image.Image, shorter: int) -> None:
    """Lets libjpeg decode to grey and scale by 1/2, 1/4 or 1/8 while the shorter side keeps `shorter` pixels."""
    scale = shorter / min(image.size)
    image.draft("L", (max(1, int(image.width * scale)), max(1, int(image.height * scale))))


def _grey(image: Image.Image) -> Image.Image:
    """The image with 8-bit grey samples, decoded."""
    if image.mode not in ("F", "I") and not image.mode.startswith("I;16"):
        return image.convert("L")
    samples = np.asarray(image, dtype=np.float32)
    low, high = float(samples.min()), float(samples.max())
    stretched = (samples - low) * (255 / (high - low)) if high > low else np.zeros_like(samples)
    return Image.fromarray(np.rint(stretched).astype(np.uint8))


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
