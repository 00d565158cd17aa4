"""Stacked logits: what the base models said of each image of a split, written once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_arrays, write_arrays

STACKED_SPLITS = ("stack", "val", "test")


@dataclass(frozen=True)
class Stacked:
    """The logits of a split. members: names of the base models, in the order of the models axis. rows: [images] int64,
    rows of images.npy. logits: [images, models, findings] float32. lacking: [models, findings] bool, of what a model
    says nothing; its logits of them are the mean of the others' (see `fill`)."""

    members: tuple[str, ...]
    rows: np.ndarray
    logits: np.ndarray
    lacking: np.ndarray

    def lacks(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """By member the keys of the findings that it lacks, where it lacks any. keys: of all findings."""
        return lacks(self.members, self.lacking, keys)


def lacks(members: Sequence[str], lacking: np.ndarray, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """See `Stacked`."""
    found = zip(members, lacking, strict=True)
    return {name: tuple(keys[f] for f in np.flatnonzero(own)) for name, own in found if own.any()}


def fill(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`logits` [images, models, findings] with the mean of the other models' for a finding of which a model says
    nothing (NaN), so that a weighted mean hands its weight on to them; and where that is, [models, findings] bool."""
    lacking = np.isnan(logits).any(axis=0)
    if not lacking.any():
        return logits, lacking
    others = np.where(lacking, 0, logits).sum(axis=1, keepdims=True) / (~lacking).sum(axis=0)
    return np.where(lacking, others, logits).astype(np.float32), lacking


def write_stacked(folder: Path, split: str, rows: np.ndarray, logits: dict[str, np.ndarray]) -> None:
    """Writes logits_SPLIT.npz: rows [images] int64, and each member's logits [images, findings] float32, in order; NaN
    of a finding of which it says nothing."""
    write_arrays(folder / f"logits_{split}.npz", rows=rows, **logits)


def read_stacked(folder: Path, split: str) -> Stacked:
    """What `write_stacked` wrote of `split`."""
    arrays = read_arrays(folder / f"logits_{split}.npz")
    rows = arrays.pop("rows")
    return Stacked(tuple(arrays), rows, *fill(np.stack([*arrays.values()], axis=1)))


def same_rows(rows: np.ndarray, label_rows: np.ndarray, split: str) -> None:
    """Raises InputError where logits and labels are not of the same images in the same order."""
    if not np.array_equal(rows, label_rows):
        raise InputError(f"logits_{split}.npz and labels_{split}.npz are of different images (run dvc repro)")
