"""The state of a pack that is not finished, and what of an earlier one is taken over.

It lies in a work folder: the unfinished `images.npy`, and `state.npz`, which says for each row which content (by the
inventory's hash) it holds.
"""

import os
import shutil
import sys
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import __version__ as pillow_version

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_arrays, write_arrays
from diagxnet.images.doubts import Doubt
from diagxnet.images.duplicates import WORDS
from diagxnet.images.npy import keep_rows, make_room, packed_bytes
from diagxnet.images.work import release

DECODING = 2
"""Raise it when decoding changes: a pack that an older version began is then not gone on with."""

SECONDS_BETWEEN_SAVES = 5.0


@dataclass
class Unfinished:
    """The pack in `folder`, `size` pixels a side, as `crop` has it: rows `done` [rows] bool hold the images of
    `digests` [rows, 16], whose width and height in the file are `shapes` [rows, 2] int32, and which are known again by
    `hashes` [rows, WORDS] uint64 (see `images.duplicates`).

    bad: the reason for each row that cannot be used. doubts: those about each row that has any.
    """

    folder: Path
    size: int
    digests: np.ndarray
    done: np.ndarray
    shapes: np.ndarray
    hashes: np.ndarray
    crop: str = "guide"
    finished: bool = False
    bad: dict[int, str] = field(default_factory=dict)
    doubts: dict[int, tuple[Doubt, ...]] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "images.npy"

    def copy(self) -> "Unfinished":
        arrays = {"done": self.done.copy(), "shapes": self.shapes.copy(), "hashes": self.hashes.copy()}
        return replace(self, **arrays, bad=dict(self.bad), doubts=dict(self.doubts))

    def save(self) -> None:
        """Notes what is done, after the images themselves are safely on disk."""
        with self.file.open("rb+") as file:
            os.fsync(file.fileno())
        bad_rows = sorted(self.bad)
        doubts = [(row, doubt) for row in sorted(self.doubts) for doubt in self.doubts[row]]
        write_arrays(
            self.folder / "state.npz",
            version=np.array(_version(self.size, self.crop)),
            digests=self.digests,
            done=self.done,
            shapes=self.shapes,
            hashes=self.hashes,
            finished=np.array(self.finished),
            bad_rows=np.array(bad_rows, np.int64),
            bad_reasons=np.array([self.bad[row] for row in bad_rows], np.str_),
            doubt_rows=np.array([row for row, _ in doubts], np.int64),
            doubts=np.array([(doubt.about, doubt.detail) for _, doubt in doubts], np.str_).reshape(-1, 2),
        )

    def finish(self) -> None:
        """Closes the gaps that bad rows left, writes the header, and notes that the file is whole."""
        if self.bad:
            self.done[min(self.bad) :] = False  # if this is cut off, what it may have moved is decoded again
            self.save()
        good = np.setdiff1d(np.arange(len(self.done)), list(self.bad))
        keep_rows(self.file, good, self.size)
        self.finished = True
        self.save()


def take_up(folder: Path, digests: np.ndarray, size: int, crop: str = "guide") -> Unfinished:
    """What is in `folder`, as far as it is of this size and crop and of images `digests`; else a new one, if there is
    room."""
    shapes = np.zeros((len(digests), 2), np.int32)
    hashes = np.zeros((len(digests), WORDS), np.uint64)
    fresh = Unfinished(folder, size, digests, np.zeros(len(digests), bool), shapes, hashes, crop)
    found = _read(folder, size, crop)
    if found is not None and found.finished and np.array_equal(found.digests, digests):
        return found
    # a finished file may be linked into DVC's cache by now: it is never written again
    if found is not None and not found.finished:
        rows = min(len(found.done), len(fresh.done))
        same = (found.digests[:rows] == digests[:rows]).all(axis=1) & digests[:rows].any(axis=1)
        fresh.done[:rows] = found.done[:rows] & same
        fresh.shapes[:rows], fresh.hashes[:rows] = found.shapes[:rows], found.hashes[:rows]
        fresh.doubts = {row: doubts for row, doubts in found.doubts.items() if row < rows and fresh.done[row]}
    if fresh.done.any():
        print(f"pack: goes on where it was: {fresh.done.sum():,} of {len(fresh.done):,} images", file=sys.stderr)
    else:
        if folder.exists():
            print(f"pack: removed {folder}, kept for other images, another size or crop", file=sys.stderr)
        release(folder)
        folder.mkdir(parents=True)
    _check_space(fresh)
    make_room(fresh.file, len(digests), size)
    fresh.save()
    return fresh


def _version(size: int, crop: str) -> str:
    return f"decoding {DECODING}, Pillow {pillow_version}, size {size}, crop {crop}"


def _read(folder: Path, size: int, crop: str) -> Unfinished | None:
    try:
        state = read_arrays(folder / "state.npz")
        if str(state["version"]) != _version(size, crop) or not (folder / "images.npy").exists():
            return None
        arrays = (state[name] for name in ("digests", "done", "shapes", "hashes"))
        found = Unfinished(folder, size, *arrays, crop, bool(state["finished"]))
        found.bad = dict(zip(state["bad_rows"].tolist(), state["bad_reasons"].tolist(), strict=True))
        for row, words in zip(state["doubt_rows"].tolist(), state["doubts"].tolist(), strict=True):
            found.doubts[row] = (*found.doubts.get(row, ()), Doubt(*words))
        return found
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _check_space(state: Unfinished) -> None:
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


class Saver:
    """Saves the work now and then, in a thread: decoding processes get no tasks from one that waits for the disk."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._saving: Future | None = None
        self._began = time.monotonic()

    def save_now_and_then(self, state: Unfinished) -> None:
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
