"""A grey film in the encodings that devices, converters and downloads produce.

`python -m tests.encodings` prints a table of what becomes of each.
"""

import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from diagxnet.images.decode import ImageError, read_radiograph, square
from tests.dicoms import compress, write_dicom

SIZE = 32
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda film: film,
    2: np.fliplr,
    3: lambda film: np.rot90(film, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda film: np.rot90(film, 2).T,
    8: lambda film: np.rot90(film, -1),
}
"""By EXIF's orientation, how an upright film lies in the file."""


def film_of(bits: int, shape: tuple[int, int] = (50, 44), seed: int = 0) -> np.ndarray:
    """[rows, columns] uint16 of `bits` bits, 0 black: a slope with grain, so that a turn or a negative shows."""
    down, right = np.mgrid[0 : shape[0], 0 : shape[1]]
    grain = np.random.default_rng(seed).uniform(-0.08, 0.08, shape)
    share = np.clip(0.1 + 0.5 * down / shape[0] + 0.3 * right / shape[1] + grain, 0, 1)
    return np.rint(share * (2**bits - 1)).astype(np.uint16)


def reference(film: np.ndarray, bits: int) -> np.ndarray:
    """[SIZE, SIZE] uint8 of an upright film [rows, columns] of `bits` bits, 0 black: what every encoding must give."""
    if bits <= 8:
        greys = film * (255 / (2**bits - 1))
    else:
        ordered = np.sort(film, axis=None).astype(np.float64)
        rank = int(0.02 * len(ordered))
        low, high = ordered[rank], ordered[-1 - rank]
        inside = ordered[(ordered >= low - (high - low)) & (ordered <= high + (high - low))]
        greys = np.clip((film - inside[0]) / (inside[-1] - inside[0]), 0, 1) * 255
    return square(Image.fromarray(np.rint(greys).astype(np.uint8)), SIZE)


def packed(samples: np.ndarray, bits: int, order: str) -> bytes:
    """Rows of whole numbers, `bits` bits each, the most significant first, each row filled up to a byte."""
    if bits in (8, 16, 32):
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    planes = (samples.reshape(len(samples), -1, 1).astype(np.int64) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(planes.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def tiff(
    samples: np.ndarray, bits: int, *, order: str = "<", photometric: int | None = 1, kind: int = 1, **tags: object
) -> bytes:
    """An uncompressed TIFF of [rows, columns] or [rows, columns, colours].

    order: "<" or ">". kind: SampleFormat. tags: by "tNUMBER", shorts, one or several.
    """
    colours = samples.shape[2] if samples.ndim == 3 else 1
    data = samples.astype(f"{order}f4").tobytes() if kind == 3 else packed(samples, bits, order)
    entries = {256: samples.shape[1], 257: samples.shape[0], 258: (bits,) * colours, 259: 1, 262: photometric}
    entries |= {273: 8, 277: colours, 278: samples.shape[0], 279: len(data), 339: (kind,) * colours}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    entries = {tag: value for tag, value in sorted(entries.items()) if value is not None}
    directory, later = struct.pack(f"{order}H", len(entries)), b""
    start = 8 + len(data) + 2 + 12 * len(entries) + 4
    for tag, value in entries.items():
        values = value if isinstance(value, tuple) else (value,)
        form, width = ("I", 4) if tag in (273, 279) else ("H", 2)
        content = struct.pack(f"{order}{len(values)}{form}", *values)
        if len(content) > 4:
            later, content = later + content, struct.pack(f"{order}I", start + len(later))
        directory += struct.pack(f"{order}HHI", tag, 4 if width == 4 else 3, len(values)) + content.ljust(4, b"\0")
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(data))
    return header + data + directory + bytes(4) + later


def png(samples: np.ndarray, bits: int, colour: int = 0, **chunks: bytes) -> bytes:
    """A PNG of [rows, columns] or [rows, columns, channels]; colour: its colour type; chunks: before the samples."""
    rows = packed(samples, bits, ">")
    lines = np.frombuffer(rows, np.uint8).reshape(len(samples), -1)
    filtered = np.hstack([np.zeros((len(lines), 1), np.uint8), lines]).tobytes()
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *((name.encode(), content) for name, content in chunks.items())]
    parts += [(b"IDAT", zlib.compress(filtered)), (b"IEND", b"")]
    framed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def bmp(samples: np.ndarray, bits: int, palette: list[int]) -> bytes:
    """A BMP of [rows, columns], 1 to 8 bits each, which are places in a palette of greys."""
    rows = packed(samples[::-1], bits, "<")
    lines = np.frombuffer(rows, np.uint8).reshape(len(samples), -1)
    lines = np.pad(lines, ((0, 0), (0, -lines.shape[1] % 4)))
    colours = b"".join(bytes([grey, grey, grey, 0]) for grey in palette)
    height, width = samples.shape
    start = 54 + len(colours)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, lines.size, 0, 0, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", start + lines.size, 0, 0, start) + header + colours + lines.tobytes()


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@dataclass(frozen=True)
class Encoding:
    """write: puts the file at a path. bits: of the film in it. refused: the reason's beginning, "" where it is read.
    doubt: what the warning is about, "" where there is none. loss: greys by which it may differ from its twin."""

    name: str
    write: Callable[[Path], object]
    bits: int
    refused: str = ""
    doubt: str = ""
    loss: int = 0

    @property
    def film(self) -> np.ndarray:
        return film_of(self.bits)


def _bytes(name: str, make: Callable[[np.ndarray], bytes], bits: int = 8, **outcome: object) -> Encoding:
    return Encoding(name, lambda path: path.write_bytes(make(film_of(bits))), bits, **outcome)


def _dicom(
    name: str, bits: int, stored: Callable[[np.ndarray], np.ndarray], syntax: str = "", **tags: object
) -> Encoding:
    outcome = {key: tags.pop(key) for key in ("refused", "doubt") if key in tags}

    def write(path: Path) -> None:
        samples = stored(film_of(bits))
        wide = 8 if bits == 8 and not tags.get("BitsAllocated") else 16
        signed = "i" if tags.get("PixelRepresentation") else "u"
        used = {"BitsAllocated": wide, "BitsStored": bits, "HighBit": bits - 1} | tags
        write_dicom(path, samples, PixelData=samples.astype(f"<{signed}{wide // 8}").tobytes(), **used)
        if syntax:
            compress(path, syntax)

    return Encoding(name, write, bits, **outcome)


def _grey(film: np.ndarray) -> Image.Image:
    """Eight bits: film; more: as 16."""
    return Image.fromarray(film.astype(np.uint8) if film.max() < 256 else film)


def _with_alpha(film: np.ndarray, alpha: int, greys: int = 1) -> np.ndarray:
    return np.stack([film] * greys + [np.full_like(film, alpha)], 2)


def _reversed_bits(content: bytes) -> bytes:
    """Each byte's bits the other way round, but those of a TIFF's header and directory."""
    film = film_of(8)
    turned = np.packbits(np.unpackbits(np.frombuffer(content[8 : 8 + film.size], np.uint8), bitorder="little"))
    return content[:8] + turned.tobytes() + content[8 + film.size :]


def _lossless_jpeg() -> bytes:
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        _dicom("", 8, lambda film: film, "JPEGLosslessProcess14_1").write(path)
        return get_frame(dcmread(path).PixelData, 0)


def _deep(bits: int) -> str:
    return "1 bit" if bits == 1 else f"{bits} bits"


def _same(film: np.ndarray) -> np.ndarray:
    return film


GREYS = bytes(grey for value in range(256) for grey in (value,) * 3)
RAMP = tuple(value * 257 for value in range(256))
ZERO_WHITE = {"photometric": 0}
TWELVE = "is TIFF with white at zero, 12-bit unsigned"
TIFFS = [
    *(
        _bytes(f"TIFF, {_deep(bits)}, black at zero", lambda film, bits=bits: tiff(film, bits), bits)
        for bits in (1, 2, 4)
    ),
    *(
        _bytes(
            f"TIFF, {_deep(bits)}, white at zero",
            lambda film, bits=bits: tiff(2**bits - 1 - film, bits, **ZERO_WHITE),
            bits,
        )
        for bits in (1, 2, 4, 8, 16)
    ),
    _bytes("TIFF, 8 bits, signed", lambda film: tiff(film.astype(int) - 128, 8, kind=2)),
    _bytes("TIFF, 8 bits, bits of a byte reversed", lambda film: _reversed_bits(tiff(film, 8, t266=2))),
    _bytes("TIFF, 12 bits packed", lambda film: tiff(film, 12), 12),
    _bytes(
        "TIFF, 12 bits packed, white at zero", lambda film: tiff(4095 - film, 12, photometric=0), 12, refused=TWELVE
    ),
    _bytes("TIFF, 10 bits packed", lambda film: tiff(film, 10), 10, refused="is TIFF with 10-bit unsigned samples"),
    _bytes("TIFF, 16 bits, little-endian", lambda film: tiff(film, 16), 16),
    _bytes("TIFF, 16 bits, big-endian", lambda film: tiff(film, 16, order=">"), 16),
    _bytes(
        "TIFF, 16 bits, big-endian, white at zero",
        lambda film: tiff(65535 - film, 16, order=">", photometric=0),
        16,
        refused="is TIFF with white at zero, 16-bit unsigned samples",
    ),
    _bytes("TIFF, 16 bits, signed", lambda film: tiff(film.astype(int) - 32768, 16, kind=2), 16),
    _bytes("TIFF, 12 bits in 16", lambda film: tiff(film, 16), 12),
    _bytes("TIFF, 32 bits, unsigned", lambda film: tiff(film.astype(np.int64) * 65537, 32), 16),
    _bytes("TIFF, 32-bit float", lambda film: tiff(film / 4095, 32, kind=3), 12),
    _bytes("TIFF, 32-bit float, white at zero", lambda film: tiff(1 - film / 4095, 32, kind=3, photometric=0), 12),
    _bytes("TIFF, 16 bits, LZW", lambda film: saved(_grey(film), "TIFF", compression="tiff_lzw"), 16),
    _bytes("TIFF, JPEG inside", lambda film: saved(_grey(film), "TIFF", compression="jpeg", quality=98), loss=4),
    _bytes(
        "TIFF, 1 bit, fax (Group 4)", lambda film: saved(Image.fromarray(film > 0), "TIFF", compression="group4"), 1
    ),
    _bytes("TIFF, palette of greys", lambda film: tiff(film, 8, photometric=3, t320=RAMP * 3)),
    _bytes("TIFF, palette reversed", lambda film: tiff(255 - film, 8, photometric=3, t320=RAMP[::-1] * 3)),
    _bytes(
        "TIFF, palette of 8 bits",
        lambda film: tiff(film, 8, photometric=3, t320=tuple(range(256)) * 3),
        refused="is TIFF with a palette of 8 bits",
    ),
    _bytes("TIFF, RGB of 8 bits", lambda film: tiff(np.stack([film] * 3, 2), 8, photometric=2)),
    _bytes(
        "TIFF, RGB of 16 bits",
        lambda film: tiff(np.stack([film] * 3, 2), 16, photometric=2),
        16,
        refused="is TIFF of 16 bits with colour or alpha",
    ),
    _bytes("TIFF, grey with alpha", lambda film: tiff(_with_alpha(film, 255), 8, t338=2)),
    _bytes("TIFF, CMYK", lambda film: saved(_grey(film).convert("CMYK"), "TIFF"), refused="is TIFF with CMYK"),
    _bytes(
        "TIFF, polarity not said", lambda film: tiff(film, 8, photometric=None), refused="is TIFF that does not say"
    ),
    _bytes(
        "TIFF, two pages",
        lambda film: saved(_grey(film), "TIFF", save_all=True, append_images=[_grey(film)]),
        refused="is TIFF with several pages",
    ),
    *(
        _bytes(f"TIFF, orientation {turn}", lambda film, turn=turn: tiff(TURNS[turn](film), 8, t274=turn))
        for turn in (3, 6)
    ),
]
PNGS = [
    *(_bytes(f"PNG, {_deep(bits)}", lambda film, bits=bits: png(film, bits), bits) for bits in (1, 2, 4, 8, 16)),
    _bytes("PNG, 12 bits in 16", lambda film: png(film, 16), 12),
    _bytes("PNG, palette of greys", lambda film: png(film, 8, 3, PLTE=GREYS)),
    _bytes("PNG, palette reversed", lambda film: png(255 - film, 8, 3, PLTE=GREYS[::-1])),
    _bytes(
        "PNG, a transparent place in its palette",
        lambda film: png(film, 8, 3, PLTE=GREYS, tRNS=bytes(100)),
        doubt="is transparent in places",
    ),
    _bytes("PNG, RGB", lambda film: png(np.stack([film] * 3, 2), 8, 2)),
    _bytes("PNG, RGB with alpha", lambda film: png(_with_alpha(film, 255, 3), 8, 6)),
    _bytes(
        "PNG, grey, half transparent",
        lambda film: png(_with_alpha(film, 128), 8, 4),
        doubt="is transparent in places",
    ),
    _bytes(
        "PNG, RGB of 16 bits",
        lambda film: png(np.stack([film] * 3, 2), 16, 2),
        16,
        refused="is PNG of 16 bits with colour or alpha",
    ),
    _bytes("PNG, orientation in EXIF", lambda film: png(TURNS[8](film), 8, eXIf=exif(8)[6:])),
    _bytes(
        "PNG, animated (APNG)",
        lambda film: saved(_grey(film), "PNG", save_all=True, append_images=[_grey(film[::-1])]),
        refused="is PNG with 2 pictures",
    ),
]
JPEGS = [
    _bytes("JPEG, grey", lambda film: saved(_grey(film), "JPEG", quality=98), loss=4),
    _bytes("JPEG, progressive", lambda film: saved(_grey(film), "JPEG", quality=98, progressive=True), loss=4),
    _bytes("JPEG, YCbCr", lambda film: saved(_grey(film).convert("RGB"), "JPEG", quality=98), loss=4),
    _bytes("JPEG, RGB", lambda film: saved(_grey(film).convert("RGB"), "JPEG", quality=98, keep_rgb=True), loss=4),
    *(
        _bytes(
            f"JPEG, orientation {turn} in EXIF",
            lambda film, turn=turn: saved(_grey(TURNS[turn](film)), "JPEG", quality=98, exif=exif(turn)),
            loss=4,
        )
        for turn in (3, 6)
    ),
    _bytes("JPEG, CMYK", lambda film: saved(_grey(film).convert("CMYK"), "JPEG"), refused="is JPEG with CMYK"),
    _bytes(
        "JPEG, 12 bits",
        lambda film: saved(_grey(film), "JPEG").replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c"),
        refused="is JPEG with 12 bits a sample",
    ),
    _bytes(
        "JPEG of two pictures (MPO)",
        lambda film: saved(_grey(film), "MPO", save_all=True, append_images=[_grey(film)]),
        refused="is JPEG with 2 pictures",
    ),
]
BMPS = [
    *(
        _bytes(
            f"BMP, {_deep(bits)}",
            lambda film, bits=bits: bmp(film, bits, np.linspace(0, 255, 2**bits).round().astype(int).tolist()),
            bits,
        )
        for bits in (1, 4, 8)
    ),
    _bytes("BMP, palette reversed", lambda film: bmp(255 - film, 8, list(range(255, -1, -1)))),
    _bytes("BMP, RGB", lambda film: saved(_grey(film).convert("RGB"), "BMP")),
    _bytes(
        "BMP, 8 bits, black and white alone",
        lambda film: bmp(film, 8, [0, 255]),
        1,
        refused="is BMP with 8 bits a pixel and a palette of greys",
    ),
]
OTHERS = [
    *(
        _bytes(name, lambda film, form=form: saved(_grey(film), form), refused=f"is {name}, which is not read")
        for name, form in (
            ("WebP", "WEBP"),
            ("GIF", "GIF"),
            ("JPEG 2000", "JPEG2000"),
            ("AVIF", "AVIF"),
            ("PDF", "PDF"),
        )
    ),
    _bytes("PGM", lambda film: saved(_grey(film), "PPM"), refused="is PGM or its like, which is not read"),
    _bytes("HEIC", lambda film: b"\0\0\0\x18ftypheic" + bytes(40), refused="is HEIC, which is not read"),
    _bytes("JPEG XL", lambda film: b"\xff\x0a" + bytes(40), refused="is JPEG XL, which is not read"),
    _bytes("NIfTI", lambda film: bytes(344) + b"n+1\0" + bytes(40), refused="is NIfTI, which is not read"),
    _bytes("gzip", lambda film: b"\x1f\x8b" + bytes(40), refused="is a compressed archive: unpack it"),
    _bytes("a web page", lambda film: b"\n<!DOCTYPE html><title>404", refused="is a web page in the image's place"),
    _bytes(
        "a pointer of Git LFS", lambda film: b"version https://git-lfs.github.com/spec/v1", refused="is a pointer of"
    ),
    _bytes("text", lambda film: b"no image", refused="is no image (JPEG, PNG, BMP, TIFF, DICOM)"),
    _bytes("an empty file", lambda film: b"", refused="is empty"),
]
MONOCHROME1 = {"PhotometricInterpretation": "MONOCHROME1"}
DICOMS = [
    _dicom("DICOM, 8 bits", 8, _same),
    _dicom("DICOM, 8 bits, MONOCHROME1", 8, lambda film: 255 - film, **MONOCHROME1),
    _dicom("DICOM, 8 bits, signed", 8, lambda film: film.astype(int) - 128, PixelRepresentation=1),
    _dicom("DICOM, 8 bits in 16", 8, _same, BitsAllocated=16),
    *(_dicom(f"DICOM, {bits} bits in 16", bits, _same) for bits in (10, 12, 14, 16)),
    _dicom("DICOM, 12 bits, MONOCHROME1", 12, lambda film: 4095 - film, **MONOCHROME1),
    _dicom("DICOM, 12 bits, signed", 12, lambda film: film.astype(int) - 2048, PixelRepresentation=1),
    _dicom("DICOM, 12 bits, an overlay in the upper bits", 12, lambda film: film | 1 << 13),
    _dicom("DICOM, rescale that turns it round", 12, lambda film: 4095 - film, RescaleSlope=-1, RescaleIntercept=4095),
    *(
        _dicom(f"DICOM, {name}", 12, _same, syntax)
        for name, syntax in (
            ("RLE", "RLELossless"),
            ("JPEG lossless", "JPEGLosslessProcess14_1"),
            ("JPEG-LS", "JPEGLSLossless"),
            ("JPEG 2000", "JPEG2000Lossless"),
        )
    ),
    _dicom(
        "DICOM, 12 bits at the upper end of 16",
        12,
        lambda film: film << 4,
        HighBit=15,
        refused="is DICOM whose samples",
    ),
    _dicom("DICOM, several frames", 12, _same, NumberOfFrames=3, refused="is DICOM with 3 frames"),
    _dicom(
        "DICOM, colour",
        12,
        _same,
        PhotometricInterpretation="RGB",
        refused="is DICOM with the photometric interpretation RGB",
    ),
    _dicom("DICOM, raw recording", 12, _same, PresentationIntentType="FOR PROCESSING", doubt="is a raw recording"),
    _dicom("DICOM, a CT slice", 12, _same, Modality="CT", doubt="is no radiography"),
    Encoding(
        "DICOM without its preamble",
        lambda path: path.write_bytes(write_dicom(path, film_of(12)).read_bytes()[132:]),
        12,
        refused="is DICOM without its preamble",
    ),
    Encoding(
        "JPEG, lossless",
        lambda path: path.write_bytes(_lossless_jpeg()),
        8,
        refused="is lossless or hierarchical JPEG",
    ),
]
"""Those that pydicom and GDCM are needed for."""

ENCODINGS = [*TIFFS, *PNGS, *JPEGS, *BMPS, *OTHERS]


def outcome(encoding: Encoding, path: Path) -> str:
    """What becomes of a file in this encoding, in words."""
    encoding.write(path)
    try:
        found = read_radiograph(path, SIZE)
    except ImageError as error:
        return f"refused: {error}"
    apart = int(np.abs(found.image.astype(int) - reference(encoding.film, encoding.bits)).max())
    equal = "as its plain grey twin" if apart <= 1 else f"as its plain grey twin within {apart} greys"
    return "; ".join([equal, *(f"warned: {doubt}" for doubt in found.doubts)])


if __name__ == "__main__":
    print("| file | what happens |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for encoding in [*ENCODINGS, *DICOMS]:
            print(f"| {encoding.name} | {outcome(encoding, Path(folder) / 'file')} |")
