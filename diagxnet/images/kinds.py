"""What a file is, by its first bytes and never by its name, and what to do with one that is not read."""

import struct
import zlib
from dataclasses import dataclass

HEAD = 512
"""So many first bytes tell what a file is."""

DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
"""What Pillow's readers raise where a file's content is not as its format wants it."""

DAMAGED = "is truncated or damaged"
MAX_PIXELS = 80_000_000
"""An image with more is refused before it is decoded; the largest radiographs have about 20 million."""


class ImageError(Exception):
    """An image that cannot be used; the message is the reason, without the path."""


@dataclass(frozen=True)
class Kind:
    """name: as in `READ`, or else of what is not read. refusal: what such a file is, and what to do; "" where it is
    read. picture: whether somebody may have taken it for a radiograph."""

    name: str
    refusal: str = ""
    picture: bool = True


READ = tuple(Kind(name) for name in ("JPEG", "PNG", "BMP", "TIFF", "DICOM"))
JPEG, PNG, BMP, TIFF, DICOM = READ


def _picture(name: str) -> Kind:
    return Kind(name, f"is {name}, which is not read: save it as PNG")


def _other(name: str, refusal: str = "") -> Kind:
    return Kind(name, refusal or _picture(name).refusal, picture=False)


_NO_PREAMBLE = Kind("DICOM without its preamble", "is DICOM without its preamble: save it as a DICOM file (Part 10)")
_PAGE = _other("a web page", "is a web page in the image's place, an error message perhaps: fetch the image again")
_PACKED = "is a compressed archive: unpack it"
_SIGNATURES = (
    (0, b"\xff\xd8\xff\xf7", _picture("JPEG-LS")),
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    *((0, start, TIFF) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (128, b"DICM", DICOM),
    *((0, start, _NO_PREAMBLE) for start in (b"\2\0\0\0UL\4\0", b"\x08\0\0\0UL\4\0", b"\x08\0\5\0", b"\x08\0\x08\0")),
    (8, b"WEBP", _picture("WebP")),
    (0, b"GIF8", _picture("GIF")),
    (4, b"jP  \r\n", _picture("JPEG 2000")),
    (0, b"\xff\x4f\xff\x51", _picture("JPEG 2000")),
    (4, b"JXL \r\n", _picture("JPEG XL")),
    (0, b"\xff\x0a", _picture("JPEG XL")),
    (0, b"II\xbc", _picture("JPEG XR")),
    *((4, b"ftyp" + brand, _picture("AVIF")) for brand in (b"avif", b"avis")),
    *((4, b"ftyp" + brand, _picture("HEIC")) for brand in (b"heic", b"heix", b"mif1", b"heim", b"hevc")),
    (0, b"8BPS", _picture("Photoshop's PSD")),
    (0, b"%PDF", _other("PDF")),
    (0, b"%!PS", _other("PostScript")),
    (0, b"\0\0\1\0", _picture("an icon (ICO)")),
    *((0, b"P%d%b" % (form, space), _picture("PGM or its like")) for form in range(1, 8) for space in (b"\n", b" ")),
    (0, b"v/1\1", _picture("OpenEXR")),
    (0, b"SIMPLE  =", _picture("FITS")),
    (0, b"NRRD", _picture("NRRD")),
    (0, b"ObjectType", _picture("MetaImage")),
    (344, b"n+1\0", _picture("NIfTI")),
    (344, b"ni1\0", _picture("NIfTI")),
    (0, b"\x89HDF\r\n", _other("HDF5")),
    (0, b"\x93NUMPY", _other("a NumPy array")),
    (0, b"version https://git-lfs", _other("a pointer of Git LFS", "is a pointer of Git LFS: fetch it (git lfs pull)")),
    (0, b"\x1f\x8b", _other("gzip", _PACKED)),
    (0, b"PK\3\4", _other("ZIP", _PACKED)),
    (0, b"BM", BMP),
)
"""Where in a file which bytes stand, and what it is then; the first that fits decides."""

UNKNOWN = Kind("unknown", "is no image (JPEG, PNG, BMP, TIFF, DICOM)", picture=False)


def kind_of(head: bytes) -> Kind:
    """The kind of the file that begins with `head`, its first HEAD bytes or, where it has fewer, all of them."""
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return _PAGE
    return UNKNOWN


def check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"has {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}")
