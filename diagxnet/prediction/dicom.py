"""DICOM files as images: pixel data, rescale, VOI window and photometric interpretation applied, nothing else read.

pydicom (MIT) reads the files; python-gdcm (Apache 2.0) decodes what is compressed: JPEG, JPEG lossless, JPEG-LS and
JPEG 2000. Both are extras. What a reader of files raises or warns may quote a file's content, names of patients among
it: none of that is passed on.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diagxnet.console.errors import InputError, printable
from diagxnet.images.decode import DAMAGED, MAX_PIXELS, ImageError

PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")
RADIOGRAPHY = ("CR", "DX", "RG", "RF", "XC", "OT", "")
"""Modalities that a chest radiograph may bear; OT (other) is what converters write."""

DEFERRED = "1 MB"
"""Values longer than this are not read before they are asked for: pixels, not before their number is checked."""

INSTALL = "python -m pip install -c constraints.txt pydicom python-gdcm"


def is_dicom(path: str | Path) -> bool:
    """Whether the file begins as DICOM files do: 128 bytes of anything, then DICM. False where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dicom(path: str | Path) -> tuple[Image.Image, list[str]]:
    """The radiograph in a DICOM file, white where the ray was weakened most, and what is doubtful about it.

    The image has 32-bit float samples (mode F): stored values through the rescale or modality LUT, then through the
    first VOI window or LUT, turned round for MONOCHROME1; padding is as the darkest of the rest. Raises ImageError
    with the reason where it is damaged, not one grey frame, too large, deflated or compressed in a way that cannot be
    decoded; InputError where pydicom is not installed.
    """
    pydicom = _pydicom()
    doubts: list[str] = []
    with warnings.catch_warnings(action="ignore"):
        try:
            _check_encoding(pydicom.filereader.read_file_meta_info(path))
            dataset = pydicom.dcmread(path, defer_size=DEFERRED)
            _check(dataset)
            modality = str(dataset.get("Modality", "") or "")
        except ImageError:
            raise
        except Exception as error:  # pydicom's errors on damaged files have no common base
            raise ImageError(DAMAGED) from error
        if modality not in RADIOGRAPHY:
            doubts.append(f"its modality is {printable(modality[:16])}, not radiography")
        samples = _samples(dataset, doubts)  # [rows, columns] float32
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        samples = samples.max() + samples.min() - samples
    return Image.fromarray(samples), doubts


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels  # what it needs for decoding is found here, once
    except ImportError:
        raise InputError(f"DICOM files need pydicom, which is not installed ({INSTALL})") from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        import gdcm
    except ImportError:
        return pydicom
    for switch in ("DebugOff", "WarningOff", "ErrorOff"):
        getattr(gdcm.Trace, switch)()
    return pydicom


def _check_encoding(meta: Any) -> None:
    """Raises ImageError where the file says not how it is encoded, or is deflated.

    pydicom inflates a file whole before it reads a word of it: 300 kB may become gigabytes.
    """
    from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

    syntax = meta.get("TransferSyntaxUID")
    if not isinstance(syntax, UID) or not syntax:
        raise ImageError("does not say how it is encoded: it has no transfer syntax")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise ImageError("is deflated, which is not read (save it uncompressed)")


def _check(dataset: Any) -> None:
    """Raises ImageError where the file holds no single grey frame of a size that we read."""
    if "PixelData" not in dataset:
        raise ImageError("is a DICOM file without an image")
    photometric = str(dataset.PhotometricInterpretation)
    if photometric not in PHOTOMETRIC or int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise ImageError(f"is no grey image: its photometric interpretation is {printable(photometric[:16])}")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise ImageError(f"has {frames:,} frames; a radiograph has one")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if rows * columns > MAX_PIXELS:
        raise ImageError(f"has {columns:,} x {rows:,} pixels, more than {MAX_PIXELS:,}")


def _samples(dataset: Any, doubts: list[str]) -> np.ndarray:
    """[rows, columns] float32 after rescale and window; notes in `doubts` a window that cannot be applied."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut, get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        name = printable(syntax.name[:60])
        raise ImageError(f"has the transfer syntax {name}, which cannot be decoded here ({INSTALL})")
    try:
        stored = dataset.pixel_array
        if stored.shape != (dataset.Rows, dataset.Columns):
            raise ImageError("has more or fewer pixels than its header says")
        rescaled = apply_modality_lut(stored, dataset)
    except ImageError:
        raise
    except Exception as error:  # each decoder raises errors of its own
        raise ImageError(DAMAGED) from error
    try:
        samples = apply_voi_lut(rescaled, dataset)
    except Exception:  # an empty or impossible window, as some exporters write
        samples = rescaled
        doubts.append("its VOI window is invalid and was left out")
    samples = np.array(samples, np.float32)
    if not np.isfinite(samples).all():
        raise ImageError("holds values that are no numbers")
    padding = dataset.get("PixelPaddingValue")
    inside = np.ones(stored.shape, bool) if padding is None else stored != padding
    if inside.any() and not inside.all():
        dark = dataset.PhotometricInterpretation == "MONOCHROME2"
        samples[~inside] = samples[inside].min() if dark else samples[inside].max()
    return samples
