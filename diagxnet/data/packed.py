"""The packed images, as `data.pack` wrote them.

`images.npy` [images, size, size] uint8 in the order of train.csv, then valid.csv; `index.csv` says which row is which
image; `dropped.csv` lists the images left out, with the reason; `duplicates.csv` the pairs that are one film.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError

DUPLICATES = "duplicates.csv"
DUPLICATE_COLUMNS = ["table", "path", "same_table", "same_path", "bits", "detail"]


TEST = "test"
"""Name of the table that data.test names, beside train and valid."""


def titled(table: str) -> str:
    """What people call the table of this name."""
    return "data.test" if table == TEST else f"{table}.csv"


def open_packed(folder: str | Path) -> np.memmap:
    """The packed images [images, size, size] uint8, mapped read-only: nothing is read before it is used."""
    path = Path(folder) / "images.npy"
    if not path.exists():
        raise InputError(f"{path}: no such file (make it with: dvc repro pack)")
    return np.load(path, mmap_mode="r")


def read_index(folder: str | Path) -> pd.DataFrame:
    """The packed rows: columns row (in images.npy), table (train, valid), path (under data.root)."""
    return pd.read_csv(Path(folder) / "index.csv", dtype={"row": np.int64, "table": str, "path": str}, na_filter=False)


def read_dropped(folder: str | Path) -> pd.DataFrame:
    """The images left out: columns table, path, reason."""
    return pd.read_csv(Path(folder) / "dropped.csv", dtype=str, na_filter=False)


def read_duplicates(folder: str | Path) -> pd.DataFrame:
    """Pairs of images that are the same film: columns table, path, same_table, same_path."""
    return pd.read_csv(Path(folder) / DUPLICATES, dtype=str, na_filter=False)[DUPLICATE_COLUMNS[:4]]
