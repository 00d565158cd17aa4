"""DICOM files as images: pixel data, rescale, VOI window and photometric interpretation applied, nothing else read.

pydicom (MIT) reads the files; python-gdcm (Apache 2.0) decodes what is compressed: JPEG, JPEG lossless, JPEG-LS and
JPEG 2000. Both are extras. What a reader of files raises or warns may quote a file's content, names of patients among
it: none of that is passed on.
"""

import logging
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diagxnet.console.errors import printable
from diagxnet.images.doubts import Doubt
from diagxnet.images.grey import Film, stretched
from diagxnet.images.kinds import DAMAGED, ImageError, check_pixels

PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")
RADIOGRAPHY = ("CR", "DX", "RG", "RF", "XC", "OT", "")
"""Modalities that a chest radiograph may bear; OT (other) is what converters write."""

_ALONE = threading.Lock()
"""Held while warnings are off: that holds for the whole process, and threads would undo each other's."""

RAW = "FOR PROCESSING"

DEFERRED = "1 MB"
"""Values longer than this are not read before they are asked for: pixels, not before their number is checked."""

INSTALL = "python -m pip install -c constraints.txt pydicom python-gdcm"


def read_dicom(path: str | Path) -> Film:
    """The radiograph in a DICOM file, white where the ray was weakened most.

    Samples of 8 bits without a rescale are greys as they are (signed ones from -128 up), others are `stretched`. Raises
    ImageError with the reason where it is damaged, not one grey frame, too large, deflated or compressed in a way that
    cannot be decoded, or where pydicom is not installed.
    """
    samples, doubts = displayed(path)
    grey = Image.fromarray(samples) if samples.dtype == np.uint8 else stretched(samples)
    return Film(grey, *grey.size, tuple(doubts))


def displayed(path: str | Path) -> tuple[np.ndarray, list[Doubt]]:
    """[rows, columns] of a DICOM file's samples as a viewer shows them, and what is doubtful about it.

    Stored values through the rescale or modality LUT, then through the first VOI window or LUT, negative for
    MONOCHROME1; padding is as the darkest of the rest. uint8 where they are 8-bit greys, else float32. Raises as
    `read_dicom`.
    """
    pydicom = _pydicom()
    doubts: list[Doubt] = []
    with _ALONE, warnings.catch_warnings(action="ignore"):
        try:
            _check_encoding(pydicom.filereader.read_file_meta_info(path))
            dataset = pydicom.dcmread(path, defer_size=DEFERRED)
            _check(dataset)
            modality = str(dataset.get("Modality", "") or "")
            intent = str(dataset.get("PresentationIntentType", "") or "")
            greys, signed = _is_8_bit_grey(dataset), int(dataset.PixelRepresentation) == 1
        except ImageError:
            raise
        except Exception as error:  # pydicom's errors on damaged files have no common base
            raise ImageError(DAMAGED) from error
        if modality not in RADIOGRAPHY:
            doubts.append(Doubt("is no radiography", f"its modality is {printable(modality[:16])}"))
        if intent == RAW:
            doubts.append(Doubt("is a raw recording", f"it is marked {RAW}, and radiographs to be read are not"))
        samples = _samples(dataset, doubts)  # [rows, columns] float32
    if greys and signed:
        samples += 128
    greys &= samples.min() >= 0 and samples.max() <= 255
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        samples = 255 - samples if greys else -samples
    return np.rint(samples).astype(np.uint8) if greys else samples, doubts


def _is_8_bit_grey(dataset: Any) -> bool:
    """Whether the samples are 8-bit greys until a window says otherwise."""
    rescaled = float(dataset.get("RescaleSlope", 1)) != 1 or float(dataset.get("RescaleIntercept", 0)) != 0
    return int(dataset.BitsStored) == 8 and not rescaled and "ModalityLUTSequence" not in dataset


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels  # what it needs for decoding is found here, once
    except ImportError:
        raise ImageError(f"is DICOM, which needs pydicom: {INSTALL}") from None
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
        raise ImageError("is DICOM that does not say how it is encoded: save it with a transfer syntax")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise ImageError("is deflated DICOM, which is not read: save it uncompressed")


def _check(dataset: Any) -> None:
    """Raises ImageError where the file holds no single grey frame of a size that we read."""
    if "PixelData" not in dataset:
        raise ImageError("is DICOM without an image: take the file that holds the radiograph")
    photometric = str(dataset.PhotometricInterpretation)
    if photometric not in PHOTOMETRIC or int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise ImageError(
            f"is DICOM with the photometric interpretation {printable(photometric[:16])}, which is not read: "
            "save it as grey (MONOCHROME2)"
        )
    if int(dataset.HighBit) != int(dataset.BitsStored) - 1:
        raise ImageError("is DICOM whose samples do not end at their lowest bit, which is not read: save it anew")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise ImageError(f"is DICOM with {frames:,} frames: save the radiograph alone as PNG or DICOM")
    check_pixels(int(dataset.Columns), int(dataset.Rows))


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
        raise ImageError(f"is DICOM with the transfer syntax {name}, which cannot be decoded here: {INSTALL}")
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
        doubts.append(Doubt("has an invalid VOI window", "it was left out"))
    samples = np.array(samples, np.float32)
    padding = dataset.get("PixelPaddingValue")
    limit = dataset.get("PixelPaddingRangeLimit", padding)
    inside = np.ones(stored.shape, bool)
    if padding is not None:
        inside = (stored < min(padding, limit)) | (stored > max(padding, limit))
    if inside.any() and not inside.all():
        dark = dataset.PhotometricInterpretation == "MONOCHROME2"
        samples[~inside] = samples[inside].min() if dark else samples[inside].max()
    return samples
