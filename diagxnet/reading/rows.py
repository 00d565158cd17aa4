"""What the rows of a table say, cell by cell, and the table that they become."""

import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from diagxnet.reading.columns import SAID, Columns, study_column
from diagxnet.reading.paths import owner_of
from diagxnet.reading.places import Places
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


def group_column(name: str) -> str:
    """What the column `name` of `Columns.groups` is called in `Table.frame`, apart from the columns of every table."""
    return f"group:{name}"


@dataclass(frozen=True)
class Table:
    """A label table as read.

    name: `train`, `valid` or `test`.
    frame: [rows] with columns path (under data.root, with "/"), patient, study ("patient/study", since studies are
        numbered anew for each patient; of an image alone where nothing names its study), view (frontal, lateral),
        projection (AP, PA, LL, RL or ""), sex (female, male, unknown), age (years, NaN where not known); and of each of
        `Columns.groups` that the table has, its cells as `group_column` of its name, without blanks around them.
    labels: [rows, findings] float64, as `Columns.findings` has them: 1, 0, -1 (uncertain) or NaN (blank).
    lines: [rows] int64, the line of each row in the file, counted from 1.
    elsewhere: [rows], the file of each image below `root`, or absolute (see `Places`); None where it is its path.
    """

    name: str
    frame: pd.DataFrame
    labels: np.ndarray
    lines: np.ndarray
    elsewhere: list[str] | None = None

    @property
    def files(self) -> list[str]:
        return self.frame["path"].tolist() if self.elsewhere is None else self.elsewhere


@dataclass
class Rows:
    """The columns of a table while its rows are read.

    nobody, unsaid: path and line of each row that does not say whose it is, and which view. owners: patients by column
    of each place where the path names one. groups: cells by column that makes groups.
    """

    path: list[str] = field(default_factory=list)
    file: list[str] = field(default_factory=list)
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
        elsewhere = None if self.file == self.path else self.file
        return Table(name, frame, labels, np.array(self.lines, np.int64), elsewhere)


class RowReader:
    """Reads the rows of a table with images at `places` and this `header`: the places of the columns are looked up
    once."""

    def __init__(self, places: Places, named: Columns, header: list[str]) -> None:
        self.named, self.places, self.width = named, places, len(header)
        self.at = {key: header.index(column) for key, column in named.named().items() if column in header}
        self.studies = study_column(header, named)
        self.image_at = header.index(self.studies or named.path)
        self.described_at = [self.at.get(key) for key in DESCRIBE]
        self.described: dict[tuple[str, ...], tuple[str, str, str, float]] = {}
        self.groups_at = [(column, header.index(column)) for column in named.groups if column in header]
        self.patients: dict[str, str] = {}  # one string object a patient: rows of a patient share it

    def add(self, row: list[str], line: int, labels_of: Callable, columns: Rows) -> list[str]:
        """Adds the images of one row to `columns`; returns its problems."""
        if len(row) != self.width:
            columns.lines.append(line)
            return [f"has {len(row)} values where the header has {self.width} columns"]
        problems: list[str] = []
        named = self.named
        try:
            labels = [LABELS[value] for value in labels_of(row)]
        except KeyError:
            labels = careful_labels(named.findings.names, labels_of(row), problems)
        cells = tuple([row[place] if place is not None else "" for place in self.described_at])
        described = self.described.get(cells) or self._describe(cells, problems)
        try:
            images = self.images(row)
        except ValueError as error:
            problems.append(f"{self.studies or named.path} is {row[self.image_at]!r}: {error}")
            images = [("", "")]
        for path, file in images:
            columns.labels.extend(labels)
            columns.lines.append(line)
            columns.path.append(path)
            columns.file.append(file)
            if path:
                self._add_owner(row, path, columns, problems)
            self._add_description(path, described, columns)
            for column, place in self.groups_at:
                columns.groups[column].append(row[place].strip())
        return problems

    def _add_description(self, path: str, described: tuple[str, str, str, float], columns: Rows) -> None:
        view, projection, sex, age = described
        if "view" not in self.at:
            view = self._view_without_column(path)
            if path and not view:
                columns.unsaid.append((path, columns.lines[-1]))
        columns.view.append(view)
        columns.projection.append(projection)
        columns.sex.append(sex)
        columns.age.append(age)

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

    def images(self, row: list[str]) -> list[tuple[str, str]]:
        """Path and file (see `Places`) of each image of a row; ValueError where the cell names none."""
        path, file = self.places.find(row[self.image_at])
        if self.studies is None:
            return [(path, file)]
        try:
            names = sorted(name for name in os.listdir(self.places.root / file) if not name.startswith("."))
        except OSError:
            names = []
        if not names:
            raise ValueError(f"no such folder with images in {self.places.named}")
        return [(f"{path}/{name}", f"{file}/{name}") for name in names]

    def view(self, row: list[str], path: str) -> str:
        """Blank where no column and no file's name tells it."""
        if "view" in self.at:
            return view_of(self.named.view, row[self.at["view"]], [])[0]
        return self._view_without_column(path)

    def _view_without_column(self, path: str) -> str:
        return self.named.view if self.named.view in SAID else view_of_file(path)

    def _add_owner(self, row: list[str], path: str, columns: Rows, problems: list[str]) -> None:
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
