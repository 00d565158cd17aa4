"""What the importers share: reading a release's tables, one report of everything wrong, writing CheXpert's tables.

No image is copied or moved: a `Path` is the release's name and the image's own place below the folder. `mapping.json`
beside the tables says which classes of the release became which finding; `stages.external` names it in its output.
"""

import argparse
import csv
import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from diagxnet.console.commands import run_command
from diagxnet.console.errors import InputError, one_line, problems_error
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import replacing, write_json
from diagxnet.reading.columns import Columns, other_separator
from diagxnet.reading.paths import owner_of, under_root
from diagxnet.reading.tables import read_tables
from diagxnet.trained_on import ALLOW_IMAGES, ALLOW_PATIENTS, FILE, check_unknown, listed, read_trained_on

COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT.names)
MAPPING = "mapping.json"
MEND = "complete the release, or give --partial to use the images that are there"


@dataclass(frozen=True)
class Imported:
    """What a release became.

    tables: `train` and `valid`, each [rows] of COLUMNS as text. patients: for each, [rows] whose image it is by the
    release's own table. mapping: by finding key the release's classes that
    make it positive, empty where the release does not annotate it. unused: classes that no finding takes. left_out:
    reason to count of images that are in no table. notes: on the mapping, for people. columns: where the paths do not
    name the patient, the column that holds him (`patient`: `Path`, where each image is of another), and that of the
    `study` where there is one; those beside Path stand in each row behind COLUMNS.
    """

    source: str
    tables: dict[str, list[tuple[str, ...]]]
    patients: dict[str, list[str]]
    mapping: dict[str, list[str]]
    unused: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def header(self) -> tuple[str, ...]:
        return (*COLUMNS, *(column for column in self.columns.values() if column not in COLUMNS))


def find_table(root: Path, pattern: str, problems: list[str]) -> Path | None:
    """The one file of `root` that `pattern` names; None, and a problem, where there is none or are several."""
    found = sorted(path for path in root.glob(pattern) if path.is_file())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        problems.append(f"{pattern} is there {len(found)} times: {names}: leave the one that you mean")
    else:
        files = [path.name for path in root.iterdir() if path.is_file()]
        near = difflib.get_close_matches(pattern.replace("*", ""), files, n=1)
        problems.append(f"{pattern} is missing" + (f": is it {near[0]}?" if near else ""))
    return None


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """`columns` of the table at `path` (.csv or .csv.gz) as text, blank where empty; InputError where it lacks one."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: {one_line(error)} (get this file again)") from None
    if separator := other_separator([*frame.columns]):
        raise InputError(
            f"{path.name}, line 1: the columns are separated by {separator!r} (save the table with commas)"
        )
    missing = [column for column in columns if column not in frame]
    if missing:
        near = difflib.get_close_matches(missing[0], frame.columns, n=1)
        hint = f"is it {near[0]!r}?" if near else f"it has {', '.join(map(str, frame.columns[:8]))}"
        raise InputError(f"{path.name}, line 1: column {missing[0]!r} is missing: {hint} (get this file again)")
    return frame[list(columns)]


def report_repeated(table: str, names: pd.Series, problems: list[str]) -> None:
    """A problem where a name is on several rows of a table."""
    twice = names[names.duplicated()].unique().tolist()
    if twice:
        rows = [int(row) + 2 for row in names.index[names == twice[0]]]
        problems.append(
            f"{table}: {len(twice):,} on more than one row: {listed(twice)} (lines {listed(list(map(str, rows)))})"
        )


def report_missing(where: str, missing: Sequence[str], candidates: Iterable[str], problems: list[str]) -> None:
    """A problem for images that a table names and that are not there, with a near name of those in no table."""
    if not missing:
        return
    near = difflib.get_close_matches(missing[0], candidates, n=1)
    hint = f"; is {near[0]}, which no table names, the first of them?" if near else ""
    problems.append(f"{len(missing):,} images are not in {where}: {listed(missing)}{hint}")


def write_tables(root: Path, imported: Imported) -> None:
    """Writes train.csv, valid.csv and mapping.json to `root`; InputError where it holds tables that are not ours.

    A table without rows is not written, and one that an importer left there before is removed.
    """
    if not (root / MAPPING).exists():
        theirs = [name for name in ("train.csv", "valid.csv") if (root / name).exists()]
        if theirs:
            raise InputError(f"{root / theirs[0]}: is there already, and no importer wrote it (move it away)")
    write_json(
        root / MAPPING,
        {
            "source": imported.source,
            "findings": {key: imported.mapping.get(key, []) for key in CHEXPERT.keys},
            "unused": imported.unused,
            "notes": imported.notes,
            "images": {name: len(rows) for name, rows in imported.tables.items()},
            "left_out": imported.left_out,
        },
    )
    for name, rows in imported.tables.items():
        if not rows:
            (root / f"{name}.csv").unlink(missing_ok=True)
            continue
        with replacing(root / f"{name}.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([imported.header, *rows])


def merged(mapping: dict) -> dict[str, list[str]]:
    """The findings of a mapping.json that several classes of the release became, with those classes."""
    return {key: classes for key, classes in mapping["findings"].items() if len(classes) > 1}


def summary_lines(imported: Imported) -> Iterator[str]:
    for name, rows in imported.tables.items():
        yield f"{name}.csv: {len(rows):,} images" if rows else f"{name}.csv: not written, for no image of it is there"
    for key, finding in CHEXPERT.titles.items():
        classes = imported.mapping.get(key, [])
        column = COLUMNS.index(finding)
        positive = sum(row[column] == "1.0" for rows in imported.tables.values() for row in rows)
        yield f"  {finding:26}  {positive:>8,} positive  {' or '.join(classes) or 'not annotated'}"
    if imported.unused:
        yield f"classes without a finding of ours: {', '.join(imported.unused)}"
    yield from (f"left out: {count:,} images: {reason}" for reason, count in imported.left_out.items())
    yield from (f"note: {note}" for note in imported.notes)
    if imported.columns:
        sets = " ".join(f"-S data.columns.{key}={column}" for key, column in imported.columns.items())
        yield f"the paths name no patient, so train with {sets}"


def main(name: str, importer: Callable[..., Imported], description: str) -> int:
    """Command line of an importer: `importer(root, partial=...)` reads, this checks, writes and prints."""
    parser = argparse.ArgumentParser(prog=f"python -m diagxnet.importers.{name}", description=description)
    parser.add_argument("folder", metavar="DIR", type=Path, help="the release; the tables are written there")
    parser.add_argument("--partial", action="store_true", help="use the images that are there, count the others")
    parser.add_argument("--models", type=Path, default=Path("models"), help="an ensemble that must not know the images")
    parser.add_argument(ALLOW_PATIENTS, action="store_true", help="write tables with patients it was trained on")
    parser.add_argument(ALLOW_IMAGES, action="store_true", help="write tables with images it was trained on")
    arguments = parser.parse_args()
    again = " (mend that, then run the same command again)"
    return run_command(name, lambda: import_release(arguments, importer), advice=again)


def import_release(arguments: argparse.Namespace, importer: Callable[..., Imported]) -> int:
    """Reads, checks and writes what `main` was told to and prints what became of it; returns the exit status 0."""
    if not arguments.folder.is_dir():
        raise InputError(f"{arguments.folder}: no such folder (give the folder of the release)")
    imported = importer(arguments.folder, partial=arguments.partial)
    if not imported.tables["train"]:
        raise InputError(f"{arguments.folder}: no image for train.csv ({MEND})")
    owners = check_patients(imported)
    _check_unknown(arguments, owners)
    write_tables(arguments.folder, imported)
    read_tables(arguments.folder, Columns(**imported.columns))
    print("\n".join(summary_lines(imported)))
    return 0


def finish(root: Path, problems: list[str]) -> None:
    """One InputError for all problems of the release."""
    if problems:
        raise problems_error(f"release in {root}", problems, MEND)


def check_patients(imported: Imported) -> pd.DataFrame:
    """[images] with columns file and patient, as a reader of the tables has them from the path, or the column.

    Raises InputError where the paths, by which patients will be split, tell them apart otherwise than the release does.
    """
    paths = [under_root(row[0]) for rows in imported.tables.values() for row in rows]
    if imported.columns:
        own = [patient for patients in imported.patients.values() for patient in patients]
        return pd.DataFrame({"file": paths, "patient": paths if imported.columns["patient"] == "Path" else own})
    owners = [owner_of(path) for path in paths]
    frame = pd.DataFrame({"file": paths, "patient": [owner.patient if owner else "" for owner in owners]})
    own = [patient for patients in imported.patients.values() for patient in patients]
    pairs = set(zip(own, frame["patient"], strict=True))
    if None in owners or not len(pairs) == len(set(own)) == frame["patient"].nunique():
        raise InputError(
            f"{imported.source}: its table tells {len(set(own)):,} patients apart, the paths of the images "
            f"{frame['patient'].nunique():,}: they could not be split by patient (get the release again)"
        )
    return frame


def _check_unknown(arguments: argparse.Namespace, owners: pd.DataFrame) -> None:
    """The guard against known patients and images, where an ensemble is at hand."""
    record = arguments.models / FILE
    if not record.exists():
        print(f"{record} is not there: compared with no ensemble's patients and images", file=sys.stderr)
        return
    check_unknown(
        read_trained_on(record),
        arguments.folder,
        owners,
        allow_patients=arguments.allow_known_patients,
        allow_images=arguments.allow_known_images,
    )
