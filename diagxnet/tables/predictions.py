"""A table of what a model or a reader says: CSV, a row an image or study, a column a finding, in any order.

A name is the same name however it is written: "Pleural Effusion", "pleural_effusion" and "PLEURAL-EFFUSION" are one.
What a model's numbers are is seen from them: see `kinds`.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import logit, ndtr, ndtri

from diagxnet.console.errors import InputError, printable
from diagxnet.data.findings import key_of
from diagxnet.reading.columns import other_separator

KEYS = ("study", "path")
"""Columns that name the row, by preference; a table with neither is named by its first column."""

CERTAIN = 1e-6
"""A probability this near to 0 or 1 is taken to be so near: its log odds must be finite."""

ROUNDING = 1e-6
"""By so much a probability may lie outside 0 to 1, as sums in float32 do."""

LARGEST_LOGIT = 100.0
PROBABILITIES, LOGITS, ORDERED = "probabilities", "logits", "merely ordered"


def normal(title: str) -> str:
    """A column's title as it is compared: its key, or where its alphabet gives none, itself."""
    return key_of(title) or title


@dataclass(frozen=True)
class Predictions:
    """A table as read. name: what the user calls it. key: the normal name of the column of `rows`, which names each
    row's image or study, with "/". lines: [rows] of the file. titles: a column's title by its normal name. cells: a
    column's text [rows], by the same."""

    name: str
    key: str
    rows: list[str]
    lines: list[int]
    titles: dict[str, str]
    cells: dict[str, list[str]]

    def numbers(self, column: str, problems: list[str], *, blank: bool = False) -> np.ndarray:
        """[rows] float64 of a column; NaN where the cell is blank, if it may be, else a problem for each that is no
        finite number."""
        found = np.full(len(self.rows), np.nan)
        for place, cell in enumerate(self.cells[column]):
            try:
                value = float(cell) if cell or not blank else np.nan
            except ValueError:
                value = np.inf
            if np.isfinite(value) or (blank and not cell):
                found[place] = value
            else:
                problems.append(self.problem(column, place, "must be a number"))
        return found

    def problem(self, column: str, place: int, what: str) -> str:
        cell = printable(self.cells[column][place])
        return f"{self.name}, line {self.lines[place]}: {self.titles[column]} is {cell!r}: {what}"


def read_predictions(name: str, file: Path, problems: list[str]) -> Predictions | None:
    """The table in `file`, called `name`; None, and a problem or more, where it cannot be read as one.

    A row named twice, or with another number of cells than the header, is a problem. Raises InputError where the file
    cannot be opened or is not UTF-8.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            lines, rows = [], []
            for row in filter(any, reader):
                lines.append(reader.line_num)
                rows.append([cell.strip() for cell in row])
    except OSError as error:
        raise InputError(f"{name}: {file}: {error.strerror} (give --model or --reader NAME=FILE of a table)") from None
    except UnicodeDecodeError:
        raise InputError(f"{name}: {file}: is not UTF-8 (save the table as CSV in UTF-8)") from None
    except csv.Error as error:
        raise InputError(f"{name}: {file}, line {reader.line_num}: {error} (mend the quotes there)") from None
    found = _header_problems(header, rows)
    found += [
        f"line {line}: has {len(row)} values where the header has {len(header)} columns"
        for line, row in zip(lines, rows, strict=True)
        if header and len(row) != len(header)
    ]
    if not found:
        columns = [normal(title) for title in header]
        at = next((columns.index(key) for key in KEYS if key in columns), 0)
        named = [row[at].replace("\\", "/") for row in rows]
        found = _row_problems(header[at], named, lines)
    problems += [f"{name}, {problem}" for problem in found]
    if found:
        return None
    cells = {column: [row[place] for row in rows] for place, column in enumerate(columns) if place != at}
    titles = dict(zip(columns, header, strict=True))
    return Predictions(name, columns[at], named, lines, titles, cells)


def _header_problems(header: list[str], rows: list[list[str]]) -> list[str]:
    if separator := other_separator(header):
        return [f"line 1: the columns are separated by {separator!r}: save the table with commas"]
    columns = [normal(title) for title in header]
    twice = {column: title for title, column in zip(header, columns, strict=True) if columns.count(column) > 1}
    problems = [f"line 1: column {title!r} is there twice" for title in twice.values()]
    if len(header) < 2 or not rows:
        problems.append("line 1: holds no column of a finding" if len(header) < 2 else "line 1: no row follows")
    return problems


def _row_problems(title: str, rows: list[str], lines: list[int]) -> list[str]:
    first: dict[str, int] = {}
    problems = []
    for row, line in zip(rows, lines, strict=True):
        if not row:
            problems.append(f"line {line}: {title} is blank: each row must name its image or study")
        elif row in first:
            problems.append(f"line {line}: {title} {printable(row)!r} is on line {first[row]} too: keep one of them")
        first.setdefault(row, line)
    return problems


def kinds(values: np.ndarray) -> list[str]:
    """What each column of a model's `values` [rows, findings] holds.

    PROBABILITIES lie in 0 to 1. LOGITS: some number of the model is below 0, and none beyond LARGEST_LOGIT. ORDERED:
    anything else, such as a share of 100 or odds, of which only the order is taken.
    """
    if values.min() < -ROUNDING:
        return [LOGITS if np.abs(values).max() <= LARGEST_LOGIT else ORDERED] * values.shape[1]
    return [PROBABILITIES if column.max() <= 1 + ROUNDING else ORDERED for column in values.T]


def log_odds(values: np.ndarray, kind: str) -> np.ndarray:
    """`values` [rows] as log odds; of ORDERED, normal scores of their ranks."""
    if kind == LOGITS:
        return values
    return logit(values.clip(CERTAIN, 1 - CERTAIN)) if kind == PROBABILITIES else normal_scores(values)


def normal_scores(values: np.ndarray) -> np.ndarray:
    """The normal quantiles of the ranks of `values` [rows], equal ones sharing theirs (van der Waerden 1952)."""
    return ndtri(shares(values))


def shares(values: np.ndarray) -> np.ndarray:
    """The share of the rows below each of `values` [rows], and half of those equal to it, in (0, 1)."""
    ordered = np.sort(values)
    below, through = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (below + through) / (2 * len(values))


def probability(log_odds: np.ndarray, kind: str) -> np.ndarray:
    """Probabilities of what `log_odds` gives; of ORDERED, the share of rows that are below."""
    return ndtr(log_odds) if kind == ORDERED else 1 / (1 + np.exp(-log_odds))


def kind_line(name: str, found: dict[str, str], values: np.ndarray) -> str:
    """One line on what a model's scores are. found: kind by title of a finding. values: [rows, findings]."""
    kind = max(set(found.values()), key=[*found.values()].count)
    text = f"{name}: {kind}"
    if kind != PROBABILITIES:
        text += f", {values.min():.3g} to {values.max():.3g}"
    others = [
        f"{title} ({column.min():.3g} to {column.max():.3g})"
        for (title, own), column in zip(found.items(), values.T, strict=True)
        if own != kind
    ]
    return text + (f"; of another kind, and taken as {_other(found, kind)}: {', '.join(others)}" if others else "")


def _other(found: dict[str, str], kind: str) -> str:
    return " or ".join(sorted(set(found.values()) - {kind}))
