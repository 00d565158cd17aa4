"""Whose each image is, by a path of the audit's own: the prepared data could agree with themselves and be wrong.

The parser of tables takes the one folder that is named like a patient; here the first such name of a path is taken,
without regard to zeros, case and marks between, and a column is read by pandas. A person in two splits is a leak,
whatever the prepared data call him.
"""

import gzip
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

PERSON = re.compile(r"/(patient|sub|p(?=\d{8}/s))[-_]?0*(\w+)(?=/)|/(images)/0*(\d+)_\d+\.png$", re.IGNORECASE)


def strangers(
    manifest: pd.DataFrame, tables: Path, named: Mapping[str, str | None], test: str | None = None
) -> tuple[str | None, str]:
    """What is wrong with the patients of `manifest`, None where nothing is; and by what they were checked.

    manifest: [rows] with columns path, patient and split. tables: folder of train.csv and valid.csv. named: the columns
    of the tables by what they hold, as `data.columns` has them: path, patient (None where the paths name him) and study
    (of a table that has a row a study). test: the table of data.test, below `tables` or absolute.
    """
    column = named["patient"]
    if column is None:
        people, source = manifest["path"].map(_person), "the names in the paths"
    elif column == named["path"]:
        people, source = manifest["path"], f"column {column}, where each image is of another patient"
    else:
        cells = _cells([*_tables(tables), *([tables / test] if test else [])], named)
        if cells is None:
            return None, f"nothing else: the tables in {tables}, whose column {column} names them, are not here"
        people = manifest["path"].map(cells).fillna(manifest["path"].map(posixpath.dirname).map(cells))
        source = f"column {column} of the tables"
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


def _tables(folder: Path) -> list[Path]:
    """train.csv and valid.csv, each in the folder, or else in a part that the release came in."""
    parts = [each for each in sorted(folder.glob("*/")) if re.search(r"batch[ _-]?\d", each.name, re.IGNORECASE)]
    found = []
    for name in ("train", "valid"):
        places = ([place / f"{name}{suffix}" for suffix in (".csv", ".csv.gz")] for place in (folder, *parts))
        found += next(filter(None, ([table for table in own if table.is_file()] for own in places)), [])
    return found


def _cells(tables: Sequence[Path], named: Mapping[str, str | None]) -> dict[str, str] | None:
    """The patient's cell of each image, or folder of a study, by its path below the tables, which may have lost its
    first component there; None where the tables are not here."""
    cells: dict[str, str] = {}
    study = named["study"] or "Study"
    wanted = {named["path"], named["patient"], study}
    for table in (each for each in tables if each.is_file()):
        with (gzip.open if table.suffix == ".gz" else open)(table, "rt", encoding="utf-8-sig") as file:
            header = file.readline()
        mark = next((mark for mark in ";\t|" if header.count(mark) > header.count(",")), ",")
        frame = pd.read_csv(table, usecols=lambda name: name in wanted, sep=mark, dtype=str, keep_default_na=False)
        place = named["path"] if named["path"] in frame else study
        owners = frame[named["patient"]].str.strip().str.removesuffix(".0").tolist()
        whole = [each.replace("\\", "/") for each in frame[place]]
        for paths in ([each.partition("/")[2] for each in whole], whole):
            cells |= dict(zip(map(posixpath.normpath, paths), owners, strict=True))
    return cells or None
