"""Who decodes: this process, and others where much is left.

The decoding processes import this module alone: no pandas, no pydantic, so that they start at once.
"""

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from diagxnet.images.decode import ImageError, read_radiograph
from diagxnet.images.doubts import Doubt
from diagxnet.images.duplicates import film_hash

SECONDS_ALONE = 0.3
"""Decoding starts in this process; others are started after this time, when they save more than they cost."""

SECONDS_TO_START = 1.0
"""What starting the decoding processes costs, each of which imports NumPy and Pillow."""

TASKS_A_WORKER = 4

MAX_PROCESSES = 61
"""Windows waits for no more."""


@dataclass(frozen=True)
class Target:
    """Where images go: below `root` they lie, or where links lead from there into `linked`, and those with absolute
    paths below `near`; `file` takes them, row 0 at byte `start`, `size` pixels a side, of which `crop` is what (see
    `decode.square`)."""

    root: str
    linked: str | None
    file: str
    start: int
    size: int
    crop: str = "guide"
    near: str | None = None

    def open(self) -> BinaryIO:
        """The file for writing at positions; unbuffered, so that a write that returns is a write made."""
        return Path(self.file).open("rb+", buffering=0)


@dataclass(frozen=True)
class Decoded:
    """The rows of a task; the reason for each of them that cannot be used, the doubts about each that has any, and
    width and height of each other's image as it is in the file, and its hash (see `images.duplicates`)."""

    rows: list[int]
    bad: dict[int, str] = field(default_factory=dict)
    doubts: dict[int, tuple[Doubt, ...]] = field(default_factory=dict)
    shapes: dict[int, tuple[int, int]] = field(default_factory=dict)
    hashes: dict[int, np.ndarray] = field(default_factory=dict)


def decode_tasks(
    target: Target, tasks: list[list[int]], paths: list[str], workers: int
) -> Generator[Decoded, None, None]:
    """Decodes `tasks`, rows each, in their order: in this process, and in `workers` others where much is left.

    paths: that of each row. Raises BrokenProcessPool where a decoding process was killed, OSError (ENOSPC) where the
    disk is full.
    """
    started = time.monotonic()
    with target.open() as file:
        for done, rows in enumerate(tasks, start=1):
            yield _decode_rows(target, file, rows, [paths[row] for row in rows])
            seconds = time.monotonic() - started
            left = seconds / done * (len(tasks) - done)
            if workers > 1 and seconds >= SECONDS_ALONE and left > SECONDS_TO_START:
                yield from _decode_in_processes(target, tasks[done:], paths, workers)
                return


def _decode_in_processes(
    target: Target, tasks: list[list[int]], paths: list[str], workers: int
) -> Generator[Decoded, None, None]:
    """Few tasks are under way at a time, so that memory stays flat."""
    pool = ProcessPoolExecutor(
        min(workers, len(tasks), MAX_PROCESSES),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(target,),
    )
    under_way: deque = deque()
    try:
        for rows in tasks:
            under_way.append(pool.submit(_worker_decodes, rows, [paths[row] for row in rows]))
            if len(under_way) >= workers * TASKS_A_WORKER:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_worker: tuple[Target, BinaryIO]
"""Set in each decoding process by `_start_worker`."""


def _start_worker(target: Target) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends its workers in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = target, target.open()


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, be it killed: nothing may write while the next run does."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _worker_decodes(rows: list[int], paths: list[str]) -> Decoded:
    target, file = _worker
    return _decode_rows(target, file, rows, paths)


def _decode_rows(target: Target, file: BinaryIO, rows: list[int], paths: list[str]) -> Decoded:
    """Writes the images of `rows` to their places in `file`."""
    decoded = Decoded(rows)
    for row, path in zip(rows, paths, strict=True):
        try:
            root = target.near if target.near and os.path.isabs(path) else target.root
            radiograph = read_radiograph(os.path.join(root, path), target.size, root, target.linked, crop=target.crop)
        except ImageError as error:
            decoded.bad[row] = str(error)
            continue
        decoded.shapes[row] = radiograph.shape
        decoded.hashes[row] = film_hash(radiograph.image)
        if radiograph.doubts:
            decoded.doubts[row] = radiograph.doubts
        file.seek(target.start + row * radiograph.image.nbytes)
        if file.write(radiograph.image.data) != radiograph.image.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return decoded
