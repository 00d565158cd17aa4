"""Reading `train.csv` and `valid.csv`: CheXpert's form, checked value by value (what a path says: `reading.paths`).

CheXpert (Irvin et al. 2019, arXiv:1901.07031) has 223,414 rows of 64,540 patients in `train.csv` (191,027 frontal,
32,387 lateral) and 234 radiologist-labelled rows in `valid.csv`. Its quirks: a label is 1, 0, -1 (uncertain) or blank
(not mentioned); No Finding is 1 or blank, never 0, in `train.csv`; one Sex is `Unknown`; Age runs from 0 to 90 and is 0
where it is not known; AP/PA is AP, PA, LL, RL or blank; every `Path` starts with the name of the release's folder.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from diagxnet.console.errors import InputError, problems_error
from diagxnet.data.packed import TEST, titled
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns, header_problems
from diagxnet.reading.files import encoding_problem, find_table, reading, table_file, table_names
from diagxnet.reading.paths import doubt
from diagxnet.reading.places import Places
from diagxnet.reading.rows import RowReader, Rows, Table, group_column

MEND = "mend the table, or take those rows out"
NAME_THE_PATIENT = (
    "name the column that holds the patient: data.columns.patient, of stages.external --patient; the column of the "
    "paths, Path by default, says that each image is of another patient"
)


class Listed(NamedTuple):
    """The rows of the table `name` that packing needs: path, view (`frontal` or `lateral`), line and file of each."""

    name: str
    paths: list[str]
    views: list[str]
    lines: list[int]
    files: list[str]


def read_tables(root: str | Path, columns: Columns = CHEXPERT_COLUMNS, test: str | None = None) -> list[Table]:
    """`train.csv`, `valid.csv` where there is one, both under `root`, and the table of data.test where `test` names it;
    every problem of all in one InputError. The table that test is of must have each of `columns.groups`."""
    check_root(root, test)
    tables = read_named(root, table_names(root, test), columns, test)
    missing = [name for name in columns.groups if group_column(name) not in tables[-1].frame]
    if missing:
        last = titled(tables[-1].name)
        problems = [f"{last}: column {name!r}, which evaluate.subgroups names, is missing" for name in missing]
        raise problems_error(f"tables in {root}", problems, "add it to the table that test is of, or do not name it")
    return tables


def read_named(
    root: str | Path, names: Sequence[str], columns: Columns = CHEXPERT_COLUMNS, test: str | None = None
) -> list[Table]:
    """The tables `names` (`train`, `valid`, `test`) under `root`; InputError with every problem, by table, line and
    value. test: the file of the last."""
    root = Path(root)
    tables: list[Table | None] = []
    problems: list[str] = []
    doubts: list[str] = []  # whose an image is
    for name in names:
        path = table_file(root, name, test) or root / f"{name}.csv"
        tables.append(_read(root, name, path, columns, problems, doubts))
    if None not in tables:
        for one, other in combinations(tables, 2):
            problems += shared_patients(one, other) + _shared_images(one, other)
    if None not in tables and columns.patient != columns.path:
        problems += _alike(tables)
    if problems or doubts:
        mends = [MEND] * bool(problems) + [NAME_THE_PATIENT] * bool(doubts)
        raise problems_error(f"tables in {root}", problems + doubts, "; ".join(mends))
    return tables


def read_paths(root: str | Path, columns: Columns = CHEXPERT_COLUMNS, test: str | None = None) -> list[Listed]:
    """Of each table what packing needs, whatever else is in it. columns: their `path`, `view` and `study`. test: as in
    `read_tables`.

    Raises InputError where `take_inventory`, which reads all of a table, would have refused it.
    """
    tables = []
    for name in table_names(root, test):
        listed = Listed(name, [], [], [], [])
        file = table_file(root, name, test)
        if file is None:
            continue
        try:
            with reading(file) as table:
                rows = RowReader(_places(root, name, file), columns, next(table))
                for row in filter(any, table):
                    for path, place in rows.images(row):
                        listed.paths.append(path)
                        listed.files.append(place)
                        listed.views.append(rows.view(row, path))
                        listed.lines.append(table.line_num)
        except (ValueError, IndexError, KeyError, StopIteration, csv.Error):
            raise InputError(f"{root}: the tables changed after the inventory was taken (run again)") from None
        tables.append(listed)
    return tables


def shared_patients(one: Table, other: Table) -> list[str]:
    """A problem for each patient who is in both tables: a test set of known patients proves nothing."""
    first = dict(zip(reversed(one.frame["patient"]), reversed(one.lines), strict=True))
    seen = dict(zip(reversed(other.frame["patient"]), reversed(other.lines), strict=True))
    return [
        f"patient {patient} is in {titled(one.name)} (line {first[patient]}) and in {titled(other.name)} (line {line})"
        for patient, line in sorted(seen.items())
        if patient in first
    ]


def _shared_images(one: Table, other: Table) -> list[str]:
    """A problem for each path that is in both tables: it must name one image."""
    seen = dict(zip(reversed(other.frame["path"]), reversed(other.lines), strict=True))
    return [
        f"image {path!r} is in {titled(one.name)} (line {line}) and in {titled(other.name)} (line {seen[path]})"
        for path, line in zip(one.frame["path"], one.lines, strict=True)
        if path in seen
    ]


def _places(root: str | Path, name: str, file: Path) -> Places:
    """Where the images of the table `name`, in `file`, may lie."""
    return Places(root, near=file.parent if name == TEST else None)


def _alike(tables: Sequence[Table]) -> list[str]:
    """A problem where two patients' names differ in case or leading zeros alone, as spreadsheets change them: taken as
    two, one person may get into train and test."""
    first: dict[str, str] = {}
    names = sorted({patient for table in tables for patient in table.frame["patient"]})
    twice = [(first[key], name) for name in names if first.setdefault(key := _unpadded(name), name) != name]
    return [f"patients {one!r} and {other!r}: the same one? Write each patient in one way" for one, other in twice]


def _unpadded(name: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", name).casefold()


def check_root(root: str | Path, test: str | None = None) -> None:
    """InputError where `root`, its `train.csv` or the table `test` is missing, saying which value in params.yaml names
    it."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder (set data.root in params.yaml to the folder that holds train.csv)")
    if find_table(root, "train") is None:
        raise InputError(
            f"{root / 'train.csv'}: no such file (set data.root in params.yaml to the folder that holds it)"
        )
    if test is not None and not (root / test).is_file():
        raise InputError(
            f"{root / test}: no such file (set data.test in params.yaml to the table of the test set, or to null)"
        )


def _read(root: Path, name: str, path: Path, named: Columns, problems: list[str], doubts: list[str]) -> Table | None:
    try:
        with reading(path) as reader:
            return _parse(reader, _places(root, name, path), named, name, path.name, problems, doubts)
    except UnicodeDecodeError:
        problems.append(encoding_problem(path))
        return None


def _parse(
    reader: Iterator[list[str]],
    places: Places,
    named: Columns,
    name: str,
    file: str,
    problems: list[str],
    doubts: list[str],
) -> Table | None:
    """The table `name`, of the `file`; None where something was added to `problems`, or to `doubts`, on whose an image
    is."""
    columns, found, number = Rows(), [], 0
    try:
        header = next(reader, [])
        found += [f"{file}, line 1: {problem}" for problem in header_problems(header, named)]
        if not found:
            rows = RowReader(places, named, header)
            labels_of = _labels_of(header, named.findings.names)
            columns.groups = {column: [] for column in named.groups if column in header}
        for row in filter(any, () if found else reader):  # no blank lines, as editors leave at the end
            number += 1
            line = reader.line_num
            found += [f"{file}, line {line}: {problem}" for problem in rows.add(row, line, labels_of, columns)]
    except csv.Error as error:
        found.append(f"{file}, line {reader.line_num}: {error}: mend the quotes there")
    if not number and not found:
        found.append(f"{file}: holds no rows, only a header")
    images = len(columns.lines)
    found += [f"{file}{problem}" for problem in (*_views_unsaid(columns, images), *_duplicates(columns, named.path))]
    doubtful = [f"{file}: {each}" for each in _doubts(columns, images)]
    problems += found
    doubts += doubtful
    return None if found or doubtful else columns.table(name, len(named.findings))


def _labels_of(header: list[str], findings: Sequence[str]) -> Callable[[list[str]], tuple[str, ...]]:
    places = [header.index(finding) for finding in findings]
    return itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)


def _views_unsaid(columns: Rows, rows: int) -> list[str]:
    """Where neither a column nor the names of the files say which view an image is."""
    if not columns.unsaid:
        return []
    path, line = columns.unsaid[0]
    return [
        f": {len(columns.unsaid):,} of {rows:,} rows do not say whether an image is frontal or lateral, line {line} "
        f"first: {path!r}: set data.columns.view to the column that does, or to frontal where all images are"
    ]


def _doubts(columns: Rows, rows: int) -> list[str]:
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


def _duplicates(columns: Rows, column: str) -> list[str]:
    if len(set(columns.path)) == len(columns.path):
        return []
    problems: list[str] = []
    first: dict[str, int] = {}
    for path, line in zip(columns.path, columns.lines, strict=False):
        if path and path in first:
            problems.append(f", line {line}: {column} {path!r} is on line {first[path]} too")
        first.setdefault(path, line)
    return problems
