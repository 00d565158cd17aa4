"""The bytes of images.npy: its header, its rows by position, and how gaps between them are closed in place."""

import errno
import io
from pathlib import Path
from typing import BinaryIO

import numpy as np

from diagxnet.console.errors import InputError

ROWS_A_COPY = 256


def packed_bytes(images: int, size: int) -> int:
    """Size in bytes of images.npy for so many images of `size` pixels a side."""
    return len(_header(images, size)) + images * size * size


def make_room(path: Path, images: int, size: int) -> None:
    """Gives the file `path` its size; what it holds stays."""
    needed = packed_bytes(images, size)
    with path.open("ab") as file:
        try:
            file.truncate(needed)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            raise InputError(
                f"{path}: a file of {needed:,} bytes is larger than this file system takes (FAT32: 4 GiB) or a limit "
                f"allows (`ulimit -f`): use another disk, raise the limit, or take a smaller data.image_size"
            ) from None


def keep_rows(path: Path, rows: np.ndarray, size: int) -> None:
    """Leaves `rows`, sorted, in the file `path`, without gaps, and writes its header."""
    with path.open("rb+", buffering=0) as file:
        _close_gaps(file, rows, size)
        file.truncate(packed_bytes(len(rows), size))
        file.seek(0)
        file.write(_header(len(rows), size))


def _close_gaps(file: BinaryIO, good: np.ndarray, size: int) -> None:
    """Moves row good[i] of `file` to row i, a few at a time, in order: no row is overwritten before it is moved."""
    start, row_bytes = packed_bytes(0, size), size * size
    moved = np.flatnonzero(good != np.arange(len(good)))
    for first in moved[::ROWS_A_COPY] if len(moved) else []:
        sources = good[first : first + ROWS_A_COPY]
        runs = np.split(sources, np.flatnonzero(np.diff(sources) != 1) + 1)
        block = b"".join(_read_at(file, start + int(run[0]) * row_bytes, len(run) * row_bytes) for run in runs)
        file.seek(start + int(first) * row_bytes)
        file.write(block)


def _read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _header(images: int, size: int) -> bytes:
    """The .npy header; as long for any number of images, since numpy leaves room for the first axis to grow."""
    header = io.BytesIO()
    shape = (images, size, size)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()
