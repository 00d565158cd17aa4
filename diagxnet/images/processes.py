"""Decoding processes of the pack. They import this module alone: no pandas, no pydantic, so that they start at once."""

import errno
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from diagxnet.images.decode import ImageError, decode

TASKS_A_WORKER = 4

MAX_PROCESSES = 61
"""Windows waits for no more."""

Results = Generator[tuple[list[int], dict[int, str]], None, None]
"""For each task its rows, and the reason for each row that is bad."""


@dataclass(frozen=True)
class Target:
    """Where images go: below `root` they lie, `file` takes them, row 0 at byte `start`, `size` pixels a side."""

    root: str
    file: str
    start: int
    size: int

    def open(self) -> BinaryIO:
        """The file for writing at positions; unbuffered, so that a write that returns is a write made."""
        return Path(self.file).open("rb+", buffering=0)


def decode_here(target: Target, tasks: list[list[int]], paths: list[str]) -> Results:
    """Results of `tasks` in their order, decoded in this process; paths: that of each row."""
    with target.open() as file:
        for rows in tasks:
            yield rows, _decode_rows(target, file, rows, [paths[row] for row in rows])


def decode_in_processes(target: Target, tasks: list[list[int]], paths: list[str], workers: int) -> Results:
    """Results of `tasks` in their order; few tasks are under way at a time, so that memory stays flat.

    Raises BrokenProcessPool where a decoding process was killed, OSError (ENOSPC) where the disk is full.
    """
    pool = ProcessPoolExecutor(
        min(workers, len(tasks), MAX_PROCESSES),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(target,),
    )
    under_way: deque = deque()
    try:
        for rows in tasks:
            under_way.append((rows, pool.submit(_worker_decodes, rows, [paths[row] for row in rows])))
            if len(under_way) >= workers * TASKS_A_WORKER:
                rows, future = under_way.popleft()
                yield rows, future.result()
        while under_way:
            rows, future = under_way.popleft()
            yield rows, future.result()
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


def _worker_decodes(rows: list[int], paths: list[str]) -> dict[int, str]:
    target, file = _worker
    return _decode_rows(target, file, rows, paths)


def _decode_rows(target: Target, file: BinaryIO, rows: list[int], paths: list[str]) -> dict[int, str]:
    """Writes the images of `rows` to their places in `file`; returns the reason for each that cannot be used."""
    bad = {}
    for row, path in zip(rows, paths, strict=True):
        try:
            image = decode(os.path.join(target.root, path), target.size, target.root)
        except ImageError as error:
            bad[row] = str(error)
            continue
        file.seek(target.start + row * image.nbytes)
        if file.write(image.data) != image.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return bad
