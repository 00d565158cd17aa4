"""A member of the ensemble that is a table of predictions, which others made of this data set's images."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.errors import InputError, printable, problems_error
from diagxnet.data.files import write_arrays, write_json
from diagxnet.data.findings import Findings
from diagxnet.data.members import GIVEN, SCORES
from diagxnet.tables.predictions import (
    ORDERED,
    PROBABILITIES,
    ROUNDING,
    Predictions,
    kind_line,
    kinds,
    log_odds,
    read_predictions,
)

MEND = "mend the table, or take those rows out"
SHOWN = 3


def take_table(name: str, file: Path, manifest: pd.DataFrame, findings: Findings, folder: Path) -> list[str]:
    """Reads `file`, the table of the member `name`, and writes `folder`; returns a line for each thing to know.

    manifest: the images in use, with row, split, path and study. folder: gets config.json, and SCORES with rows
    [images] int64 and logits [images, findings] float32, NaN of findings that the table lacks. Scores that are merely
    ordered are brought to mean 0 and spread 1 over the images of stack. Rows are matched by the image's path below
    data.root, or by study (patient/study); further folders may stand before. Raises InputError for a table that cannot
    be read, names no image or no finding, or leaves out an image of stack, val or test.
    """
    problems: list[str] = []
    table = read_predictions(name, file, problems)
    if problems:
        raise problems_error(f"{name}: {file}", problems, MEND)
    have = [f for f, key in enumerate(findings.keys) if key in table.cells]
    if not have:
        known = ", ".join(map(printable, [*table.titles.values()][: 2 * SHOWN]))
        raise InputError(f"{name}: {file}: no column is a finding of data.findings (it has {known}: rename them)")
    places = _places(table, manifest["study" if table.key == "study" else "path"].tolist())
    lines = _row_lines(table, file, manifest, places)
    keys = [findings.keys[f] for f in have]
    values = np.stack([table.numbers(key, problems) for key in keys], axis=1)
    if problems:
        raise problems_error(f"{name}: {file}", problems, MEND)
    matched = places >= 0
    used = values[places[matched]]
    found = dict(zip((findings.names[f] for f in have), kinds(used), strict=True))
    stack = (manifest["split"] == "stack").to_numpy()[matched]
    scales = {
        key: {"kind": kind, "mean": 0.0, "spread": 1.0} | (_scale(column[stack]) if kind == ORDERED else {})
        for key, kind, column in zip(keys, found.values(), used.T, strict=True)
    }
    logits = _logits(used, keys, scales, findings)
    lacking = [findings.names[f] for f in range(len(findings)) if f not in have]
    lines.append(kind_line(name, found, used))
    if lacking:
        lines.append(f"{name}: has no column of {', '.join(lacking)}: of these the other members alone speak")
    flat = [title for title, column in zip(found, used.T, strict=True) if np.ptp(column) == 0]
    if flat:
        lines.append(f"{name}: says the same of every image, so ranks nobody: {', '.join(flat)}")
    write_arrays(folder / SCORES, rows=manifest["row"].to_numpy(np.int64)[matched], logits=logits)
    config = {GIVEN: file.name, "findings": list(findings.names), "scores": scales}
    write_json(folder / "config.json", config)
    return lines


def new_scores(
    name: str, file: Path, config: dict, paths: Sequence[str], studies: Sequence[str], findings: Findings
) -> np.ndarray:
    """Logits [images, findings] float32 of images that the ensemble never saw, from the table `file` of the member
    `name`, a row an image or a study; NaN of findings that it lacks, and throughout of an image that it leaves out
    (see `unscored`).

    config: as `take_table` wrote it: the scores must be what they were in training. paths, studies: of each image, as
    the table may name it. Raises InputError for a table that cannot be read or lacks a finding that the member's own
    had.
    """
    problems: list[str] = []
    table = read_predictions(name, file, problems)
    scales = config["scores"]
    if not problems and (lost := [findings.titles[key] for key in scales if key not in table.cells]):
        problems.append(f"{name}: has no column of {', '.join(lost)}, which the ensemble takes of it")
    values = [] if problems else [table.numbers(key, problems) for key in scales]
    for key, column in zip(scales, values, strict=False):  # no values where there are problems already
        if scales[key]["kind"] == PROBABILITIES and not ((column >= -ROUNDING) & (column <= 1 + ROUNDING)).all():
            problems.append(f"{name}: {findings.titles[key]} was a probability in training, and is none here")
    if problems:
        raise problems_error(f"{name}: {file}", problems, MEND)
    places = _places(table, studies if table.key == "study" else paths)
    logits = _logits(np.stack(values, axis=1)[places], [*scales], scales, findings)
    logits[places < 0] = np.nan
    return logits


def unscored(given: Mapping[str, np.ndarray], image: int) -> str | None:
    """Why `image`, a row of what `new_scores` gave by member, cannot be predicted: a table leaves it out. Else None."""
    if without := [name for name, own in given.items() if np.isnan(own[image]).all()]:
        return f"has no row in the scores of {' and '.join(without)} (let their maker score it)"
    return None


def _scale(values: np.ndarray) -> dict[str, float]:
    """What brings scores that are merely ordered to mean 0 and spread 1 over `values` [images]."""
    return {"mean": float(values.mean()), "spread": float(values.std()) or 1.0} if len(values) else {}


def _logits(values: np.ndarray, keys: Sequence[str], scales: dict[str, dict], findings: Findings) -> np.ndarray:
    """[images, findings] float32 of `values` [images, keys]; NaN of the findings that are none of `keys`."""
    logits = np.full((len(values), len(findings)), np.nan, np.float32)
    for key, column in zip(keys, values.T, strict=True):
        own = scales[key]
        odds = column if own["kind"] == ORDERED else log_odds(column, own["kind"])
        logits[:, findings.keys.index(key)] = (odds - own["mean"]) / own["spread"]
    return logits


def _places(table: Predictions, names: Sequence[str]) -> np.ndarray:
    """The row of the table for each of `names` [images], -1 where it has none: the same name, or one of which the
    other is the end, after further folders. An end that two rows, or two names, share tells none of them."""
    known = {name: place for place, name in enumerate(table.rows)}
    ends, own = _sole_ends(known), _sole_ends(dict.fromkeys(names))
    shorter = {own[end]: known[end] for end in own.keys() & known.keys()}
    return np.array([known.get(name, known.get(ends.get(name), shorter.get(name, -1))) for name in names], np.int64)


def _sole_ends(names: Iterable[str]) -> dict[str, str]:
    """Each of `names` by it without one, two and more of the folders that it begins with, where it alone ends so."""
    ends: dict[str, str | None] = {}
    for name in names:
        parts = name.split("/")
        for start in range(1, len(parts)):
            end = "/".join(parts[start:])
            ends[end] = None if end in ends else name
    return {end: name for end, name in ends.items() if name is not None}


def _row_lines(table: Predictions, file: Path, manifest: pd.DataFrame, places: np.ndarray) -> list[str]:
    """What is missing and what is too much; InputError where an image of stack, val or test is missing."""
    missing = manifest[places < 0]
    wanted = missing[missing["split"] != "train"]
    if len(wanted):
        of = int((manifest["split"] != "train").sum())
        first = ", ".join(map(printable, wanted["path"].head(SHOWN)))
        raise InputError(
            f"{table.name}: {file}: has no row for {len(wanted):,} of {of:,} images of stack, val and test ({first}"
            f"{', ...' if len(wanted) > SHOWN else ''}); its first row is {printable(table.rows[0])!r} (let its maker "
            f"score them all, or leave it out: -S '~tables.{table.name}')"
        )
    surplus = len(set(range(len(table.rows))) - set(places.tolist()))
    lines = [f"{table.name}: {len(table.rows) - surplus:,} of {len(table.rows):,} rows are of images in use"]
    if len(missing):
        lines.append(f"{table.name}: has no row for {len(missing):,} images of train, which crossfit alone would need")
    return lines
