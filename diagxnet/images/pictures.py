"""JPEG, PNG, BMP and TIFF as upright 8-bit greys. What Pillow would misread is mended here, or refused by name."""

import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from diagxnet.images.doubts import doubts_of_alpha, doubts_of_colour
from diagxnet.images.grey import Film, stretched
from diagxnet.images.kinds import BMP, DAMAGED, JPEG, MAX_PIXELS, PNG, TIFF, ImageError, Kind, check_pixels

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `check_pixels` refuses those images

DRAFT_GAP = 2
"""libjpeg may scale while it decodes, to no less than this many times the wanted size; bilinear does the rest."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by EXIF's orientation."""

SIDEWAYS = (5, 6, 7, 8)

AS_GREY = "save it as grey PNG of 8 or 16 bits"
ALONE = "save the radiograph alone as PNG"
PHOTOMETRIC = {
    0: "white at zero",
    1: "black at zero",
    2: "RGB",
    3: "a palette",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    32803: "a camera's raw samples",
}
"""TIFF 6.0, section 8, and TIFF/EP."""

READABLE = (0, 1, 2, 3, 6)
START_OF_SCAN, JFIF, ADOBE = 0xDA, 0xE0, 0xEE
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
READABLE_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
"""JPEG's markers (ITU-T T.81, table B.1): of frames, the sequential and progressive ones are read."""

SIGNED = 2
"""TIFF's SampleFormat of whole numbers below and above zero."""


@dataclass(frozen=True)
class _Tags:
    """Of a TIFF: whether zero is white, bits of a sample, and its format (1 unsigned, 2 signed, 3 float)."""

    white_at_zero: bool = False
    bits: int = 8
    format: int = 1


def read_picture(file: BinaryIO, kind: Kind, head: bytes, shorter: int) -> Film:
    """The picture in `file`, of `kind`, that begins with `head`.

    shorter: pixels that its shorter side will have; a JPEG is scaled by libjpeg, to no less than twice that. Greys of
    8 bits or fewer are taken as they are (signed ones from -128 up), colours by ITU-R 601-2; all other samples are
    `stretched`. Alpha is ignored, the orientation that EXIF or TIFF gives is applied. Raises ImageError, or one of
    `kinds.DAMAGE`.
    """
    tags = _tiff_tags(file) if kind is TIFF else _Tags()
    in_ycbcr = kind is JPEG and _check_jpeg(file)
    if kind is PNG and head[24] == 16 and head[25] not in (0, 3):
        raise ImageError(f"is PNG of 16 bits with colour or alpha, of which 8 would be read: {AS_GREY}")
    file.seek(0)
    image = _opened(file, kind, tags)
    with image:
        check_pixels(*image.size)
        if kind is BMP and image.mode in ("1", "L") and _bmp_bits(head) != (1 if image.mode == "1" else 8):
            raise ImageError(f"is BMP with {_bmp_bits(head)} bits a pixel and a palette of greys: {AS_GREY}")
        width, height = image.size
        if kind is JPEG:
            scale = DRAFT_GAP * shorter / min(width, height)
            image.draft("YCbCr" if in_ycbcr else None, (max(1, int(width * scale)), max(1, int(height * scale))))
        image.load()
        if kind is TIFF:
            width, height = image.size  # upright by now
        doubts = doubts_of_alpha(image)
        image.info.pop("transparency", None)  # else Pillow warns that it is lost
        doubts += doubts_of_colour(image)
        grey = _grey(image, tags)
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation in UPRIGHT:
        grey = grey.transpose(UPRIGHT[orientation])
    if orientation in SIDEWAYS:
        width, height = height, width
    return Film(grey, width, height, tuple(doubts))


def _opened(file: BinaryIO, kind: Kind, tags: _Tags) -> Image.Image:
    try:
        image = Image.open(file, formats=[kind.name])
        pictures = getattr(image, "n_frames", 1)
    except UnidentifiedImageError:
        if kind is TIFF:
            signs = {1: "unsigned", SIGNED: "signed", 3: "float"}.get(tags.format, "unknown")
            where = "white at zero, " if tags.white_at_zero else ""
            raise ImageError(
                f"is TIFF with {where}{tags.bits}-bit {signs} samples, which is not read: {AS_GREY}"
            ) from None
        raise ImageError(DAMAGED) from None
    except Image.DecompressionBombError:
        raise ImageError(f"has more than {MAX_PIXELS:,} pixels") from None
    if pictures > 1:
        raise ImageError(f"is {kind.name} with {pictures:,} pictures: {ALONE}")
    return image


def _grey(image: Image.Image, tags: _Tags) -> Image.Image:
    """`image`, which is loaded, with 8-bit greys."""
    if image.mode == "L" and tags.format == SIGNED:
        return Image.fromarray(np.asarray(image) ^ 0x80)
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        samples = np.asarray(image)
        if image.mode == "I" and tags.bits == 32 and tags.format != SIGNED:
            samples = samples.view(np.uint32)
        return stretched(-samples.astype(np.float32) if tags.white_at_zero else samples)
    if image.mode == "La":
        image = image.convert("LA")
    return image if image.mode == "L" else image.convert("L")


def _tiff_tags(file: BinaryIO) -> _Tags:
    """Raises ImageError where the first picture's colours are not read, or not to all their bits."""
    file.seek(0)
    header = file.read(8)
    big = 43 in header[2:4]
    directory = ImageFileDirectory_v2(header + file.read(8) if big else header)
    file.seek(directory.next)
    directory.load(file)
    if directory.next:
        raise ImageError(f"is TIFF with several pages: {ALONE}")
    photometric, bits = directory.get(262), directory.get(258, (1,))
    if photometric is None:
        raise ImageError(f"is TIFF that does not say whether zero is black or white (tag 262): {AS_GREY}")
    if photometric not in READABLE:
        name = PHOTOMETRIC.get(photometric, f"photometric interpretation {photometric}")
        raise ImageError(f"is TIFF with {name}, which is not read: {AS_GREY}")
    if photometric == 6 and directory.get(259, 1) == 1:
        raise ImageError(f"is TIFF with uncompressed YCbCr, which is not read: {AS_GREY}")
    if photometric == 3 and max(directory.get(320, (0,))) < 256:
        raise ImageError(f"is TIFF with a palette of 8 bits, where 16 are wanted, or of black alone: {AS_GREY}")
    if max(bits) > 8 and directory.get(277, 1) > 1:
        raise ImageError(f"is TIFF of {max(bits)} bits with colour or alpha, of which 8 would be read: {AS_GREY}")
    return _Tags(photometric == 0, max(bits), directory.get(339, (1,))[0])


def _bmp_bits(head: bytes) -> int:
    """Bits a pixel, by the header of OS/2 or of Windows."""
    start = 24 if head[14] == 12 else 28
    return int.from_bytes(head[start : start + 2], "little")


def _check_jpeg(file: BinaryIO) -> bool:
    """Whether a JPEG holds YCbCr, by libjpeg's rule; ImageError where it is of a kind that is not read, or damaged."""
    jfif, transform = False, None
    file.seek(2)
    while True:
        marker = file.read(2)
        while marker == b"\xff\xff":  # fill bytes
            marker = marker[1:] + file.read(1)
        length = int.from_bytes(file.read(2), "big")
        if len(marker) < 2 or marker[0] != 0xFF or length < 2 or marker[1] == START_OF_SCAN:
            raise ImageError(DAMAGED)
        if marker[1] in FRAMES:
            return _check_frame(marker[1], file.read(length - 2), jfif, transform)
        if marker[1] in (JFIF, ADOBE):
            content = file.read(length - 2)
            jfif |= marker[1] == JFIF and content.startswith(b"JFIF\0")
            if marker[1] == ADOBE and content.startswith(b"Adobe"):
                transform = content[11]
        else:
            file.seek(length - 2, 1)


def _check_frame(marker: int, frame: bytes, jfif: bool, transform: int | None) -> bool:
    bits, components = frame[0], frame[5]
    if bits != 8:
        raise ImageError(f"is JPEG with {bits} bits a sample, which is not read: {AS_GREY}")
    if marker not in READABLE_FRAMES:
        raise ImageError(f"is lossless or hierarchical JPEG, which is not read: {AS_GREY}")
    if components not in (1, 3):
        name = "CMYK" if components == 4 else f"{components} colours"
        raise ImageError(f"is JPEG with {name}, which is not read: {AS_GREY}")
    if components == 1 or jfif:
        return components == 3
    return transform != 0 if transform is not None else frame[6::3] != b"RGB"
