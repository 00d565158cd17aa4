"""Packing: every image decoded once, into one uint8 memory map (what it writes: see `data.packed`).

An interrupted pack is kept in a work folder: the unfinished `images.npy`, and `state.npz`, which says for each row
which content (by the inventory's hash) it holds. The finished file is a hard link of the one in the work folder, so
that nothing is decoded again if the run is killed between this stage's end and DVC's note of it; `release` removes it.
"""

import csv
import errno
import io
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import __version__ as pillow_version

from diagxnet.console.cores import cores
from diagxnet.console.errors import InputError, problems_error
from diagxnet.console.progress import Progress
from diagxnet.data.files import read_arrays, replacing, write_arrays
from diagxnet.images.processes import Results, Target, decode_here, decode_in_processes
from diagxnet.images.work import release, remove
from diagxnet.tables.inventory import read_hashes
from diagxnet.tables.reading import read_paths

DECODING = 1
"""Raise it when decoding changes: a pack that an older version began is then not gone on with."""

IMAGES_A_TASK = 32
SECONDS_BETWEEN_SAVES = 5.0
SECONDS_ALONE = 0.3
"""Decoding starts in this process; others are started after this time, when they save more than they cost."""

SECONDS_TO_START = 1.0
"""What starting the decoding processes costs, each of which imports NumPy and Pillow."""

ROWS_A_COPY = 256


@dataclass(frozen=True)
class _Plan:
    """What is to be packed, a row an image: its table, path, line in the table, and content hash (zeros: no file)."""

    tables: list[str]
    paths: list[str]
    lines: list[int]
    digests: np.ndarray  # [rows, 16] uint8


@dataclass
class _Work:
    """The pack in `folder`: rows `done` [rows] bool hold the images of `digests`; `bad` maps a row to its reason."""

    folder: Path
    size: int
    digests: np.ndarray
    done: np.ndarray
    finished: bool = False
    bad: dict[int, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "images.npy"

    def copy(self) -> "_Work":
        return replace(self, done=self.done.copy(), bad=dict(self.bad))

    def save(self) -> None:
        """Notes what is done, after the images themselves are safely on disk."""
        with self.file.open("rb+") as file:
            os.fsync(file.fileno())
        bad_rows = sorted(self.bad)
        write_arrays(
            self.folder / "state.npz",
            version=np.array(_version(self.size)),
            digests=self.digests,
            done=self.done,
            finished=np.array(self.finished),
            bad_rows=np.array(bad_rows, np.int64),
            bad_reasons=np.array([self.bad[row] for row in bad_rows], np.str_),
        )


def pack(
    root: str | Path,
    inventory: str | Path,
    folder: str | Path,
    *,
    size: int,
    bad_images: str,
    work: str | Path,
    workers: int | None = None,
) -> dict:
    """Decodes every image of the tables under `root` into `folder`: images.npy, index.csv, dropped.csv.

    inventory: the file that `write_inventory` made for this root. size: side in pixels. bad_images: `stop` raises one
    InputError for all images that cannot be used, `drop` leaves them out and lists them. work: a folder on the file
    system of `folder`, but outside it, where an interrupted pack is kept: the next call with the same size takes over
    each row whose image is unchanged. workers: processes that decode (default: one a core); the bytes do not depend
    on it. Rows are written by position, never through a map, so that peak memory does not grow with the images.

    Returns {"images", "dropped", "decoded", "images_per_second"}; `decoded` and the rate are of this call alone.
    Raises InputError where the disk is too small, an image is bad (with `stop`), or none is good.
    """
    root, folder = Path(root), Path(folder)
    plan = _plan(root, inventory)
    state = _take_up(Path(work), plan, size)
    started = time.perf_counter()
    decoded = 0 if state.finished else _decode_pending(root, plan, state, workers or cores())
    seconds = time.perf_counter() - started
    _judge(root, plan, state, bad_images)
    if not state.finished:
        _finish(state)
    _hand_over(plan, state, folder)
    return {
        "images": len(plan.paths) - len(state.bad),
        "dropped": len(state.bad),
        "decoded": decoded,
        "images_per_second": round(decoded / seconds, 1) if decoded else 0.0,
    }


def packed_bytes(images: int, size: int) -> int:
    """Size in bytes of images.npy for so many images of `size` pixels a side."""
    return len(_header(images, size)) + images * size * size


def _version(size: int) -> str:
    return f"decoding {DECODING}, Pillow {pillow_version}, size {size}"


def _plan(root: Path, inventory: str | Path) -> _Plan:
    hashes = read_hashes(inventory)
    tables, paths, lines = [], [], []
    for table, own_paths, own_lines in read_paths(root):
        tables += [table] * len(own_lines)
        paths += own_paths
        lines += own_lines
    if len(paths) != len(hashes) or not all(path in hashes for path in paths):
        raise InputError(f"{root}: the tables changed after the inventory was taken (run again)")
    digests = bytearray()
    for path in paths:
        digests += hashes[path] or bytes(16)
    return _Plan(tables, paths, lines, np.frombuffer(digests, np.uint8).reshape(-1, 16))


def _take_up(folder: Path, plan: _Plan, size: int) -> _Work:
    """The work found in `folder` as far as it is of this plan and size; new work, with room for it checked, else."""
    fresh = _Work(folder, size, plan.digests, np.zeros(len(plan.paths), bool))
    found = _read_work(folder, size)
    if found is not None and found.finished and np.array_equal(found.digests, plan.digests):
        return found
    # a finished file may be linked into DVC's cache by now: it is never written again
    if found is not None and not found.finished:
        rows = min(len(found.done), len(fresh.done))
        same = (found.digests[:rows] == plan.digests[:rows]).all(axis=1) & plan.digests[:rows].any(axis=1)
        fresh.done[:rows] = found.done[:rows] & same
    if fresh.done.any():
        print(f"pack: goes on where it was: {fresh.done.sum():,} of {len(fresh.done):,} images", file=sys.stderr)
    else:
        if folder.exists():
            print(f"pack: removed {folder}, kept for other images or another size", file=sys.stderr)
        release(folder)
        folder.mkdir(parents=True)
    _check_space(fresh)
    _make_room(fresh.file, packed_bytes(len(plan.paths), size))
    fresh.save()
    return fresh


def _make_room(path: Path, size: int) -> None:
    """Gives the file `path` its size in bytes; what it holds stays."""
    with path.open("ab") as file:
        try:
            file.truncate(size)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            raise InputError(
                f"{path}: a file of {size:,} bytes is larger than this file system takes (FAT32: 4 GiB) or a limit "
                f"allows (`ulimit -f`): use another disk, raise the limit, or take a smaller data.image_size"
            ) from None


def _read_work(folder: Path, size: int) -> _Work | None:
    try:
        state = read_arrays(folder / "state.npz")
        if str(state["version"]) != _version(size) or not (folder / "images.npy").exists():
            return None
        bad = dict(zip(state["bad_rows"].tolist(), state["bad_reasons"].tolist(), strict=True))
        return _Work(folder, size, state["digests"], state["done"], bool(state["finished"]), bad)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _check_space(state: _Work) -> None:
    """InputError naming the sum where the file system has no room for the rows still to be written."""
    needed = packed_bytes(len(state.done), state.size)
    missing = int((~state.done).sum()) * state.size**2
    free = shutil.disk_usage(state.folder).free
    if missing > free:
        raise InputError(
            f"{state.folder}: {len(state.done):,} images of {state.size} x {state.size} pixels take "
            f"{needed / 1e9:,.1f} GB; {missing / 1e9:,.1f} GB are still to be written, {free / 1e9:,.1f} GB are free "
            "(make room, or choose a smaller data.image_size or data.max_patients)"
        )


class _Saver:
    """Saves the work now and then, in a thread: decoding processes get no tasks from one that waits for the disk."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._saving: Future | None = None
        self._began = time.monotonic()

    def save_now_and_then(self, state: _Work) -> None:
        """Begins to save a copy of `state` where the last save has ended and is old enough; raises what that raised."""
        if time.monotonic() - self._began <= SECONDS_BETWEEN_SAVES or (self._saving and not self._saving.done()):
            return
        if self._saving:
            self._saving.result()
        self._began = time.monotonic()
        self._saving = self._thread.submit(state.copy().save)

    def close(self) -> None:
        """Waits for the save under way; what it raises, the last save raises again."""
        self._thread.shutdown()


def _decode_pending(root: Path, plan: _Plan, state: _Work, workers: int) -> int:
    """Decodes the rows that are not done; bad ones go to `state.bad`. Returns how many were decoded."""
    pending = np.flatnonzero(~state.done)
    if not len(pending):
        return 0
    tasks = [pending[i : i + IMAGES_A_TASK].tolist() for i in range(0, len(pending), IMAGES_A_TASK)]
    target = Target(str(root), str(state.file), packed_bytes(0, state.size), state.size)
    results = _decode(target, tasks, plan.paths, workers)
    saver = _Saver()
    try:
        with Progress(len(pending), "pack") as progress:
            for rows, bad in results:
                state.bad.update(bad)
                state.done[[row for row in rows if row not in bad]] = True
                progress.update(len(rows))
                saver.save_now_and_then(state)
    except BrokenProcessPool:
        raise InputError(
            "a decoding process was killed, most likely for want of memory (free some and run again: it goes on)"
        ) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise InputError(f"{state.folder}: the disk is full (make room and run again: it goes on)") from None
    finally:
        results.close()
        saver.close()
        state.save()
    return len(pending)


def _decode(target: Target, tasks: list[list[int]], paths: list[str], workers: int) -> Results:
    """Results of `tasks` in their order: decoded in this process, and in `workers` others where much is left."""
    started = time.monotonic()
    for done, result in enumerate(decode_here(target, tasks, paths), start=1):
        yield result
        seconds = time.monotonic() - started
        left = seconds / done * (len(tasks) - done)
        if workers > 1 and seconds >= SECONDS_ALONE and left > SECONDS_TO_START:
            yield from decode_in_processes(target, tasks[done:], paths, workers)
            return


def _judge(root: Path, plan: _Plan, state: _Work, bad_images: str) -> None:
    if state.bad and bad_images == "stop":
        problems = [
            f"{plan.tables[row]}.csv, line {plan.lines[row]}: {plan.paths[row]} {reason}"
            for row, reason in sorted(state.bad.items())
        ]
        mend = "mend these images or take their rows out, or set data.bad_images to drop"
        raise problems_error(f"images in {root}", problems, mend)
    if len(state.bad) == len(plan.paths):
        raise InputError(f"{root}: none of {len(plan.paths):,} images can be used (see whether data.root is right)")


def _finish(state: _Work) -> None:
    """Closes the gaps that bad rows left, writes the header, and notes that the file is whole."""
    good = np.setdiff1d(np.arange(len(state.done)), list(state.bad))
    if state.bad:
        state.done[min(state.bad) :] = False  # if this is cut off, what it may have moved is decoded again
        state.save()
    with state.file.open("rb+", buffering=0) as file:
        _close_gaps(file, good, state.size)
        file.truncate(packed_bytes(len(good), state.size))
        file.seek(0)
        file.write(_header(len(good), state.size))
    state.finished = True
    state.save()


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


def _hand_over(plan: _Plan, state: _Work, folder: Path) -> None:
    """Puts images.npy, index.csv and dropped.csv into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    good = [row for row in range(len(plan.paths)) if row not in state.bad]
    _write_csv(
        folder / "index.csv",
        ["row", "table", "path"],
        ((place, plan.tables[row], plan.paths[row]) for place, row in enumerate(good)),
    )
    dropped = ((plan.tables[row], plan.paths[row], reason) for row, reason in sorted(state.bad.items()))
    _write_csv(folder / "dropped.csv", ["table", "path", "reason"], dropped)
    target = folder / "images.npy"
    remove(target)
    try:
        os.link(state.file, target)
    except OSError:  # a file system without hard links, or another one
        shutil.move(state.file, target)
        release(state.folder)


def _write_csv(path: Path, header: list[str], rows: Iterable[tuple]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
