"""Where a table is, and how its text is read: `.csv`, or `.csv.gz`, in UTF-8, with the separator of its header."""

import csv
import gzip
import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from diagxnet.console.errors import InputError

SUFFIXES = (".csv", ".csv.gz")
SEPARATORS = (",", ";", "\t", "|")


def find_table(root: str | Path, name: str) -> Path | None:
    """The table `name` (`train`, say) under `root`; None where there is none, InputError where there are two."""
    found = [path for suffix in SUFFIXES if (path := Path(root) / f"{name}{suffix}").exists()]
    if len(found) > 1:
        raise InputError(f"{found[0]}: is there as {found[1].name}, too (leave the one that you mean)")
    return found[0] if found else None


@contextmanager
def reading(path: Path) -> Iterator[Iterator[list[str]]]:
    """A csv.reader of the table at `path`. Raises InputError where the system cannot read it, or the archive is cut
    off; UnicodeDecodeError and csv.Error are the reader's."""
    try:
        with _text(path) as file:
            first = file.readline()
            yield csv.reader(itertools.chain([first] if first else [], file), delimiter=separator(first), strict=True)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{path}: is no whole gzip archive (get it again, or give the .csv)") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror} (make it a file that you can read)") from None


def separator(header: str) -> str:
    """The one of SEPARATORS that is in the line `header` most often; the comma where there is none."""
    return max(SEPARATORS, key=header.count)


def encoding_problem(path: Path) -> str:
    """Where the table at `path` is not UTF-8."""
    with _bytes(path) as file:
        content = file.read()
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"{path.name}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8: save the table as UTF-8"
    return f"{path.name}: changed while it was read: run again"


def _text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _bytes(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
