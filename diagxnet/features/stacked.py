"""Stacked logits: what the base models said of each image of a split, written once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_arrays, write_arrays

STACKED_SPLITS = ("stack", "val", "test")


@dataclass(frozen=True)
class Stacked:
    """The logits of a split. members: names of the base models, in the order of the models axis. rows: [images] int64,
    rows of images.npy. logits: [images, models, findings] float32."""

    members: tuple[str, ...]
    rows: np.ndarray
    logits: np.ndarray


def write_stacked(folder: Path, split: str, rows: np.ndarray, logits: dict[str, np.ndarray]) -> None:
    """Writes logits_SPLIT.npz: rows [images] int64, and each member's logits [images, findings] float32, in order."""
    write_arrays(folder / f"logits_{split}.npz", rows=rows, **logits)


def read_stacked(folder: Path, split: str) -> Stacked:
    """What `write_stacked` wrote of `split`."""
    arrays = read_arrays(folder / f"logits_{split}.npz")
    rows = arrays.pop("rows")
    return Stacked(tuple(arrays), rows, np.stack([*arrays.values()], axis=1))


def same_rows(rows: np.ndarray, label_rows: np.ndarray, split: str) -> None:
    """Raises InputError where logits and labels are not of the same images in the same order."""
    if not np.array_equal(rows, label_rows):
        raise InputError(f"logits_{split}.npz and labels_{split}.npz are of different images (run dvc repro)")
