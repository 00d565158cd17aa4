"""From what a user names on the command line, files, folders or tables, to the images to predict."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from diagxnet.console.errors import InputError, printable
from diagxnet.images.kinds import HEAD, kind_of
from diagxnet.reading.files import SUFFIXES as SUFFIXES_OF_TABLES
from diagxnet.reading.files import reading

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".dcm", ".dicom")
PATH_COLUMNS = ("Path", "path")


@dataclass(frozen=True)
class Item:
    """An image to predict. path: as it is shown and opened. name: relative path that its outputs are called by.
    root: folder that it must be in, where a table named it. problem: why it cannot be opened, or None."""

    path: Path
    name: str
    root: Path | None = None
    problem: str | None = None

    @property
    def shown(self) -> str:
        """The path on one line, whatever characters are in it."""
        return printable(self.path)


def list_inputs(paths: Iterable[str | Path], column: str | None = None) -> tuple[list[Item], list[Path]]:
    """The images that `paths` name, in their order, and what was passed over in folders: other files, linked folders.

    A folder stands for the images in it and below, sorted: those with an image's suffix, and those that are images by
    their first bytes, whatever their name. A `.csv` or `.csv.gz` file is a table whose `column` (default `Path`) names
    images, relative to the table's folder; CheXpert's first component may be missing there, as in data.root. Raises
    InputError where nothing is found, or a table is none.
    """
    items: list[Item] = []
    passed: list[Path] = []
    for path in map(Path, paths):
        if os.path.isdir(path):
            found, others = _in_folder(path)
            items += found
            passed += others
        elif path.name.lower().endswith(SUFFIXES_OF_TABLES):
            items += _in_table(path, (column,) if column else PATH_COLUMNS)
        else:
            items.append(Item(path, path.name))
    if not items:
        raise InputError(f"{', '.join(map(str, paths))}: no image here (give files, folders or a table)")
    return _named_apart(items), passed


def _in_folder(folder: Path) -> tuple[list[Item], list[Path]]:
    items, passed = [], []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders.sort()
        passed += [path for path in (Path(place) / name for name in folders) if path.is_symlink()]  # not walked
        for path in (Path(place) / name for name in sorted(files)):
            if path.suffix.lower() in SUFFIXES or _begins_as_image(path):
                items.append(Item(path, path.relative_to(folder).as_posix()))
            else:
                passed.append(path)
    return items, passed


def _begins_as_image(path: Path) -> bool:
    try:
        if not os.path.isfile(path):
            return False  # a pipe would be waited for
        with path.open("rb") as file:
            return kind_of(file.read(HEAD)).picture
    except OSError:
        return False


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: {error.strerror} (make it a folder that you can read)")


def _in_table(table: Path, columns: Sequence[str]) -> Iterator[Item]:
    root = table.parent
    try:
        with reading(table) as rows:
            header = next(rows, [])
            column = next((name for name in columns if name in header), None)
            if column is None:
                raise InputError(
                    f"{table}, line 1: no column {columns[0]} (name the one that holds each image's path below {root}: "
                    f"--column; the table has {', '.join(header[:8])})"
                )
            at = header.index(column)
            for row in filter(None, rows):
                yield _row(root, row[at] if at < len(row) else "", f"{table.name}, line {rows.line_num}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: is no CSV in UTF-8: {error} (save it as such)") from None


def _row(root: Path, value: str, line: str) -> Item:
    """The image of a table's row; a path that leaves the table's folder is a problem, not an image."""
    parts = PurePosixPath(value.replace("\\", "/")).parts
    if not value.isprintable() or not parts:
        return Item(root / line, line, root, "names no image")
    if ".." in parts or parts[0][0] == "/" or any(PureWindowsPath(part).drive for part in parts):
        return Item(Path(value), line, root, f"{line}: its path must be below the table's folder")
    path = root.joinpath(*parts)
    if len(parts) > 1 and not os.path.exists(path):
        path = root.joinpath(*parts[1:])
    return Item(path, path.relative_to(root).as_posix(), root)


def _named_apart(items: list[Item]) -> list[Item]:
    """The items with names that differ, whatever a file system makes of upper and lower case."""
    used: set[str] = set()
    apart = []
    for item in items:
        name, number = item.name, 1
        while name.casefold() in used:
            number += 1
            name = f"{item.name}-{number}"
        used.add(name.casefold())
        apart.append(Item(item.path, name, item.root, item.problem))
    return apart
