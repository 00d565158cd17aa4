"""Groups of the test images by further columns of the table: categories as they stand, numbers in bins."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError
from diagxnet.data.prepared import GROUPS

BLANK = {"", "nan", "none", "null", "na", "n/a", "<na>", "#n/a", "unknown"}
"""What a cell without a value holds, in lower case."""

MOST_CATEGORIES = 20
"""More are an identifier or a number, in whose groups nobody would be left."""


def read_groups(prepared: Path, rows: np.ndarray, rules: Mapping[str, str | list[float]]) -> dict[str, np.ndarray]:
    """By column in `rules` the group of each of the images `rows` [images] int64, [images] object.

    prepared: the folder data/prepared. rules: `categories`, or the bounds between bins. Raises InputError where a
    column cannot be grouped so.
    """
    if not rules:
        return {}
    path = prepared / GROUPS
    try:
        cells = pd.read_csv(path, dtype=str, keep_default_na=False).astype({"row": np.int64}).set_index("row").loc[rows]
        return {name: grouped(cells[name].to_numpy(object), rule, name) for name, rule in rules.items()}
    except (FileNotFoundError, KeyError):
        raise InputError(
            f"{path}: lacks a column of evaluate.subgroups, or an image (make it with: dvc repro prepare)"
        ) from None


def grouped(cells: np.ndarray, rule: str | list[float], name: str) -> np.ndarray:
    """The group of each of `cells` [images] str of the column `name`, [images] object; `unknown` where one is blank.

    rule: see `read_groups`. A bin holds its lower bound: under_25, 25_to_30, 30_and_over of the bounds 25 and 30.
    """
    blank = np.array([cell.lower() in BLANK for cell in cells], bool)
    if rule == "categories":
        found = len(set(cells[~blank]))
        if found > MOST_CATEGORIES:
            raise InputError(
                f"evaluate.subgroups.{name}: test has {found:,} different values, and {MOST_CATEGORIES} at most make "
                "groups (give the bounds of bins, or name another column)"
            )
        return np.where(blank, "unknown", cells).astype(object)
    numbers = pd.to_numeric(pd.Series(np.where(blank, "nan", cells)), errors="coerce").to_numpy(float)
    wrong = np.flatnonzero(np.isnan(numbers) & ~blank)
    if len(wrong):
        raise InputError(f"evaluate.subgroups.{name}: {cells[wrong[0]]!r} is no number (say categories instead)")
    bins = np.array(bin_names(rule), object)
    return np.where(blank, "unknown", bins[np.searchsorted(rule, numbers, side="right").clip(max=len(rule))])


def bin_names(bounds: list[float]) -> list[str]:
    ends = [f"{bound:g}" for bound in bounds]
    between = [f"{lower}_to_{upper}" for lower, upper in pairwise(ends)]
    return [f"under_{ends[0]}", *between, f"{ends[-1]}_and_over"]
