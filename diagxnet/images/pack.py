"""Packing: every image decoded once, into one uint8 memory map (what it writes: see `data.packed`).

An interrupted pack is kept in a work folder (see `images.unfinished`). The finished file is a hard link of the one
there, so that nothing is decoded again if the run is killed between this stage's end and DVC's note of it; `release`
removes it.
"""

import csv
import errno
import os
import shutil
import sys
import time
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diagxnet.console.cores import cores
from diagxnet.console.errors import InputError, problems_error
from diagxnet.console.progress import Progress
from diagxnet.data.files import replacing
from diagxnet.data.packed import DUPLICATE_COLUMNS, DUPLICATES, open_packed, titled
from diagxnet.images.doubts import OF_FRONTAL_VIEWS, Doubt
from diagxnet.images.duplicates import find_duplicates
from diagxnet.images.npy import packed_bytes
from diagxnet.images.processes import Target, decode_tasks
from diagxnet.images.unfinished import Saver, Unfinished, take_up
from diagxnet.images.work import release, remove
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns
from diagxnet.reading.inventory import read_hashes
from diagxnet.reading.tables import read_paths

IMAGES_A_TASK = 32
EXAMPLES = 3
"""Images that are named for each doubt."""


@dataclass(frozen=True)
class _Plan:
    """What is to be packed, a row an image: its table, path, file (see `reading.places`), view and line there, and
    content hash (zeros: no file)."""

    tables: list[str]
    paths: list[str]
    files: list[str]
    views: list[str]
    lines: list[int]
    digests: np.ndarray  # [rows, 16] uint8


def pack(
    root: str | Path,
    inventory: str | Path,
    folder: str | Path,
    *,
    size: int,
    bad_images: str,
    work: str | Path,
    linked: str | None = None,
    crop: str = "guide",
    columns: Columns = CHEXPERT_COLUMNS,
    test: str | None = None,
    workers: int | None = None,
) -> dict:
    """Decodes every image of the tables under `root` into `folder`: images.npy, index.csv, dropped.csv, doubts.csv,
    duplicates.csv, and shapes.npy [images, 2] int32, width and height of each image in its file.

    inventory: the file that `write_inventory` made for this root. size: side in pixels. crop: see `decode.square`.
    bad_images: `stop` raises one InputError for all images that cannot be used, `drop` leaves them out and lists them.
    work: a folder on the file system of `folder`, but outside it, where an interrupted pack is kept: the next call with
    the same size takes over each row whose image is unchanged. linked: a folder that links under `root` may lead to.
    columns: of the tables, those of path, view and study. test: the table of data.test. workers: processes that decode
    (default: one a core); the bytes do not depend on it. Rows are written by position, never through a map, so that
    peak memory does not grow with the images. Doubtful images are packed, and counted on the standard error; so are
    images of one film.

    Returns {"images", "dropped", "doubtful", "duplicates", "decoded", "images_per_second"}; `decoded` and the rate are
    of this call alone. Raises InputError where the disk is too small, an image is bad (with `stop`), or none is good.
    """
    root, folder = Path(root), Path(folder)
    plan = _plan(root, inventory, columns, test)
    near = None if test is None else str((root / test).parent)
    state = take_up(Path(work), plan.digests, size, crop)
    started = time.perf_counter()
    decoded = 0 if state.finished else _decode_pending(root, linked, near, plan, state, workers or cores())
    seconds = time.perf_counter() - started
    _judge(root, plan, state, bad_images)
    if not state.finished:
        state.finish()
    _hand_over(plan, state, folder)
    pairs = _write_duplicates(plan, state, folder, workers or cores())
    listed = folder / DUPLICATES
    for line in (*_doubt_lines(plan, state.doubts, folder / "doubts.csv"), *_duplicate_lines(pairs, listed)):
        print(line, file=sys.stderr)
    return {
        "images": len(plan.paths) - len(state.bad),
        "dropped": len(state.bad),
        "doubtful": len(state.doubts),
        "duplicates": len(pairs),
        "decoded": decoded,
        "images_per_second": round(decoded / seconds, 1) if decoded else 0.0,
    }


def _plan(root: Path, inventory: str | Path, columns: Columns, test: str | None) -> _Plan:
    hashes = read_hashes(inventory)
    tables, paths, files, views, lines = [], [], [], [], []
    for table in read_paths(root, columns, test):
        tables += [table.name] * len(table.lines)
        paths += table.paths
        files += table.files
        views += table.views
        lines += table.lines
    if len(paths) != len(hashes) or not all(path in hashes for path in paths):
        raise InputError(f"{root}: the tables changed after the inventory was taken (run again)")
    digests = bytearray()
    for path in paths:
        digests += hashes[path] or bytes(16)
    return _Plan(tables, paths, files, views, lines, np.frombuffer(digests, np.uint8).reshape(-1, 16))


def _decode_pending(
    root: Path, linked: str | None, near: str | None, plan: _Plan, state: Unfinished, workers: int
) -> int:
    """Decodes the rows that are not done; bad ones go to `state.bad`. Returns how many were decoded."""
    pending = np.flatnonzero(~state.done)
    if not len(pending):
        return 0
    tasks = [pending[i : i + IMAGES_A_TASK].tolist() for i in range(0, len(pending), IMAGES_A_TASK)]
    target = Target(str(root), linked, str(state.file), packed_bytes(0, state.size), state.size, state.crop, near)
    results = decode_tasks(target, tasks, plan.files, workers)
    saver = Saver()
    try:
        with Progress(len(pending), "pack") as progress:
            for decoded in results:
                state.bad.update(decoded.bad)
                state.doubts.update(_that_apply(decoded.doubts, plan.views))
                state.done[list(decoded.shapes)] = True
                for row, shape in decoded.shapes.items():
                    state.shapes[row], state.hashes[row] = shape, decoded.hashes[row]
                progress.update(len(decoded.rows))
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


def _that_apply(doubts: dict[int, tuple[Doubt, ...]], views: list[str]) -> dict[int, tuple[Doubt, ...]]:
    """`doubts` by row without those that a lateral view cannot but raise."""
    kept = {
        row: tuple(doubt for doubt in own if views[row] != "lateral" or doubt.about not in OF_FRONTAL_VIEWS)
        for row, own in doubts.items()
    }
    return {row: own for row, own in kept.items() if own}


def _judge(root: Path, plan: _Plan, state: Unfinished, bad_images: str) -> None:
    if len(state.bad) == len(plan.paths):
        raise InputError(
            f"{root}: none of {len(plan.paths):,} images can be used; {plan.paths[0]} {state.bad[0]} (see whether "
            "data.root is right)"
        )
    if state.bad and bad_images == "stop":
        problems = [
            f"{titled(plan.tables[row])}, line {plan.lines[row]}: {plan.paths[row]} {reason}"
            for row, reason in sorted(state.bad.items())
        ]
        mend = "mend these images or take their rows out, or set data.bad_images to drop"
        raise problems_error(f"images in {root}", problems, mend)


def _hand_over(plan: _Plan, state: Unfinished, folder: Path) -> None:
    """Puts images.npy, shapes.npy, index.csv, dropped.csv and doubts.csv into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    good = [row for row in range(len(plan.paths)) if row not in state.bad]
    _write_csv(
        folder / "index.csv",
        ["row", "table", "path"],
        ((place, plan.tables[row], plan.paths[row]) for place, row in enumerate(good)),
    )
    dropped = ((plan.tables[row], plan.paths[row], reason) for row, reason in sorted(state.bad.items()))
    _write_csv(folder / "dropped.csv", ["table", "path", "reason"], dropped)
    doubts = ((plan.tables[row], plan.paths[row], doubt) for row, own in sorted(state.doubts.items()) for doubt in own)
    _write_csv(folder / "doubts.csv", ["table", "path", "doubt"], doubts)
    with replacing(folder / "shapes.npy") as temporary, temporary.open("wb") as file:
        np.save(file, state.shapes[good])
    target = folder / "images.npy"
    remove(target)
    try:
        os.link(state.file, target)
    except OSError:  # a file system without hard links, or another one
        shutil.move(state.file, target)
        release(state.folder)


def _write_duplicates(plan: _Plan, state: Unfinished, folder: Path, workers: int) -> list[tuple[str, ...]]:
    """Writes duplicates.csv; returns its rows: table and path of an image, of the same film's other image, the bits and
    the detail in which they agree (see `images.duplicates`)."""
    good = [row for row in range(len(plan.paths)) if row not in state.bad]
    found = find_duplicates(state.hashes[good], open_packed(folder), workers)
    named = [(plan.tables[row], plan.paths[row]) for row in good] if found else []
    rows = [(*named[each.first], *named[each.second], each.bits, each.detail) for each in found]
    _write_csv(folder / DUPLICATES, DUPLICATE_COLUMNS, rows)
    return rows


def _duplicate_lines(pairs: list[tuple[str, ...]], listed: Path) -> list[str]:
    """How many pairs of images are one film, with examples; nothing where none is."""
    if not pairs:
        return []
    lines = [
        f"pack: warning: {len(pairs):,} pairs of images are the same film, resized or re-encoded perhaps ({listed}):"
    ]
    lines += [f"  {path} and {other}" for _, path, _, other, *_ in pairs[:EXAMPLES]]
    return [*lines, f"  all of them: {listed}"]


def _doubt_lines(plan: _Plan, doubts: dict[int, tuple[Doubt, ...]], listed: Path) -> list[str]:
    """How many images are doubtful and why, with examples; nothing where none is."""
    if not doubts:
        return []
    rows: dict[str, list[int]] = {}
    for row, own in sorted(doubts.items()):
        for doubt in own:
            rows.setdefault(doubt.about, []).append(row)
    lines = [f"pack: warning: {len(doubts):,} of {len(plan.paths):,} images are doubtful, and packed ({listed}):"]
    for about, own in sorted(rows.items(), key=lambda each: -len(each[1])):
        more = ", ..." if len(own) > EXAMPLES else ""
        lines.append(f"  {about}: {len(own):,} ({', '.join(plan.paths[row] for row in own[:EXAMPLES])}{more})")
    return lines


def _write_csv(path: Path, header: list[str], rows: Iterable[tuple]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
