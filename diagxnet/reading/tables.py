"""Reading `train.csv` and `valid.csv`: CheXpert's form, checked value by value (what a path says: `reading.paths`).

CheXpert (Irvin et al. 2019, arXiv:1901.07031) has 223,414 rows of 64,540 patients in `train.csv` (191,027 frontal,
32,387 lateral) and 234 radiologist-labelled rows in `valid.csv`. Its quirks: a label is 1, 0, -1 (uncertain) or blank
(not mentioned); No Finding is 1 or blank, never 0, in `train.csv`; one Sex is `Unknown`; Age runs from 0 to 90 and is 0
where it is not known; AP/PA is AP, PA, LL, RL or blank; every `Path` starts with the name of the release's folder.
"""

import csv
import difflib
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError, problems_error
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.findings import Findings
from diagxnet.reading.paths import doubt, owner_of, under_root

REQUIRED = ("Path", "Frontal/Lateral")
OPTIONAL = ("Sex", "Age", "AP/PA")
LABELS = {"1.0": 1.0, "0.0": 0.0, "-1.0": -1.0, "": np.nan, "1": 1.0, "0": 0.0, "-1": -1.0}
VIEWS = {"frontal": "frontal", "lateral": "lateral"}
SEXES = {"female": "female", "male": "male", "f": "female", "m": "male", "unknown": "unknown", "": "unknown"}
PROJECTIONS = {"ap": "AP", "pa": "PA", "ll": "LL", "rl": "RL", "": ""}
LIKE = {"patient": "patient|subject", "study": "study|exam|visit|accession"}
"""What columns that may name them are called."""

NOBODY = {"", "nan", "none", "null", "na", "n/a", "unknown"}
OLDEST = 120
MEND = "mend the table, or take those rows out"
NAME_THE_PATIENT = (
    "name the column that holds the patient: data.columns.patient, of stages.external --patient; Path says that each "
    "image is of another patient"
)


UNKNOWN_COLUMN = (
    "where it is a finding, add it to data.findings; where it makes groups, to evaluate.subgroups; else take it out"
)


@dataclass(frozen=True)
class Columns:
    """Columns beyond CheXpert's. patient: names each row's patient; None where the paths do (see `paths.owner_of`);
    `Path` where each image is of another patient. study: names each row's study; None where the paths do. findings:
    the label columns. groups: what they hold makes subgroups; a table may lack them."""

    patient: str | None = None
    study: str | None = None
    findings: Findings = CHEXPERT
    groups: tuple[str, ...] = ()


CHEXPERT_COLUMNS = Columns()


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
    names = ["train", "valid"] if (Path(root) / "valid.csv").exists() else ["train"]
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
    if None not in tables and columns.patient != "Path":
        problems += _alike(tables)
    if problems or doubts:
        mends = [MEND] * bool(problems) + [NAME_THE_PATIENT] * bool(doubts)
        raise problems_error(f"tables in {root}", problems + doubts, "; ".join(mends))
    return tables


def read_paths(root: str | Path) -> list[tuple[str, list[str], list[str], list[int]]]:
    """Of each table its name, and its rows' paths under `root`, views and lines: what packing needs, whatever else is
    in it. A view is `frontal` or `lateral`.

    Raises InputError where `take_inventory`, which reads all of a table, would have refused it.
    """
    tables = []
    for name in ("train", "valid"):
        paths: list[str] = []
        views: list[str] = []
        lines: list[int] = []
        try:
            with (Path(root) / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                header = next(reader)
                at, view = header.index("Path"), header.index("Frontal/Lateral")
                for row in filter(any, reader):
                    paths.append(under_root(row[at]))
                    views.append(row[view].lower())
                    lines.append(reader.line_num)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, IndexError, StopIteration, csv.Error):
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
    if not (root / "train.csv").is_file():
        raise InputError(
            f"{root / 'train.csv'}: no such file (set data.root in params.yaml to the folder that holds it)"
        )


@dataclass
class _Rows:
    """The columns of a table while its rows are read.

    nobody: path and line of each row that does not say whose it is. owners: patients by column of each place where the
    path names one.
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
    owners: dict[str, set[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def table(self, name: str, findings: int) -> Table:
        names = ("path", "patient", "study", "view", "projection", "sex")
        frame = pd.DataFrame({each: getattr(self, each) for each in names} | {"age": np.array(self.age, np.float64)})
        frame = frame.assign(**{group_column(column): cells for column, cells in self.groups.items()})
        labels = np.array(self.labels, np.float64).reshape(-1, findings)
        return Table(name, frame, labels, np.array(self.lines, np.int64))


def _read(root: Path, name: str, named: Columns, problems: list[str], doubts: list[str]) -> Table | None:
    path = root / f"{name}.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parse(csv.reader(file, strict=True), name, named, problems, doubts)
    except UnicodeDecodeError:
        problems.append(_encoding_problem(path))
        return None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror} (make it a file that you can read)") from None


def _encoding_problem(path: Path) -> str:
    content = path.read_bytes()
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"{path.name}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8: save the table as UTF-8"
    return f"{path.name}: changed while it was read: run again"


def _parse(
    reader: Iterator[list[str]], name: str, named: Columns, problems: list[str], doubts: list[str]
) -> Table | None:
    """The table; None where something was added to `problems`, or to `doubts`, on whose an image is."""
    columns, found, rows = _Rows(), [], 0
    try:
        header = next(reader, [])
        found += [f"{name}.csv, line 1: {problem}" for problem in _header_problems(header, named)]
        read_row = _row_reader(header, named, columns) if not found else None
        for row in filter(any, reader if read_row else ()):  # no blank lines, as editors leave at the end
            rows += 1
            columns.lines.append(reader.line_num)
            found += [f"{name}.csv, line {reader.line_num}: {problem}" for problem in read_row(row)]
    except csv.Error as error:
        found.append(f"{name}.csv, line {reader.line_num}: {error}: mend the quotes there")
    if not rows and not found:
        found.append(f"{name}.csv: holds no rows, only a header")
    found += _duplicate_problems(columns, name)
    doubtful = [f"{name}.csv: {each}" for each in _doubts(columns, rows)]
    problems += found
    doubts += doubtful
    return None if found or doubtful else columns.table(name, len(named.findings))


def _header_problems(header: list[str], named: Columns) -> list[str]:
    if not any(header):
        return ["is empty: the header with CheXpert's columns must be there"]
    if any("\0" in column for column in header):
        return ["holds zero bytes, as UTF-16 text does: save the table as UTF-8"]
    if separator := other_separator(header):
        return [f"the columns are separated by {separator!r}: save the table with commas"]
    problems = _named_problems(header, named)
    own = [column for column in (named.patient, named.study) if column]
    findings = named.findings.names
    known = [*REQUIRED, *findings, *OPTIONAL, *own, *named.groups]
    extra = [column for column in header if column not in known]
    missing = [column for column in (*REQUIRED, *findings) if column not in header]
    twice = sorted({column for column in header if column in known and header.count(column) > 1})
    if set(findings) <= set(missing):
        problems.append(
            f"none of the findings is a column ({', '.join(findings)}), as data.findings has them or the models know "
            f"them; the table has {', '.join(header)}"
        )
        missing = [column for column in missing if column not in findings]
    problems += [f"column {column!r} is missing" for column in missing]
    for column in extra:
        wanted = [name for name in (*own, *named.groups) if name not in header]
        near = difflib.get_close_matches(column, [*missing, *wanted], n=1)
        hint = f"is it {near[0]!r}?" if near else UNKNOWN_COLUMN
        for key, like in LIKE.items():
            if getattr(named, key) is None and re.search(like, column, re.IGNORECASE):
                hint = f"if it names the {key}, set data.columns.{key} to {column}"
        problems.append(f"unknown column {column!r}: {hint}")
    return problems + [f"column {column!r} is there twice" for column in twice]


def other_separator(header: Sequence[str]) -> str | None:
    """What separates the columns of a table that commas do not; None where they do, or where there is one column."""
    return next((mark for mark in (";", "\t", "|") if len(header) == 1 and mark in header[0]), None)


def _named_problems(header: list[str], named: Columns) -> list[str]:
    """What is wrong with the columns that the user names."""
    problems = []
    for key, column in (("patient", named.patient), ("study", named.study)):
        if column is None or (key, column) == ("patient", "Path"):
            continue
        if column in (*REQUIRED, *named.findings.names, *OPTIONAL):
            problems.append(f"data.columns.{key} = {column!r}: that column holds no {key}")
        elif column not in header:
            near = difflib.get_close_matches(column, header, n=1)
            hint = f"is it {near[0]!r}?" if near else f"the table has {', '.join(header[:8])}"
            problems.append(f"column {column!r}, which data.columns.{key} names, is missing: {hint}")
    problems += [
        f"evaluate.subgroups names {column!r}: that column makes no subgroups (those of sex, age and view are there)"
        for column in named.groups
        if column in (*REQUIRED, *OPTIONAL, named.patient, named.study)
    ]
    if named.patient is not None and named.patient == named.study:
        problems.append(f"data.columns.study = {named.study!r} is data.columns.patient, too: a study is not a patient")
    return problems


def _row_reader(header: list[str], named: Columns, columns: _Rows):
    """A function that adds one row to `columns` and returns its problems: the column positions are bound once."""
    findings = named.findings.names
    places = [header.index(finding) for finding in findings]
    labels_of = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
    position = {column: header.index(column) if column in header else None for column in ("Path", *OPTIONAL)}
    view_at = header.index("Frontal/Lateral")
    patient_at, study_at = (header.index(column) if column else None for column in (named.patient, named.study))
    groups = [(header.index(name), columns.groups.setdefault(name, [])) for name in named.groups if name in header]
    patients: dict[str, str] = {}  # one string object a patient: rows of a patient share it

    def whose(row: list[str], path: str, problems: list[str]) -> None:
        owner = owner_of(path)
        if patient_at is not None:
            patient = _identifier(row[patient_at], named.patient, problems)
            if owner is not None:
                columns.owners.setdefault(owner.place, set()).add(patient)
            study = path if owner is None else f"{owner.place}/{owner.study}"
        elif owner is not None:
            patient, study = owner.patient, owner.study
        else:
            columns.nobody.append((path, columns.lines[-1]))
            patient = study = ""
        if study_at is not None:
            study = _identifier(row[study_at], named.study, problems)
        columns.patient.append(patients.setdefault(patient, patient))
        columns.study.append(f"{patient}/{study}")

    def choose(row: list[str], column: str, choices: dict[str, str], problems: list[str]) -> str:
        value = row[position[column]] if position[column] is not None else ""
        chosen = choices.get(value.strip().lower())
        if chosen is None:
            wanted = ", ".join(key for key in dict.fromkeys(choices.values()) if key)
            problems.append(f"{column} is {value!r}: must be {wanted} or blank")
        return chosen or ""

    def read_row(row: list[str]) -> list[str]:
        if len(row) != len(header):
            return [f"has {len(row)} values where the header has {len(header)} columns"]
        problems: list[str] = []
        try:
            columns.labels.extend([LABELS[value] for value in labels_of(row)])
        except KeyError:
            columns.labels.extend(_careful_labels(findings, labels_of(row), problems))
        try:
            path = under_root(row[position["Path"]])
            columns.path.append(path)
            whose(row, path, problems)
        except ValueError as error:
            columns.path.append("")
            problems.append(f"Path is {row[position['Path']]!r}: {error}")
        view = VIEWS.get(row[view_at].strip().lower())
        if view is None:
            problems.append(f"Frontal/Lateral is {row[view_at]!r}: must be Frontal or Lateral")
        columns.view.append(view)
        columns.sex.append(choose(row, "Sex", SEXES, problems))
        columns.projection.append(choose(row, "AP/PA", PROJECTIONS, problems))
        columns.age.append(_age(row[position["Age"]] if position["Age"] is not None else "", problems))
        for at, cells in groups:
            cells.append(row[at].strip())
        return problems

    return read_row


def _careful_labels(findings: Sequence[str], values: tuple[str, ...], problems: list[str]) -> list[float]:
    """Labels written in another way (`-1.00`, ` 1`), and a problem for each that is none."""
    labels = []
    for finding, value in zip(findings, values, strict=True):
        try:
            label = float(value) if value.strip() else np.nan
        except ValueError:
            label = None
        if label is None or (value.strip() and label not in (1, 0, -1)):
            problems.append(f"{finding} is {value!r}: must be 1, 0, -1 or blank")
            label = np.nan
        labels.append(label)
    return labels


def _age(value: str, problems: list[str]) -> float:
    if value.strip().lower() in ("", "unknown"):
        return np.nan
    try:
        age = float(value)
    except ValueError:
        age = np.nan
    if not (0 <= age <= OLDEST and age == int(age)):
        problems.append(f"Age is {value!r}: must be whole years from 0 to {OLDEST}, Unknown or blank")
        return np.nan
    return age


def _identifier(value: str, column: str, problems: list[str]) -> str:
    """The name in a cell; a problem where it is none."""
    name = value.strip()
    if name.casefold() in NOBODY:
        problems.append(f"{column} is {value!r}: each row must name its own")
    elif not name.isprintable():
        problems.append(f"{column} is {value!r}: holds characters that cannot be printed")
    elif re.fullmatch(r"[0-9][.,][0-9]+E\+[0-9]+", name, re.IGNORECASE):
        problems.append(f"{column} is {value!r}: a number that a spreadsheet has rounded; take the original table")
    return whole(name)


def whole(name: str) -> str:
    """`name` without the fraction of a whole number: pandas writes 123 as 123.0 where a cell of its column is empty."""
    number = re.fullmatch(r"([0-9]+)\.0+", name)
    return number[1] if number else name


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


def _duplicate_problems(columns: _Rows, name: str) -> list[str]:
    if len(set(columns.path)) == len(columns.path):
        return []
    problems: list[str] = []
    first: dict[str, int] = {}
    for path, line in zip(columns.path, columns.lines, strict=False):
        if path and path in first:
            problems.append(f"{name}.csv, line {line}: Path {path!r} is on line {first[path]} too")
        first.setdefault(path, line)
    return problems
