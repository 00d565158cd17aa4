"""Reading `train.csv` and `valid.csv`: CheXpert's form, checked value by value.

CheXpert (Irvin et al. 2019, arXiv:1901.07031) has 223,414 rows of 64,540 patients in `train.csv` (191,027 frontal,
32,387 lateral) and 234 radiologist-labelled rows in `valid.csv`. Its quirks: a label is 1, 0, -1 (uncertain) or blank
(not mentioned); No Finding is 1 or blank, never 0, in `train.csv`; one Sex is `Unknown`; Age runs from 0 to 90 and is 0
where it is not known; AP/PA is AP, PA, LL, RL or blank; every `Path` starts with the name of the release's folder.
"""

import csv
import difflib
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError, problems_error
from diagxnet.data.findings import FINDINGS

REQUIRED = ("Path", "Frontal/Lateral", *FINDINGS)
OPTIONAL = ("Sex", "Age", "AP/PA")
LABELS = {"1.0": 1.0, "0.0": 0.0, "-1.0": -1.0, "": np.nan, "1": 1.0, "0": 0.0, "-1": -1.0}
VIEWS = {"frontal": "frontal", "lateral": "lateral"}
SEXES = {"female": "female", "male": "male", "f": "female", "m": "male", "unknown": "unknown", "": "unknown"}
PROJECTIONS = {"ap": "AP", "pa": "PA", "ll": "LL", "rl": "RL", "": ""}
CHESTXRAY14 = re.compile(r"(images_\d+/)?images/(?P<patient>\d{8})_(?P<follow_up>\d{3})\.png")
OLDEST = 120
MEND = "mend the table, or take those rows out"


@dataclass(frozen=True)
class Table:
    """A label table as read.

    name: `train` or `valid`.
    frame: [rows] with columns path (under data.root, with "/"), patient, study ("patient/study"), view (frontal,
        lateral), projection (AP, PA, LL, RL or ""), sex (female, male, unknown), age (years, NaN where not known).
    labels: [rows, findings] float64, in CheXpert's order: 1, 0, -1 (uncertain) or NaN (blank).
    lines: [rows] int64, the line of each row in the file, counted from 1.
    """

    name: str
    frame: pd.DataFrame
    labels: np.ndarray
    lines: np.ndarray


def read_tables(root: str | Path) -> tuple[Table, Table | None]:
    """`train.csv` and, where there is one, `valid.csv` under `root`; every problem of both in one InputError."""
    root = Path(root)
    names = ["train", "valid"] if (root / "valid.csv").exists() else ["train"]
    tables, problems = [], []
    for name in names:
        table, found = _read(root, name)
        tables.append(table)
        problems += found
    if len(tables) == 2 and None not in tables:
        problems += shared_patients(*tables)
    if problems:
        raise problems_error(f"tables in {root}", problems, MEND)
    return tables[0], (tables[1] if len(tables) == 2 else None)


def read_table(root: str | Path, name: str) -> Table:
    """The table `name` (`train` or `valid`) under `root`; InputError with every problem in it, by line and value."""
    table, problems = _read(Path(root), name)
    if problems:
        raise problems_error(str(Path(root) / f"{name}.csv"), problems, MEND)
    return table


def shared_patients(train: Table, valid: Table) -> list[str]:
    """A problem for each patient who is in both tables: a test set of known patients proves nothing."""
    first = dict(zip(reversed(train.frame["patient"]), reversed(train.lines), strict=True))
    seen = dict(zip(reversed(valid.frame["patient"]), reversed(valid.lines), strict=True))
    return [
        f"patient {patient} is in train.csv (line {first[patient]}) and in valid.csv (line {line})"
        for patient, line in sorted(seen.items())
        if patient in first
    ]


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
class _Columns:
    """The columns of a table while its rows are read."""

    path: list[str] = field(default_factory=list)
    patient: list[str] = field(default_factory=list)
    study: list[str] = field(default_factory=list)
    view: list[str] = field(default_factory=list)
    projection: list[str] = field(default_factory=list)
    sex: list[str] = field(default_factory=list)
    age: array = field(default_factory=lambda: array("d"))
    labels: array = field(default_factory=lambda: array("d"))
    lines: array = field(default_factory=lambda: array("q"))

    def table(self, name: str) -> Table:
        names = ("path", "patient", "study", "view", "projection", "sex")
        frame = pd.DataFrame({each: getattr(self, each) for each in names} | {"age": np.array(self.age, np.float64)})
        labels = np.array(self.labels, np.float64).reshape(-1, len(FINDINGS))
        return Table(name, frame, labels, np.array(self.lines, np.int64))


def _read(root: Path, name: str) -> tuple[Table | None, list[str]]:
    check_root(root)
    path = root / f"{name}.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parse(csv.reader(file, strict=True), name)
    except UnicodeDecodeError:
        return None, [_encoding_problem(path)]
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


def _parse(reader: Iterator[list[str]], name: str) -> tuple[Table | None, list[str]]:
    columns, problems, rows = _Columns(), [], 0
    try:
        header = next(reader, [])
        problems += [f"{name}.csv, line 1: {problem}" for problem in _header_problems(header)]
        if problems:
            return None, problems
        read_row = _row_reader(header, columns)
        for row in reader:
            if not any(row):
                continue  # a blank line, as editors leave at the end
            rows += 1
            columns.lines.append(reader.line_num)
            problems += [f"{name}.csv, line {reader.line_num}: {problem}" for problem in read_row(row)]
    except csv.Error as error:
        problems.append(f"{name}.csv, line {reader.line_num}: {error}: mend the quotes there")
    if not rows and not problems:
        problems.append(f"{name}.csv: holds no rows, only a header")
    problems += _duplicate_problems(columns, name)
    return (None, problems) if problems else (columns.table(name), [])


def _header_problems(header: list[str]) -> list[str]:
    if not any(header):
        return ["is empty: the header with CheXpert's columns must be there"]
    if any("\0" in column for column in header):
        return ["holds zero bytes, as UTF-16 text does: save the table as UTF-8"]
    known = REQUIRED + OPTIONAL
    extra = [column for column in header if column not in known]
    missing = [column for column in REQUIRED if column not in header]
    twice = sorted({column for column in header if column in known and header.count(column) > 1})
    problems = [f"column {column!r} is missing" for column in missing]
    for column in extra:
        near = difflib.get_close_matches(column, missing, n=1)
        hint = f"is it {near[0]!r}?" if near else "CheXpert has none of that name"
        problems.append(f"unknown column {column!r}: {hint}")
    return problems + [f"column {column!r} is there twice" for column in twice]


def _row_reader(header: list[str], columns: _Columns):
    """A function that adds one row to `columns` and returns its problems: the column positions are bound once."""
    labels_of = itemgetter(*(header.index(finding) for finding in FINDINGS))
    position = {column: header.index(column) if column in header else None for column in ("Path", *OPTIONAL)}
    view_at = header.index("Frontal/Lateral")
    patients: dict[str, str] = {}  # one string object a patient: rows of a patient share it

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
            columns.labels.extend(_careful_labels(labels_of(row), problems))
        try:
            path, patient, study = resolve(row[position["Path"]])
            columns.path.append(path)
            columns.patient.append(patients.setdefault(patient, patient))
            columns.study.append(study)
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
        return problems

    return read_row


def _careful_labels(values: tuple[str, ...], problems: list[str]) -> list[float]:
    """Labels written in another way (`-1.00`, ` 1`), and a problem for each that is none."""
    labels = []
    for finding, value in zip(FINDINGS, values, strict=True):
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


def resolve(path: str) -> tuple[str, str, str]:
    """Splits a table's `Path` into (path under data.root, patient, study).

    The first component names the release and falls away; backslashes are separators. The patient is the component
    `patientNNNNN`, or, in tables that name patients otherwise, the folder above the study's; the study is
    "patient/study", for studies are numbered anew for each patient. ChestX-ray14 has no such folders: in
    `images_001/images/00000001_000.png` the file's name holds patient and follow-up. Raises ValueError with the reason.
    """
    if not path.isprintable() or not path:
        raise ValueError("must name an image" if not path else "holds characters that cannot be printed")
    parts = path.replace("\\", "/").split("/")
    if parts[0] == "" or re.fullmatch("[A-Za-z]:", parts[0][:2]):
        raise ValueError("is absolute; it must be release/.../patient/study/image")
    if ".." in parts:
        raise ValueError("leaves data.root by '..'")
    if ":" in path and any(re.match("[A-Za-z]:", part) for part in parts):
        raise ValueError("leaves data.root by a drive letter")  # Windows takes one in the middle of a path, too
    parts = [part for part in parts[1:] if part not in ("", ".")]
    if named := CHESTXRAY14.fullmatch("/".join(parts)):
        return named[0], named["patient"], f"{named['patient']}/{named['follow_up']}"
    patient_at = next((i for i, part in enumerate(parts) if re.fullmatch(r"patient\d+", part)), len(parts) - 3)
    if patient_at < 0 or patient_at + 2 >= len(parts):
        raise ValueError("must be release/.../patient/study/image")
    patient = parts[patient_at]
    return "/".join(parts), patient, f"{patient}/{parts[patient_at + 1]}"


def _duplicate_problems(columns: _Columns, name: str) -> list[str]:
    if len(set(columns.path)) == len(columns.path):
        return []
    problems: list[str] = []
    first: dict[str, int] = {}
    for path, line in zip(columns.path, columns.lines, strict=False):
        if path and path in first:
            problems.append(f"{name}.csv, line {line}: Path {path!r} is on line {first[path]} too")
        first.setdefault(path, line)
    return problems
