"""Reading `train.csv` and `valid.csv`: CheXpert's form, checked value by value (what a path says: `reading.paths`).

CheXpert (Irvin et al. 2019, arXiv:1901.07031) has 223,414 rows of 64,540 patients in `train.csv` (191,027 frontal,
32,387 lateral) and 234 radiologist-labelled rows in `valid.csv`. Its quirks: a label is 1, 0, -1 (uncertain) or blank
(not mentioned); No Finding is 1 or blank, never 0, in `train.csv`; one Sex is `Unknown`; Age runs from 0 to 90 and is 0
where it is not known; AP/PA is AP, PA, LL, RL or blank; every `Path` starts with the name of the release's folder.
"""

import csv
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError, problems_error
from diagxnet.reading.columns import CHEXPERT_COLUMNS, SAID, Columns, header_problems
from diagxnet.reading.files import encoding_problem, find_table, reading
from diagxnet.reading.paths import below, doubt, owner_of
from diagxnet.reading.values import (
    LABELS,
    PROJECTIONS,
    SEXES,
    age_of,
    careful_labels,
    choose,
    identifier,
    view_of,
    view_of_file,
)

DESCRIBE = ("view", "projection", "sex", "age")
MEND = "mend the table, or take those rows out"
NAME_THE_PATIENT = (
    "name the column that holds the patient: data.columns.patient, of stages.external --patient; the column of the "
    "paths, Path by default, says that each image is of another patient"
)


def group_column(name: str) -> str:
    """What the column `name` of `Columns.groups` is called in `Table.frame`, apart from the columns of every table."""
    return f"group:{name}"


@dataclass(frozen=True)
class Table:
    """A label table as read.

    name: `train` or `valid`.
    frame: [rows] with columns path (under data.root, with "/"), patient, study ("patient/study", since studies are
        numbered anew for each patient; of an image alone where nothing names its study), view (frontal, lateral),
        projection (AP, PA, LL, RL or ""), sex (female, male, unknown), age (years, NaN where not known); and of each of
        `Columns.groups` that the table has, its cells as `group_column` of its name, without blanks around them.
    labels: [rows, findings] float64, as `Columns.findings` has them: 1, 0, -1 (uncertain) or NaN (blank).
    lines: [rows] int64, the line of each row in the file, counted from 1.
    """

    name: str
    frame: pd.DataFrame
    labels: np.ndarray
    lines: np.ndarray


def read_tables(root: str | Path, columns: Columns = CHEXPERT_COLUMNS) -> tuple[Table, Table | None]:
    """`train.csv` and, where there is one, `valid.csv` under `root`; every problem of both in one InputError. The table
    that test is of must have each of `columns.groups`."""
    check_root(root)
    names = ["train", "valid"] if find_table(root, "valid") else ["train"]
    tables = read_named(root, names, columns)
    missing = [name for name in columns.groups if group_column(name) not in tables[-1].frame]
    if missing:
        problems = [f"{names[-1]}.csv: column {name!r}, which evaluate.subgroups names, is missing" for name in missing]
        raise problems_error(f"tables in {root}", problems, "add it to the table that test is of, or do not name it")
    return tables[0], (tables[1] if len(tables) == 2 else None)


def read_named(root: str | Path, names: Sequence[str], columns: Columns = CHEXPERT_COLUMNS) -> list[Table]:
    """The tables `names` (`train`, `valid`) under `root`; InputError with every problem, by table, line and value."""
    root = Path(root)
    tables: list[Table | None] = []
    problems: list[str] = []
    doubts: list[str] = []  # whose an image is
    for name in names:
        tables.append(_read(root, name, columns, problems, doubts))
    if len(tables) == 2 and None not in tables:
        problems += shared_patients(*tables)
    if None not in tables and columns.patient != columns.path:
        problems += _alike(tables)
    if problems or doubts:
        mends = [MEND] * bool(problems) + [NAME_THE_PATIENT] * bool(doubts)
        raise problems_error(f"tables in {root}", problems + doubts, "; ".join(mends))
    return tables


def read_paths(
    root: str | Path, columns: Columns = CHEXPERT_COLUMNS
) -> list[tuple[str, list[str], list[str], list[int]]]:
    """Of each table its name, and its rows' paths under `root`, views and lines: what packing needs, whatever else is
    in it. columns: their `path` and `view`. A view is `frontal` or `lateral`.

    Raises InputError where `take_inventory`, which reads all of a table, would have refused it.
    """
    tables = []
    for name in ("train", "valid"):
        paths: list[str] = []
        views: list[str] = []
        lines: list[int] = []
        file = find_table(root, name)
        if file is None:
            continue
        try:
            with reading(file) as table:
                rows = _RowReader(root, columns, next(table))
                for row in filter(any, table):
                    paths.append(rows.path(row))
                    views.append(rows.view(row, paths[-1]))
                    lines.append(table.line_num)
        except (ValueError, IndexError, KeyError, StopIteration, csv.Error):
            raise InputError(f"{root}: the tables changed after the inventory was taken (run again)") from None
        tables.append((name, paths, views, lines))
    return tables


def shared_patients(train: Table, valid: Table) -> list[str]:
    """A problem for each patient who is in both tables: a test set of known patients proves nothing."""
    first = dict(zip(reversed(train.frame["patient"]), reversed(train.lines), strict=True))
    seen = dict(zip(reversed(valid.frame["patient"]), reversed(valid.lines), strict=True))
    return [
        f"patient {patient} is in train.csv (line {first[patient]}) and in valid.csv (line {line})"
        for patient, line in sorted(seen.items())
        if patient in first
    ]


def _alike(tables: Sequence[Table]) -> list[str]:
    """A problem where two patients' names differ in case or leading zeros alone, as spreadsheets change them: taken as
    two, one person may get into train and test."""
    first: dict[str, str] = {}
    names = sorted({patient for table in tables for patient in table.frame["patient"]})
    twice = [(first[key], name) for name in names if first.setdefault(key := _unpadded(name), name) != name]
    return [f"patients {one!r} and {other!r}: the same one? Write each patient in one way" for one, other in twice]


def _unpadded(name: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", name).casefold()


def check_root(root: str | Path) -> None:
    """InputError where `root` or its `train.csv` is missing, saying which value in params.yaml names it."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder (set data.root in params.yaml to the folder that holds train.csv)")
    if find_table(root, "train") is None:
        raise InputError(
            f"{root / 'train.csv'}: no such file (set data.root in params.yaml to the folder that holds it)"
        )


@dataclass
class _Rows:
    """The columns of a table while its rows are read.

    nobody, unsaid: path and line of each row that does not say whose it is, and which view. owners: patients by column
    of each place where the path names one. groups: cells by column that makes groups.
    """

    path: list[str] = field(default_factory=list)
    patient: list[str] = field(default_factory=list)
    study: list[str] = field(default_factory=list)
    view: list[str] = field(default_factory=list)
    projection: list[str] = field(default_factory=list)
    sex: list[str] = field(default_factory=list)
    age: array = field(default_factory=lambda: array("d"))
    labels: array = field(default_factory=lambda: array("d"))
    lines: array = field(default_factory=lambda: array("q"))
    nobody: list[tuple[str, int]] = field(default_factory=list)
    unsaid: list[tuple[str, int]] = field(default_factory=list)
    owners: dict[str, set[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def table(self, name: str, findings: int) -> Table:
        names = ("path", "patient", "study", "view", "projection", "sex")
        frame = pd.DataFrame({each: getattr(self, each) for each in names} | {"age": np.array(self.age, np.float64)})
        frame = frame.assign(**{group_column(column): cells for column, cells in self.groups.items()})
        labels = np.array(self.labels, np.float64).reshape(-1, findings)
        return Table(name, frame, labels, np.array(self.lines, np.int64))


def _read(root: Path, name: str, named: Columns, problems: list[str], doubts: list[str]) -> Table | None:
    path = find_table(root, name) or root / f"{name}.csv"
    try:
        with reading(path) as reader:
            return _parse(reader, root, named, name, path.name, problems, doubts)
    except UnicodeDecodeError:
        problems.append(encoding_problem(path))
        return None


def _parse(
    reader: Iterator[list[str]],
    root: Path,
    named: Columns,
    name: str,
    file: str,
    problems: list[str],
    doubts: list[str],
) -> Table | None:
    """The table `name`, of the `file`; None where something was added to `problems`, or to `doubts`, on whose an image
    is."""
    columns, found, number = _Rows(), [], 0
    try:
        header = next(reader, [])
        found += [f"{file}, line 1: {problem}" for problem in header_problems(header, named)]
        if not found:
            rows = _RowReader(root, named, header)
            labels_of = _labels_of(header, named.findings.names)
            columns.groups = {column: [] for column in named.groups if column in header}
        for row in filter(any, () if found else reader):  # no blank lines, as editors leave at the end
            number += 1
            columns.lines.append(reader.line_num)
            found += [f"{file}, line {reader.line_num}: {problem}" for problem in rows.add(row, labels_of, columns)]
    except csv.Error as error:
        found.append(f"{file}, line {reader.line_num}: {error}: mend the quotes there")
    if not number and not found:
        found.append(f"{file}: holds no rows, only a header")
    found += [f"{file}{problem}" for problem in (*_views_unsaid(columns, number), *_duplicates(columns, named.path))]
    doubtful = [f"{file}: {each}" for each in _doubts(columns, number)]
    problems += found
    doubts += doubtful
    return None if found or doubtful else columns.table(name, len(named.findings))


def _labels_of(header: list[str], findings: Sequence[str]) -> Callable[[list[str]], tuple[str, ...]]:
    places = [header.index(finding) for finding in findings]
    return itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)


class _RowReader:
    """Reads the rows of a table under `root` with this `header`: the places of the columns are looked up once."""

    def __init__(self, root: str | Path, named: Columns, header: list[str]) -> None:
        self.named, self.below, self.width = named, below(root), len(header)
        self.at = {key: header.index(column) for key, column in named.named().items() if column in header}
        self.described_at = [self.at.get(key) for key in DESCRIBE]
        self.described: dict[tuple[str, ...], tuple[str, str, str, float]] = {}
        self.groups_at = [(column, header.index(column)) for column in named.groups if column in header]
        self.patients: dict[str, str] = {}  # one string object a patient: rows of a patient share it

    def add(self, row: list[str], labels_of: Callable, columns: _Rows) -> list[str]:
        """Adds one row to `columns`; returns its problems."""
        if len(row) != self.width:
            return [f"has {len(row)} values where the header has {self.width} columns"]
        problems: list[str] = []
        named, path = self.named, ""
        try:
            columns.labels.extend([LABELS[value] for value in labels_of(row)])
        except KeyError:
            columns.labels.extend(careful_labels(named.findings.names, labels_of(row), problems))
        try:
            path = self.path(row)
            self._add_owner(row, path, columns, problems)
        except ValueError as error:
            problems.append(f"{named.path} is {row[self.at['path']]!r}: {error}")
        columns.path.append(path)
        cells = tuple([row[place] if place is not None else "" for place in self.described_at])
        view, projection, sex, age = self.described.get(cells) or self._describe(cells, problems)
        if "view" not in self.at:
            view = self._view_without_column(path)
            if path and not view:
                columns.unsaid.append((path, columns.lines[-1]))
        columns.view.append(view)
        columns.projection.append(projection)
        columns.sex.append(sex)
        columns.age.append(age)
        for column, place in self.groups_at:
            columns.groups[column].append(row[place].strip())
        return problems

    def _describe(self, cells: tuple[str, ...], problems: list[str]) -> tuple[str, str, str, float]:
        """View, projection, sex and age of the cells that DESCRIBE an image; kept where nothing is wrong with them, as
        few of them differ."""
        named, found = self.named, []
        view, of_view = view_of(named.view, cells[0], found) if "view" in self.at else ("", "")
        projection = choose(named.projection, cells[1], PROJECTIONS, found) or of_view
        read = view, projection, choose(named.sex, cells[2], SEXES, found), age_of(named.age, cells[3], found)
        problems += found
        if not found:
            self.described[cells] = read
        return read

    def path(self, row: list[str]) -> str:
        """Of the image, below the root; ValueError where the cell names none."""
        return self.below(row[self.at["path"]])

    def view(self, row: list[str], path: str) -> str:
        """Blank where no column and no file's name tells it."""
        if "view" in self.at:
            return view_of(self.named.view, row[self.at["view"]], [])[0]
        return self._view_without_column(path)

    def _view_without_column(self, path: str) -> str:
        return self.named.view if self.named.view in SAID else view_of_file(path)

    def _add_owner(self, row: list[str], path: str, columns: _Rows, problems: list[str]) -> None:
        owner, named = owner_of(path), self.named
        if named.patient is not None:
            alone = named.patient == named.path
            patient = path if alone else identifier(row[self.at["patient"]], named.patient, problems)
            if owner is not None:
                columns.owners.setdefault(owner.place, set()).add(patient)
            study = path if owner is None else f"{owner.place}/{owner.study}"
        elif owner is not None:
            patient, study = owner.patient, owner.study
        else:
            columns.nobody.append((path, columns.lines[-1]))
            patient = study = ""
        if named.study is not None:
            study = identifier(row[self.at["study"]], named.study, problems)
        columns.patient.append(self.patients.setdefault(patient, patient))
        columns.study.append(f"{patient}/{study}")


def _views_unsaid(columns: _Rows, rows: int) -> list[str]:
    """Where neither a column nor the names of the files say which view an image is."""
    if not columns.unsaid:
        return []
    path, line = columns.unsaid[0]
    return [
        f": {len(columns.unsaid):,} of {rows:,} rows do not say whether an image is frontal or lateral, line {line} "
        f"first: {path!r}: set data.columns.view to the column that does, or to frontal where all images are"
    ]


def _doubts(columns: _Rows, rows: int) -> list[str]:
    """Why it cannot be told whose the images are; a column that gives one patient of the paths two names is none."""
    doubts = []
    if columns.nobody:
        doubts.append(doubt(*zip(*columns.nobody, strict=True), rows))
    parted = {place: sorted(names) for place, names in columns.owners.items() if len(names) > 1}
    if parted:
        place, names = next(iter(parted.items()))
        doubts.append(
            f"{len(parted):,} patients of the paths have several names in the column that data.columns.patient names, "
            f"{place} first: {', '.join(names[:3])}"
        )
    return doubts


def _duplicates(columns: _Rows, column: str) -> list[str]:
    if len(set(columns.path)) == len(columns.path):
        return []
    problems: list[str] = []
    first: dict[str, int] = {}
    for path, line in zip(columns.path, columns.lines, strict=False):
        if path and path in first:
            problems.append(f", line {line}: {column} {path!r} is on line {first[path]} too")
        first.setdefault(path, line)
    return problems
