"""Folds by patient for crossfit: each base model that stacks an image has learned from none of its patient's images.

Wolpert, "Stacked Generalization", Neural Networks 5, 1992.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError
from diagxnet.data.draws import hash_texts, uniform
from diagxnet.data.files import read_arrays, write_arrays
from diagxnet.data.prepared import Labels, read_labels
from diagxnet.data.splits import LEARNED

FILE = "folds.npz"


@dataclass(frozen=True)
class Draws:
    """Images of train and stack, ordered by row: rows [images] int64, and their patients' draws [images]."""

    rows: np.ndarray
    values: np.ndarray

    def folds(self, number: int) -> np.ndarray:
        """The fold of each image, [images] int64 from 0 to `number` - 1; InputError where one would be empty.

        The folds are equal shares of [0, 1): they hold equally many patients in expectation, and no patient added or
        removed moves another.
        """
        folds = np.minimum((self.values * number).astype(np.int64), number - 1)
        empty = np.flatnonzero(np.bincount(folds, minlength=number) == 0)
        if len(empty):
            raise InputError(
                f"stack.folds = {number}: no patient of train and stack is in fold {empty[0] + 1} (choose fewer folds, "
                "or more patients)"
            )
        return folds


def write_draws(folder: Path, rows: np.ndarray, patients: np.ndarray, seed: int) -> None:
    """Writes folds.npz: rows [images] int64, draws [images] float64 in [0, 1), by hashing of (seed, patient)."""
    codes, unique = pd.factorize(patients)
    draws = uniform(hash_texts(unique, seed=seed, purpose="fold"))
    write_arrays(folder / FILE, rows=rows, draws=draws[codes])


def read_draws(folder: Path) -> Draws:
    """The draws in `folder` (data/prepared), of the images of train and stack, ordered by row."""
    arrays = read_arrays(folder / FILE)
    return Draws(arrays["rows"], arrays["draws"])


def read_folds(folder: Path, number: int) -> list[Labels]:
    """For each of `number` folds, the labels of all other folds: what the fold's model learns from."""
    labels, draws = read_labels(folder, *LEARNED), read_draws(folder)
    if not np.array_equal(labels.rows, draws.rows):
        raise InputError(f"{folder}: {FILE} and the labels are of different images (run dvc repro)")
    folds = draws.folds(number)
    kept = [folds != fold for fold in range(number)]
    return [Labels(labels.rows[each], labels.targets[each], labels.mask[each]) for each in kept]
