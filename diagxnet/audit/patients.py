"""Whose each image is, by a path of the audit's own: the prepared data could agree with themselves and be wrong.

The parser of tables takes the one folder that is named like a patient; here the first such name of a path is taken,
without regard to zeros, case and marks between, and a column is read by pandas. A person in two splits is a leak,
whatever the prepared data call him.
"""

import posixpath
import re
from pathlib import Path

import pandas as pd

PERSON = re.compile(r"/(patient|sub|p(?=\d{8}/s))[-_]?0*(\w+)(?=/)|/(images)/0*(\d+)_\d+\.png$", re.IGNORECASE)


def strangers(manifest: pd.DataFrame, tables: Path, column: str | None) -> tuple[str | None, str]:
    """What is wrong with the patients of `manifest`, None where nothing is; and by what they were checked.

    manifest: [rows] with columns path, patient and split. tables: folder of train.csv and valid.csv. column: the one
    that names the patient, None where the paths do.
    """
    if column is None:
        people, source = manifest["path"].map(_person), "the names in the paths"
    else:
        cells = _cells(tables, column)
        if cells is None:
            return None, f"nothing else: {tables / 'train.csv'}, whose column {column} names them, is not here"
        people, source = manifest["path"].map(cells), f"column {column} of the tables"
    unknown = manifest["path"][people.isna()]
    if len(unknown):
        return f"{len(unknown):,} images are of nobody by {source}, {unknown.iloc[0]} first", source
    splits = manifest.groupby(people)["split"].nunique()
    if (splits > 1).any():
        person = splits.index[splits > 1][0]
        return f"{(splits > 1).sum():,} people are in two splits by {source}, {person} first", source
    named = manifest.groupby(people)["patient"].nunique()
    if (named > 1).any():
        person = named.index[named > 1][0]
        return f"{(named > 1).sum():,} people are several patients in manifest.csv, {person} first", source
    return None, source


def _person(path: str) -> str | None:
    found = PERSON.search(f"/{path}")
    return found and "".join(part for part in found.groups() if part).casefold()


def _cells(tables: Path, column: str) -> dict[str, str] | None:
    """The cell in `column` of each image, by its path below the tables; None where they are not here."""
    cells: dict[str, str] = {}
    for table in (tables / "train.csv", tables / "valid.csv"):
        if table.is_file():
            frame = pd.read_csv(table, usecols=list({"Path", column}), dtype=str, keep_default_na=False)
            below = [posixpath.normpath(path.replace("\\", "/").partition("/")[2]) for path in frame["Path"]]
            cells |= dict(zip(below, frame[column].str.strip().str.removesuffix(".0"), strict=True))
    return cells or None
