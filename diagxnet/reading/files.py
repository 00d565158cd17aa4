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
from diagxnet.data.packed import TEST
from diagxnet.reading.places import batch_folders

SUFFIXES = (".csv", ".csv.gz")
SEPARATORS = (",", ";", "\t", "|")


def find_table(root: str | Path, name: str) -> Path | None:
    """The table `name` (`train`, say) under `root`, or else in one of its batch folders (see `reading.places`); None
    where there is none, InputError where there are two."""
    found = _in_folder(Path(root), name)
    if not found:
        found = [path for batch in batch_folders(root) for path in _in_folder(Path(root) / batch, name)]
    if len(found) > 1:
        other = found[1].name if found[0].parent == found[1].parent else found[1]
        raise InputError(f"{found[0]}: is there as {other}, too (leave the one that you mean)")
    return found[0] if found else None


def table_file(root: str | Path, name: str, test: str | None = None) -> Path | None:
    """As `find_table`; the table `test` is the file that data.test names, below `root` or absolute."""
    return Path(root) / test if name == TEST and test is not None else find_table(root, name)


def table_names(root: str | Path, test: str | None = None) -> list[str]:
    """The tables of a data set: train, valid where there is one, and test where data.test names it."""
    return ["train", *(["valid"] if find_table(root, "valid") else []), *([TEST] if test is not None else [])]


def _in_folder(folder: Path, name: str) -> list[Path]:
    return [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").exists()]


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
