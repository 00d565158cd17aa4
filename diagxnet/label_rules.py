"""What a labeler's -1 and blanks are worth: how often radiologists, who saw the film, confirm each, by finding.

Two tables with a column that names the study, and label columns of equal names: the labeler's, as it read reports, and
the ground truth. The rules that follow (see `labels.rules`) are those whose target is nearest to the share confirmed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from diagxnet.console.errors import InputError, problems_error
from diagxnet.data.findings import Findings
from diagxnet.labels.rules import LSR_RANGES
from diagxnet.reading.files import encoding_problem, reading
from diagxnet.reading.paths import owner_of, under_root
from diagxnet.reading.values import careful_labels

LABELS = {"1": 1.0, "0": 0.0, "-1": -1.0, "blank": np.nan}
TARGETS = {"zeros": 0.0, "ones": 1.0} | {rule: sum(ends) / 2 for rule, ends in LSR_RANGES.items()}
"""What each rule makes of a -1, in the mean."""

FEWEST = 10
"""Labels that a rule is told from."""

RARE = 0.1
"""A blank that is true so seldom is a negative with few mistakes, however rare the finding is."""


@dataclass(frozen=True)
class Confirmed:
    """Of the `number` studies with one label of one finding, `true` are positive by the ground truth."""

    number: int
    true: int

    @property
    def share(self) -> float:
        return self.true / self.number

    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share."""
        ends = binomtest(self.true, self.number).proportion_ci(method="wilson")
        return float(ends.low), float(ends.high)

    def __str__(self) -> str:
        if not self.number:
            return "none"
        low, high = self.interval()
        return f"{self.true:,} of {self.number:,} {self.share:.2f} ({low:.2f} to {high:.2f})"


def read_labels(path: Path, key: str) -> tuple[tuple[str, ...], dict[str, list[float]]]:
    """The label columns of a table, and by the cell in its column `key` the labels [columns]: 1, 0, -1 or NaN (blank).

    Raises InputError where the table lacks `key`, names a study twice, or holds another label.
    """
    rows: dict[str, list[float]] = {}
    problems: list[str] = []
    try:
        with reading(path) as table:
            header = next(table, [])
            if key not in header:
                raise InputError(f"{path}, line 1: no column {key!r}: it has {', '.join(header[:8])} (name it: --key)")
            at = header.index(key)
            names = tuple(column for column in header if column != key)
            for row in filter(any, table):
                where = f"{path.name}, line {table.line_num}"
                if len(row) != len(header):
                    problems.append(f"{where}: has {len(row)} values where the header has {len(header)} columns")
                    continue
                found: list[str] = []
                labels = careful_labels(names, tuple(row[:at] + row[at + 1 :]), found)
                problems += [f"{where}: {problem}" for problem in found]
                if row[at] in rows:
                    problems.append(f"{where}: {key} {row[at]!r} is there twice")
                rows[row[at]] = labels
    except UnicodeDecodeError:
        raise InputError(f"{encoding_problem(path)} (and run this again)") from None
    if problems:
        raise problems_error(str(path), problems, "mend the table")
    return names, rows


def compare(labeler: Path, truth: Path, key: str) -> tuple[Findings, dict[str, dict[str, Confirmed]], list[str]]:
    """The findings that both tables have, for each (by key) and each of LABELS what was confirmed, and lines on what
    was compared. A study whose truth is blank or -1 tells nothing. Raises InputError where they share nothing."""
    (names, said), (true_names, true) = read_labels(labeler, key), read_labels(truth, key)
    both, common = [name for name in names if name in true_names], [study for study in said if study in true]
    if not both or not common:
        what = "label column" if not both else f"{key}"
        raise InputError(f"{labeler} and {truth} have no {what} in common (give two tables of the same studies)")
    try:
        findings = Findings(tuple(both))
    except ValueError as error:
        raise InputError(f"{labeler}: {error}") from None
    places = {name: (names.index(name), true_names.index(name)) for name in both}
    pairs = np.array([[(said[study][s], true[study][t]) for s, t in places.values()] for study in common])
    confirmed = {}
    for f, finding in enumerate(findings.keys):
        given, seen = pairs[:, f].T
        confirmed[finding] = {}
        for label, value in LABELS.items():
            own = seen[(np.isnan(given) if label == "blank" else given == value) & np.isin(seen, (0, 1))]
            confirmed[finding][label] = Confirmed(len(own), int(own.sum()))
    return findings, confirmed, [*_compared(labeler, truth, said, true, common)]


def _compared(labeler: Path, truth: Path, said: dict, true: dict, common: list[str]) -> Iterator[str]:
    left = {labeler.name: len(said) - len(common), truth.name: len(true) - len(common)}
    yield f"{len(common):,} studies; in one table alone: " + ", ".join(f"{name} {n:,}" for name, n in left.items())
    owners = [owner_of(f"{under_root(study)}/") if "/" in study else None for study in common]
    if None not in owners and (patients := len({owner.patient for owner in owners})) < len(common):
        yield f"they are of {patients:,} patients: intervals, which take studies for independent, are somewhat short"


def rule_for_uncertain(confirmed: Mapping[str, Confirmed]) -> str:
    """The rule whose target is nearest to the share of -1 that is true; `ignore` where these are fewer than FEWEST, or
    the interval holds 1/2, so that they tell neither way."""
    own = confirmed["-1"]
    if own.number < FEWEST:
        return "ignore"
    low, high = own.interval()
    return "ignore" if low <= 0.5 <= high else min(TARGETS, key=lambda rule: abs(TARGETS[rule] - own.share))


def rule_for_blank(confirmed: Mapping[str, Confirmed]) -> str:
    """`negative` where the interval of the share of blanks that are true lies below RARE, or below the share of all
    studies; else `ignore`, as they say nothing. Where they are fewer than FEWEST, `negative`: the default."""
    own = confirmed["blank"]
    if own.number < FEWEST:
        return "negative"
    whole = sum(each.true for each in confirmed.values()) / sum(each.number for each in confirmed.values())
    return "negative" if own.interval()[1] < max(RARE, whole) else "ignore"


def table(findings: Findings, confirmed: Mapping[str, Mapping[str, Confirmed]], now: Mapping[str, str]) -> str:
    """A row a finding, as text; now: the rule for -1 in params.yaml, by key."""
    width = max(map(len, (*findings.names, "Finding")))
    titles = [f"{f'{label}: true':30}" for label in LABELS]
    lines = [f"{'Finding':{width}}  {'  '.join(titles)}  {'rule for -1':22}  blank"]
    for key, name in findings.titles.items():
        own = confirmed[key]
        rule = rule_for_uncertain(own)
        change = rule if rule == now.get(key, "ignore") else f"{rule} (now {now.get(key, 'ignore')})"
        cells = [f"{own[label]!s:30}" for label in LABELS]
        lines.append(f"{name:{width}}  {'  '.join(cells)}  {change:22}  {rule_for_blank(own)}")
    return "\n".join(lines)
