"""Reading radiographs of any kind that we know: by the code that packs images for training, and DICOM."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from diagxnet.images.decode import DAMAGE, FORMATS, ImageError, decode, preprocess
from diagxnet.prediction.dicom import is_dicom, read_dicom
from diagxnet.prediction.doubts import doubts_of_source, doubts_of_square


@dataclass(frozen=True)
class Radiograph:
    """image: [size, size] uint8, as the models see it. doubts: why a prediction may be worth nothing, in words."""

    image: np.ndarray
    doubts: tuple[str, ...]


def read_radiograph(path: str | Path, size: int, root: str | Path | None = None) -> Radiograph:
    """The radiograph in the file `path`: JPEG, PNG (8 or 16 bit), BMP, TIFF or DICOM.

    size: side of the square in pixels. root: where given, the file behind every link must be under it. Raises
    ImageError with the reason where it cannot be used, InputError where it is DICOM and pydicom is not installed.
    """
    path = Path(path)
    if root is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise ImageError(f"is a link to a file outside {root}")
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise ImageError("is no regular file")  # a pipe would be waited for
    if not is_dicom(path):
        try:
            square = decode(path, size)
        except OSError as error:  # a name too long, a folder that may not be entered
            raise ImageError(f"cannot be read: {error.strerror}") from error
        return Radiograph(square, (*_source_doubts(path, size), *doubts_of_square(square)))
    image, doubts = read_dicom(path)
    doubts += doubts_of_source(image, size)
    square = preprocess(image, size)
    return Radiograph(square, (*doubts, *doubts_of_square(square)))


def _source_doubts(path: Path, size: int) -> list[str]:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            return doubts_of_source(image, size)
    except DAMAGE:
        return []  # it has just been decoded: changed since, which the next run tells
