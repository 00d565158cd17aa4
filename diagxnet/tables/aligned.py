"""One labelled table, and what models and readers say of its rows, brought into one order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from diagxnet.console.errors import InputError, printable, problems_error
from diagxnet.data.findings import Findings
from diagxnet.reading.paths import owner_of
from diagxnet.tables.predictions import (
    Predictions,
    kind_line,
    kinds,
    log_odds,
    probability,
    read_predictions,
    shares,
)

NO_FINDINGS = {"sex", "age", "frontal_lateral", "ap_pa", "view", "patient", "patient_id", "subject", "subject_id"}
NO_FINDINGS |= {"study", "path", "present", "doubts", "error"}
"""Columns that a table may have beside findings: CheXpert's, and those of `diagxnet.predict --csv`."""

PATIENTS = ("patient", "patient_id", "subject", "subject_id")
MEND = "mend the tables, or take those rows out"
SHOWN = 3


@dataclass(frozen=True)
class Reader:
    """called, read: [units, findings] bool, what he called positive, and what he was asked and is known."""

    called: np.ndarray
    read: np.ndarray


@dataclass(frozen=True)
class Aligned:
    """The units that truth and all models have, in the order of the truth.

    findings: as the truth writes them. units, patients: [units] names. targets, mask: [units, findings] bool. members:
    names. log_odds: [members, units, findings] float64, of a score that is merely ordered its normal score.
    probability: the same. readers: by name. notes: a line for each thing that a person should know of the tables.
    """

    findings: Findings
    units: list[str]
    patients: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    members: tuple[str, ...]
    log_odds: np.ndarray
    probability: np.ndarray
    readers: dict[str, Reader]
    notes: list[str]


def align(truth: Path, models: Mapping[str, Path], readers: Mapping[str, Path]) -> Aligned:
    """Reads the tables and matches their rows and findings by name; InputError with all that is wrong with them.

    Rows: those that the truth and every model have; a reader may have fewer. A model's table of image paths beside a
    truth of studies gives each study the mean of its images' log odds.
    """
    problems: list[str] = []
    tables = [
        read_predictions(name, file, problems) for name, file in ({truth.name: truth} | {**models, **readers}).items()
    ]
    _raise(problems)
    known, of_models, of_readers = tables[0], tables[1 : 1 + len(models)], tables[1 + len(models) :]
    notes: list[str] = []
    findings = _shared(known, of_models, notes)
    places = [_places(known, table) for table in of_models]
    rows = [row for row, name in enumerate(known.rows) if all(name in own for own in places)]
    for table, own in zip(of_models, places, strict=True):
        notes += _row_notes(known, table, own)
    if not rows:
        raise InputError(f"{known.name}: no row of it is in all tables of the models ({MEND})")
    units = [known.rows[row] for row in rows]
    labels, mask = _labels(known, findings.keys, problems)
    scores = [np.stack([table.numbers(key, problems) for key in findings.keys], axis=1) for table in of_models]
    read = {table.name: _reader(known, table, units, findings.keys, problems, notes) for table in of_readers}
    _raise(problems)
    targets, mask = labels[rows], mask[rows]
    given = [(values, own, units) for values, own in zip(scores, places, strict=True)]
    whole = [_member(table.name, findings, *each, notes) for table, each in zip(of_models, given, strict=True)]
    _check_alike([*models], [each[0] for each in whole], findings, notes)
    notes += _class_notes(findings, targets, mask)
    patients = _patients(known, rows, notes)
    members = np.stack([each[0] for each in whole]), np.stack([each[1] for each in whole])
    asked = {name: Reader(own.called, own.read & mask) for name, own in read.items()}
    return Aligned(findings, units, patients, targets, mask, tuple(models), *members, asked, notes)


def _raise(problems: list[str]) -> None:
    if problems:
        raise problems_error("the tables", problems, MEND)


def _shared(truth: Predictions, models: Sequence[Predictions], notes: list[str]) -> Findings:
    """The findings that all have, in the truth's order."""
    columns = [[key for key in table.cells if key not in NO_FINDINGS] for table in (truth, *models)]
    shared = [key for key in columns[0] if all(key in own for own in columns[1:])]
    if not shared:
        text = "; ".join(
            f"{table.name} has {', '.join(table.titles[key] for key in own[:SHOWN]) or 'none'}"
            for table, own in zip((truth, *models), columns, strict=True)
        )
        raise InputError(f"no finding is a column of all tables: {text} (name the columns alike)")
    for table, own in zip((truth, *models), columns, strict=True):
        if lacking := [table.titles[key] for key in own if key not in shared]:
            notes.append(f"{table.name}: not in all tables, so left out: {', '.join(map(printable, lacking))}")
    try:
        return Findings(tuple(printable(truth.titles[key]) for key in shared))
    except ValueError as error:
        raise InputError(f"{truth.name}: {error}") from None


def _places(truth: Predictions, table: Predictions) -> dict[str, list[int]]:
    """Rows of `table` by the truth's name for them; several where they are images of its study."""
    by_study = truth.key == "study" and table.key == "path"
    if truth.key == "path" and table.key == "study":
        raise InputError(f"{table.name}: is of studies, and {truth.name} of images (give a truth of studies)")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(table.rows):
        places.setdefault(str(PurePosixPath(name).parent) if by_study else name, []).append(place)
    known = set(truth.rows)
    if not known & places.keys():
        first = next(iter(places))
        raise InputError(
            f"{table.name}: names none of {truth.name}'s rows: {printable(first)!r} here, {printable(truth.rows[0])!r} "
            "there (write them alike)"
        )
    return places


def _row_notes(truth: Predictions, table: Predictions, own: Mapping[str, list[int]]) -> list[str]:
    known = set(truth.rows)
    missing = [name for name in truth.rows if name not in own]
    surplus = [name for name in own if name not in known]
    notes = []
    if missing:
        notes.append(f"{table.name}: lacks {_some(missing, len(truth.rows))} of {truth.name}: they are left out of all")
    if surplus:
        notes.append(f"{table.name}: {_some(surplus, len(own))} are not in {truth.name}: not used")
    return notes


def _some(names: Sequence[str], of: int) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names):,} of {of:,} rows ({', '.join(map(printable, names[:SHOWN]))}{more})"


def _labels(truth: Predictions, keys: Sequence[str], problems: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Targets and mask [rows, findings] bool: 1 and 0; -1 and blank are unknown."""
    columns = []
    for key in keys:
        values = truth.numbers(key, problems, blank=True)
        bad = np.flatnonzero(~np.isin(values, (0, 1, -1)) & ~np.isnan(values))
        problems += [truth.problem(key, place, "must be 1, 0, -1 or blank") for place in bad]
        columns.append(values)
    labels = np.stack(columns, axis=1)
    return labels == 1, np.isin(labels, (0, 1))


def _reader(
    truth: Predictions,
    table: Predictions,
    units: Sequence[str],
    keys: Sequence[str],
    problems: list[str],
    notes: list[str],
) -> Reader:
    """What a reader says of `units`; a blank, a row or a column that his table lacks is not read."""
    places = _places(truth, table)
    called, read = (np.zeros((len(units), len(keys)), bool) for _ in range(2))
    here = [unit for unit, name in enumerate(units) if name in places]
    if several := [name for name in places if len(places[name]) > 1]:
        raise InputError(f"{table.name}: {_some(several, len(places))} are there twice ({MEND})")
    lacking = [truth.titles[key] for key in keys if key not in table.cells]
    for f, key in enumerate(keys):
        if key in table.cells:
            values = table.numbers(key, problems, blank=True)
            bad = np.flatnonzero(~np.isin(values, (0, 1)) & ~np.isnan(values))
            problems += [table.problem(key, place, "must be 1, 0 or blank: a reader's call") for place in bad]
            own = values[[places[units[unit]][0] for unit in here]]
            called[here, f], read[here, f] = own == 1, np.isin(own, (0, 1))
    if lacking:
        notes.append(f"{table.name}: has no column of {', '.join(lacking)}: the reader is not judged on it")
    columns = [f for f, key in enumerate(keys) if key in table.cells]
    if blank := int((~read[:, columns]).sum()):
        notes.append(f"{table.name}: {blank:,} of {read[:, columns].size:,} calls are missing or blank: not judged")
    if not read.any():
        raise InputError(f"{table.name}: calls nothing that the others know (give the reader's own table)")
    return Reader(called, read)


def _member(
    name: str,
    findings: Findings,
    values: np.ndarray,
    places: Mapping[str, list[int]],
    units: Sequence[str],
    notes: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Log odds and probabilities [units, findings] of a model's `values` [rows of its table, findings]."""
    rows = [place for unit in units for place in places[unit]]
    owner = np.repeat(np.arange(len(units)), [len(places[unit]) for unit in units])
    used = values[rows]
    found = dict(zip(findings.names, kinds(used), strict=True))
    notes.append(kind_line(name, found, used))
    flat = [title for title, column in zip(findings.names, used.T, strict=True) if np.ptp(column) == 0]
    if flat:
        notes.append(f"{name}: says the same of every row, so ranks nobody: {', '.join(flat)}")
    odds = np.stack([log_odds(column, kind) for column, kind in zip(used.T, found.values(), strict=True)], axis=1)
    mean = np.zeros((len(units), odds.shape[1]))
    np.add.at(mean, owner, odds)
    mean /= np.bincount(owner)[:, None]
    if len(rows) > len(units):
        notes.append(f"{name}: {len(rows):,} images of {len(units):,} studies: the mean of their log odds is scored")
    sure = np.stack([probability(column, kind) for column, kind in zip(mean.T, found.values(), strict=True)], axis=1)
    return mean, sure


def _check_alike(names: Sequence[str], scores: Sequence[np.ndarray], findings: Findings, notes: list[str]) -> None:
    """InputError for two members that rank all findings alike; a note where several rank some so."""
    ranks = [np.apply_along_axis(shares, 0, own) for own in scores]
    groups: dict[tuple[str, ...], list[str]] = {}
    for f, title in enumerate(findings.names):
        alike: dict[bytes, list[str]] = {}
        for name, own in zip(names, ranks, strict=True):
            alike.setdefault(own[:, f].tobytes(), []).append(name)
        for found in alike.values():
            if len(found) > 1:
                groups.setdefault(tuple(found), []).append(title)
    whole: dict[bytes, str] = {}
    for name, own in zip(names, ranks, strict=True):
        if (other := whole.setdefault(own.tobytes(), name)) != name:
            raise InputError(f"{other} and {name} hold the same scores, or rank all alike (give one of them)")
    for found, titles in groups.items():
        notes.append(f"{', '.join(found)}: rank {', '.join(titles)} alike: one model's opinion, which counts as theirs")


def _class_notes(findings: Findings, targets: np.ndarray, mask: np.ndarray) -> list[str]:
    """A line for each finding with one class; InputError where there is no other."""
    positives, negatives = (targets & mask).sum(0), (~targets & mask).sum(0)
    notes = [
        f"{title}: {positive:,} positive and {negative:,} negative labels: cannot be scored"
        for title, positive, negative in zip(findings.names, positives, negatives, strict=True)
        if not (positive and negative)
    ]
    if len(notes) == len(findings):
        raise InputError(f"the truth has no finding with both classes: {'; '.join(notes)} (give more rows)")
    return notes


def _patients(truth: Predictions, rows: Sequence[int], notes: list[str]) -> np.ndarray:
    """The patient of each of `rows`: of a column that names him, else of the path, else each row's own."""
    if column := next((key for key in PATIENTS if key in truth.cells), None):
        names = [truth.cells[column][row] for row in rows]
        if all(names):
            notes.append(f"{truth.name}: patients are named by column {truth.titles[column]}: {len(set(names)):,}")
            return np.array(names, object)
    owners = [owner_of(f"{truth.rows[row]}/") for row in rows]
    named = [truth.rows[row] if own is None else own.patient for row, own in zip(rows, owners, strict=True)]
    unknown = sum(own is None for own in owners)
    if unknown:
        notes.append(
            f"{truth.name}: {unknown:,} of {len(rows):,} rows do not name their patient: each is taken as one of its "
            f"own (a column Patient says otherwise)"
        )
    return np.array(named, object)
