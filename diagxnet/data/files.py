"""Files that are either whole or absent: everything is written beside its place and renamed into it."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` when the block ends well, removes it when it raises.

    The rename is atomic on one file system, so a reader never sees a part, whatever kills the writer; and a `path`
    that is a read-only link into DVC's cache is replaced, never written through.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        if os.name == "nt" and path.exists():
            path.chmod(0o666)  # Windows refuses to rename over a read-only file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes `content` whole or not at all. Libraries that write themselves say of a full disk what each likes; here it
    is an OSError that names `path`."""
    with replacing(path) as temporary:
        try:
            temporary.write_bytes(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8 with line feeds on every platform."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON; raises ValueError on NaN or infinity, which JSON cannot hold."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    """Writes named arrays as an `.npz` that `numpy.load` opens; equal arrays give equal bytes."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The named arrays of an `.npz`; nothing in it can run code (`allow_pickle` stays off)."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def array_hash(*arrays: np.ndarray) -> str:
    """MD5 in hex of the arrays' types, shapes and values, in C order."""
    whole = hashlib.md5(usedforsecurity=False)
    for array in arrays:
        whole.update(f"{array.dtype.str}{array.shape}".encode())
        whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()


def content_hash(path: str | Path) -> str:
    """MD5 of the file's content in hex, as DVC takes it: it identifies content, it guards against no attacker."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
