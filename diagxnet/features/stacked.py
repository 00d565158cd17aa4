"""Stacked logits: what the base models said of each image of a split, written once."""

from pathlib import Path

import numpy as np

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_arrays, write_arrays

BASE_MODELS = ("densenet", "vit")
"""Order of the models axis of every stacked array."""

STACKED_SPLITS = ("stack", "val", "test")


def write_stacked(folder: Path, split: str, rows: np.ndarray, logits: dict[str, np.ndarray]) -> None:
    """Writes logits_SPLIT.npz: rows [images] int64, and for each base model logits [images, findings] float32."""
    write_arrays(folder / f"logits_{split}.npz", rows=rows, **logits)


def read_stacked(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """rows: [images] int64; logits: [images, models, findings] float32, models in the order of BASE_MODELS."""
    arrays = read_arrays(folder / f"logits_{split}.npz")
    return arrays["rows"], np.stack([arrays[name] for name in BASE_MODELS], axis=1)


def same_rows(rows: np.ndarray, label_rows: np.ndarray, split: str) -> None:
    """Raises InputError where logits and labels are not of the same images in the same order."""
    if not np.array_equal(rows, label_rows):
        raise InputError(f"logits_{split}.npz and labels_{split}.npz are of different images (run dvc repro)")
