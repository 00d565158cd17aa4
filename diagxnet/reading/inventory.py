"""The inventory: size and content hash of the tables and of every image that they name.

It is made on every run, so that a changed, added or removed image is noticed, and so it must cost little when nothing
changed: a file's hash is looked up by (path, size, time of modification) in a cache outside the repository.
"""

import itertools
import json
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.data.files import content_hash, replacing
from diagxnet.data.packed import TEST
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns
from diagxnet.reading.files import table_file
from diagxnet.reading.paths import leads_out
from diagxnet.reading.tables import check_root, read_tables

RACY_NANOSECONDS = 2_000_000_000
"""A file changed so recently could change again within its time stamp's resolution: its hash is not kept."""

LINKS_LOOKED_FOR = 64
"""So many images, spread over the tables, are looked at for links."""

FILES_A_COMMIT = 2048
"""Hashes are kept in the cache after so many files, so that an interrupted first run does not start over."""


def default_cache() -> Path:
    """The folder of the hash cache: DIAGXNET_CACHE where it is set, else `diagxnet` in the platform's cache folder."""
    if chosen := os.environ.get("DIAGXNET_CACHE"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "diagxnet"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "diagxnet"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "diagxnet"


def take_inventory(
    root: str | Path,
    *,
    cache: str | Path,
    linked: str | None = None,
    columns: Columns = CHEXPERT_COLUMNS,
    test: str | None = None,
) -> dict:
    """Name, size and MD5 of the tables under `root` and of the images that they name.

    cache: folder of the hash cache (`default_cache()`); it may be shared by any number of data sets and clones.
    linked: a folder that links under `root` may lead to. columns: of the tables. test: the table of data.test.

    Returns {"tables": {"train.csv": {"size", "hash"}, "valid.csv": the same or None, "data.test": the same, where there
    is one}, "images": {path: {"size", "hash"}, or None where the file is missing or cannot be read}}, by the paths of
    the tables, relative to `root`, sorted. Raises InputError where `root` or train.csv is missing, for every problem in
    the tables, and where links lead most images out of `root`, since `pack` would refuse each of them.
    """
    root = Path(root)
    check_root(root, test)
    listed, elsewhere = [], {}
    for table in read_tables(root, columns, test):
        _check_links(root, root if table.name != TEST else (root / test).parent, linked, table.files)
        listed.append(table.frame["path"].tolist())
        elsewhere |= {} if table.elsewhere is None else dict(zip(listed[-1], table.elsewhere, strict=True))
    paths = sorted(itertools.chain(*listed))
    files = [table_file(root, name) or root / f"{name}.csv" for name in ("train", "valid")]
    tables = {path.name: _measure(str(path)) for path in files}
    if test is not None:
        tables["data.test"] = _measure(str(root / test))
    hashes = _HashCache(Path(cache), root)
    with closing(hashes):
        images = _hash_all(root, paths, elsewhere, hashes)
    return {"tables": {name: _entry(measured) for name, measured in tables.items()}, "images": images}


def write_inventory(path: str | Path, inventory: dict) -> None:
    """Writes an inventory as JSON with an image a line, sorted; equal inventories give equal bytes."""
    images = inventory["images"]
    lines = (f"{json.dumps(name)}: {json.dumps(images[name])}" for name in sorted(images))
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{\n"images": {\n')
        file.write(",\n".join(lines))
        file.write(f'\n}},\n"tables": {json.dumps(inventory["tables"], sort_keys=True)}\n}}\n')


def read_hashes(path: str | Path) -> dict[str, bytes | None]:
    """The content hash (16 bytes) of each image of a written inventory, by its path; None where there is no file.

    Entries shrink to their hash while the file is parsed: as objects, 223,414 of them would take five times the memory.
    """

    def shrink(entry: dict) -> dict | bytes:
        return bytes.fromhex(entry["hash"]) if entry.keys() == {"size", "hash"} else entry

    return json.loads(Path(path).read_text(encoding="utf-8"), object_hook=shrink)["images"]


def _check_links(root: Path, near: Path, linked: str | None, paths: list[str]) -> None:
    """InputError where most `paths` of a table lead out of `root` and `linked`: one cause, and to drop them is no mend.

    near: the table's folder, which absolute paths must not lead out of. A few are for `pack` to name, by row.
    LINKS_LOOKED_FOR of the paths are looked at.
    """
    chosen = paths[:: len(paths) // LINKS_LOOKED_FOR or 1]
    outside = [path for path in chosen if leads_out(root / path, near if os.path.isabs(path) else root, linked)]
    if 2 * len(outside) <= len(chosen):
        return
    parts = (*reversed(Path(outside[0]).parents), Path(outside[0]))
    link = root / next(part for part in parts if part != Path() and (root / part).is_symlink())
    real = Path(os.path.realpath(link))
    raise InputError(
        f"{link}: is a link to {real}, outside data.root, as {len(outside):,} of {len(chosen):,} images looked at are: "
        "none of these is read (set data.root to the real folder of tables and images, or allow links to there: "
        f"data.linked={real if real.is_dir() else real.parent})"
    )


def _hash_all(root: Path, paths: list[str], elsewhere: dict[str, str], hashes: "_HashCache") -> dict[str, dict | None]:
    """Size and hash of the file of each of `paths`: the path itself below `root`, or what `elsewhere` has for it."""
    images: dict[str, dict | None] = dict.fromkeys(paths)
    unknown = []
    prefix = os.path.join(root, "")
    for path in paths:
        file = elsewhere.get(path, path) if elsewhere else path
        status = _status(os.path.join(prefix, file) if elsewhere else prefix + file)
        if status is None:
            continue
        known = hashes.known.get(file)
        if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
            images[path] = {"size": known[0], "hash": known[2]}
        else:
            unknown.append((path, file))
    hashes.known.clear()
    for path, measured in _hash_unknown(prefix, unknown, hashes):
        images[path] = _entry(measured)
    return images


def _hash_unknown(
    prefix: str, unknown: list[tuple[str, str]], hashes: "_HashCache"
) -> Iterator[tuple[str, tuple | None]]:
    """Each path with what was measured of its file; unknown: paths and files."""
    if not unknown:
        return
    with Progress(len(unknown), "inventory", "files") as progress, ThreadPoolExecutor() as pool:
        for start in range(0, len(unknown), FILES_A_COMMIT):
            paths, files = zip(*unknown[start : start + FILES_A_COMMIT], strict=True)
            measured = list(pool.map(_measure, (os.path.join(prefix, file) for file in files)))
            hashes.keep(zip(files, measured, strict=True))
            progress.update(len(files))
            yield from zip(paths, measured, strict=True)


def _measure(path: str) -> tuple[int, int, str, bool] | None:
    """Size, time of modification in nanoseconds, hash, and whether these may be kept; None without a readable file."""
    before = _status(path)
    if before is None:
        return None
    try:
        digest = content_hash(path)
    except OSError:
        return None
    after = _status(path)
    settled = (
        after is not None
        and (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        and before.st_mtime_ns < time.time_ns() - RACY_NANOSECONDS
    )
    return before.st_size, before.st_mtime_ns, digest, settled


def _status(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _entry(measured: tuple | None) -> dict | None:
    return None if measured is None else {"size": measured[0], "hash": measured[2]}


class _HashCache:
    """The hashes of one root's files, kept in one SQLite file for all roots.

    known: path -> (size, time of modification in nanoseconds, hash), read once: 223,414 look-ups cost one query.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.path = folder / "hashes.sqlite"
        self.root = os.path.realpath(root)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open_or_replace()
        except (OSError, sqlite3.OperationalError) as error:
            raise InputError(
                f"{self.path}: the cache of hashes cannot be opened there "
                "(set the environment variable DIAGXNET_CACHE to a folder that you can write)"
            ) from error

    def _open_or_replace(self) -> None:
        try:
            self._open()
        except sqlite3.OperationalError:
            raise  # locked or not writable: the file itself may be whole
        except sqlite3.DatabaseError as error:
            print(f"inventory: {self.path}: {error}; made anew, every file is hashed again", file=sys.stderr)
            self.connection.close()
            self.path.unlink()
            self._open()

    def _open(self) -> None:
        self.connection = sqlite3.connect(self.path, timeout=60)
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS hashes (root TEXT, path TEXT, size INTEGER, modified INTEGER, hash TEXT, "
            "PRIMARY KEY (root, path)) WITHOUT ROWID"
        )
        rows = self.connection.execute("SELECT path, size, modified, hash FROM hashes WHERE root = ?", (self.root,))
        self.known = {path: (size, modified, digest) for path, size, modified, digest in rows}

    def keep(self, measured: Iterable[tuple[str, tuple | None]]) -> None:
        rows = [(self.root, path, *each[:3]) for path, each in measured if each is not None and each[3]]
        with self.connection:
            self.connection.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        self.connection.close()
