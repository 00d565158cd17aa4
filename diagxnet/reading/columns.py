"""What a table's columns are called, and what is wrong with a header that has others."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.findings import Findings

SAID = ("frontal", "lateral")
"""`Columns.view` where no column tells it and all images are of one view."""

LIKE = {
    "path": "path|file|image",
    "patient": "patient.?(id|name|nr|no|number)?$|subject|^pid",
    "study": "study|exam|visit|accession",
    "view": "view|position|frontal|lateral",
    "sex": "sex|gender",
    "age": "(?<!im)age|years",
}
"""What columns that may hold them are called."""

STUDY = "Study"
"""What CheXpert's tables of studies call the column that names a study's folder."""

NAMELESS = re.compile(r"(Unnamed: [0-9]+)?", re.ASCII)
"""Of the column that pandas writes its index to."""


@dataclass(frozen=True)
class Columns:
    """A table's columns. patient: names each row's patient; None where the paths do (see `paths.owner_of`); the column
    of `path` where each image is of another patient. study: names each row's study; None where the paths do. path: the
    image. view: frontal or lateral, or AP, PA, LL, RL; None where the names of the files tell it; one of SAID where all
    images are. projection, sex, age: None where there is none. ignored: those that are not read. findings: the label
    columns. groups: what they hold makes subgroups; a table may lack them. A default that a table lacks is absent, but
    for `path`."""

    patient: str | None = None
    study: str | None = None
    path: str = "Path"
    view: str | None = "Frontal/Lateral"
    projection: str | None = "AP/PA"
    sex: str | None = "Sex"
    age: str | None = "Age"
    ignored: tuple[str, ...] = ()
    findings: Findings = CHEXPERT
    groups: tuple[str, ...] = ()

    def named(self) -> dict[str, str]:
        """The columns that hold no label, by what they hold."""
        keys = ("path", "view", "projection", "sex", "age", "patient", "study")
        named = {key: getattr(self, key) for key in keys}
        if self.patient == self.path:
            del named["patient"]
        if self.view in SAID:
            del named["view"]
        return {key: column for key, column in named.items() if column is not None}

    def is_default(self, key: str) -> bool:
        return getattr(self, key) == getattr(Columns, key)


CHEXPERT_COLUMNS = Columns()


def columns_of(named: Mapping[str, Any], findings: Sequence[str], groups: Iterable[str]) -> Columns:
    """Of `data.columns`, `data.findings` and `evaluate.subgroups` in params.yaml."""
    given = {**named, "ignored": tuple(named["ignored"])}
    return Columns(**given, findings=Findings(tuple(findings)), groups=tuple(groups))


def header_problems(header: list[str], columns: Columns) -> list[str]:
    """What keeps a table with the columns `header` from being read."""
    if not any(header):
        return ["is empty: the header with the columns must be there"]
    if any("\0" in column for column in header):
        return ["holds zero bytes, as UTF-16 text does: save the table as UTF-8"]
    named, findings = columns.named(), columns.findings.names
    if study := study_column(header, columns):
        named = named | {"path": study} if columns.study is None else {**named, "path": study, "study": study}
    absent = {key: column for key, column in named.items() if column not in header}
    problems = _twice_named(columns) + _named_missing(header, columns, absent)
    problems += [
        f"evaluate.subgroups names {column!r}: that column makes no subgroups (those of sex, age and view are there)"
        for column in columns.groups
        if column in (*named.values(), *findings)
    ]
    missing = [named["path"]] if "path" in absent and columns.is_default("path") else []
    if set(findings).isdisjoint(header):
        problems.append(
            f"none of the findings is a column ({', '.join(findings)}), as data.findings has them or the models know "
            "them"
        )
    else:
        missing += [finding for finding in findings if finding not in header]
    mend = ": if nobody labelled it, add it blank (in a training, it may also go from data.findings)"
    problems += [f"column {column!r} is missing{mend if column in findings else ''}" for column in missing]
    known = {*named.values(), *findings, *columns.ignored, *columns.groups}
    lacking = [column for column in columns.groups if column not in header]
    extra = [column for column in header if column not in known and not NAMELESS.fullmatch(column)]
    problems += _unknown(extra, [*missing, *absent.values(), *lacking], {*absent} | _not_named(columns))
    twice = sorted({column for column in header if column in known and header.count(column) > 1})
    return problems + [f"column {column!r} is there twice" for column in twice]


def study_column(header: Sequence[str], columns: Columns) -> str | None:
    """The column that names a study's folder, in a table that has a row a study and no column of images; else None."""
    study = columns.study or STUDY
    return study if columns.path not in header and study in header else None


def other_separator(header: Sequence[str]) -> str | None:
    """What separates the columns of a table that commas do not; None where they do, or where there is one column."""
    return next((mark for mark in (";", "\t", "|") if len(header) == 1 and mark in header[0]), None)


def _not_named(columns: Columns) -> set[str]:
    return {key for key in LIKE if getattr(columns, key) is None}


def _twice_named(columns: Columns) -> list[str]:
    """A problem for each column that is named for two things."""
    named, problems = columns.named(), []
    for place, (key, column) in enumerate(named.items()):
        others = [other for other, same in [*named.items()][:place] if same == column]
        if column in columns.findings.names:
            others.append("findings")
        if column in columns.ignored:
            others.append("columns.ignored")
        if others == ["patient"] and key == "study":
            problems.append(f"data.columns.study = {column!r} is data.columns.patient, too: a study is not a patient")
        elif others:
            other = others[0] if "." in others[0] or others[0] == "findings" else f"columns.{others[0]}"
            problems.append(f"data.columns.{key} = {column!r}: that column is data.{other}'s")
    return problems


def _named_missing(header: list[str], columns: Columns, absent: dict[str, str]) -> list[str]:
    """A problem for each column that is missing and was named on purpose: it is none of the defaults."""
    problems = []
    for key, column in absent.items():
        if not columns.is_default(key):
            near = difflib.get_close_matches(column, header, n=1)
            hint = f"is it {near[0]!r}?" if near else f"the table has {', '.join(header[:8])}"
            problems.append(f"column {column!r}, which data.columns.{key} names, is missing: {hint}")
    return problems


def _unknown(extra: list[str], missing: list[str], wanted: set[str]) -> list[str]:
    """A problem for each column that may be meant for one that is missing, and one for all others.

    missing: columns. wanted: what the table seems to lack, keys of LIKE.
    """
    problems, others = [], []
    for column in extra:
        near = difflib.get_close_matches(column, missing, n=1)
        like = [key for key, names in LIKE.items() if key in wanted and re.search(names, column, re.IGNORECASE)]
        if near:
            problems.append(f"unknown column {column!r}: is it {near[0]!r}?")
        elif like:
            key = like[0]
            what = {"path": "names the image", "patient": "names the patient", "study": "names the study"}
            what = what.get(key, f"holds the {key}")
            problems.append(f"unknown column {column!r}: if it {what}, set data.columns.{key} to {column}")
        else:
            others.append(column)
    if others:
        names = ", ".join(map(repr, others))
        mend = (
            "a finding goes into data.findings, what makes groups into evaluate.subgroups, another into "
            "data.columns.ignored"
        )
        problems.append(f"unknown column{'s' * (len(others) > 1)} {names}: {mend}")
    return problems
