"""Cases to look at: of each finding the ensemble's most confident mistakes on test, and a few that it has right.

Oakden-Rayner et al. 2020 (doi:10.1145/3368555.3384468) call it an error audit: whoever looks at the images of the worst
mistakes sees what no figure shows, such as wrong labels, devices, or a subgroup that nobody named.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diagxnet.data.files import read_json, write_text
from diagxnet.data.findings import NO_FINDING
from diagxnet.data.members import table_configs
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_manifest
from diagxnet.ensemble.calibration import Calibration, probabilities
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.features.stacked import read_stacked
from diagxnet.prediction.overlay import overlay
from diagxnet.prediction.saliency import heat_maps
from diagxnet.prediction.study_list import enlarged, thumbnail
from diagxnet.reporting.page import Html, breakable, element, page, table
from diagxnet.reporting.wording import RESEARCH_ONLY
from diagxnet.statistics.comparison import label
from diagxnet.statistics.scored import Scored, read_scored

KINDS = {
    "false_positive": ("False positives", "the label is negative, and the ensemble is surest that it is positive"),
    "false_negative": ("False negatives", "the label is positive, and the ensemble is surest that it is negative"),
    "true_positive": ("True positives", "the label is positive, and the ensemble is surest of it"),
}
RULE = "youden"

STYLE = """
.cases { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }
.case { border: 1px solid #ccc; padding: .5rem .7rem; max-width: 100%; break-inside: avoid; }
.case h4 { margin: 0 0 .3rem; font-size: .86rem; max-width: 24rem; overflow-wrap: anywhere; }
.case .pictures { display: flex; flex-wrap: wrap; gap: .5rem; }
.case figure { margin: 0; }
.case figure img { min-width: 0; width: 10rem; height: 10rem; }
.case p { margin: .3rem 0; font-size: .86rem; max-width: 21rem; }
"""
PRIVATE = (
    "This page contains images of patients and the names of their folders. Keep it where the data may be kept, and do "
    "not send it on."
)
READING = (
    "Of each finding the units of test on which the ensemble is furthest on the wrong side of its threshold (Youden's, "
    "fixed on val), and those on which it is furthest on the right side. Probabilities are calibrated on val, each "
    "model's by itself. Look for labels that are wrong, for devices, borders and markers, and for what the mistakes "
    "have in common. Bright colours in a map show what speaks for the finding, each map on a scale of its own: where "
    "the models looked, not that they are right. Images are as the models see them."
)


@dataclass(frozen=True)
class Case:
    """A unit of test. key: of the finding. kind: of KINDS. unit: its place in the scored units. row: of images.npy, the
    image shown: of a study the one that the ensemble finds most in."""

    key: str
    kind: str
    unit: int
    row: int


def choose_cases(
    scored: Scored, probability: np.ndarray, thresholds: Mapping[str, float], each: int
) -> Iterator[tuple[str, str, int]]:
    """(key, kind, unit) of up to `each` units of each of KINDS, the surest first; equals in their order.

    probability: [units, findings] of the ensemble, calibrated. thresholds: by key; a finding without one has no cases.
    """
    for f, key in enumerate(scored.keys):
        if key not in thresholds:
            continue
        targets, called = scored.targets[:, f], probability[:, f] >= thresholds[key]
        known = scored.mask[:, f]
        chosen = {
            "false_positive": known & ~targets & called,
            "false_negative": known & targets & ~called,
            "true_positive": known & targets & called,
        }
        for kind, wanted in chosen.items():
            units = np.flatnonzero(wanted)
            sign = 1 if kind == "false_negative" else -1
            for unit in units[np.argsort(sign * probability[units, f], kind="stable")][:each]:
                yield key, kind, int(unit)


def write_cases(path: Path, data: Path, models: Path, *, unit: str, precision: str, each: int) -> int:
    """Writes the page; returns how many cases it shows. data, models: folders of a finished run. unit: `image` or
    `study`. precision: see `Ensemble.load`. each: cases of each of KINDS and finding, which bound the page's size."""
    tables = table_configs(models, read_json(models / "meta/config.json")["models"])
    ensemble = Ensemble.load(models, precision=precision, given=tables)
    scored, images = (read_scored(data, models, "test", own) for own in (unit, "image"))
    calibrated = [probabilities(scored.logits[m], ensemble.calibration[model]) for m, model in enumerate(scored.models)]
    thresholds = _thresholds(ensemble.calibration)
    rows = _rows(data, scored, images, "path" if unit == "image" else "study")
    chosen = choose_cases(scored, calibrated[-1], thresholds, each)
    columns = {key: f for f, key in enumerate(scored.keys)}
    titles = scored.findings.titles
    cases = [Case(key, kind, own, rows(own, columns[key])) for key, kind, own in chosen]
    packed = open_packed(data / "packed")
    stacked = read_stacked(data / "stacked", "test")
    given = {name: stacked.logits[:, m] for m, name in enumerate(stacked.members) if name in tables}
    places = {row: place for place, row in enumerate(stacked.rows.tolist())}
    maps = _maps(ensemble, packed, cases, columns, lambda row: {name: own[places[row]] for name, own in given.items()})
    sections = []
    for key in thresholds:
        own = [case for case in cases if case.key == key]
        shown = [_shown(case, scored, calibrated, packed, maps, columns) for case in own]
        content = _kinds(own, shown)
        sections.append((titles[key], [element("p", f"Threshold {thresholds[key]:.3f}."), *content]))
    introduction = [element("p", PRIVATE, class_="note"), element("p", READING), element("p", RESEARCH_ONLY)]
    write_text(path, page("Cases to look at", introduction, sections, STYLE))
    return len(cases)


def _thresholds(calibration: Calibration) -> dict[str, float]:
    return {key: own.thresholds[RULE] for key, own in calibration["ensemble"].items() if own.thresholds}


def _rows(data: Path, scored: Scored, images: Scored, named_by: str) -> Callable[[int, int], int]:
    """A function from (unit, column of a finding) to the row of images.npy that is shown. named_by: the column of the
    manifest that holds the names of the units of `scored`."""
    manifest = read_manifest(data / "prepared")
    test = manifest[manifest["split"] == "test"].reset_index(drop=True)
    places = {name: own.to_numpy() for name, own in test.groupby(named_by, sort=False).groups.items()}

    def row(unit: int, finding: int) -> int:
        own = places[scored.names[unit]]
        return int(test["row"][own[images.logits[-1, own, finding].argmax()]])

    return row


def _maps(
    ensemble: Ensemble,
    packed: np.ndarray,
    cases: list[Case],
    columns: Mapping[str, int],
    given: Callable[[int], dict[str, np.ndarray]],
) -> dict[tuple[int, str], np.ndarray]:
    """By row and key the heat map [image_size, image_size]; an image is run once for all of its findings. given: of a
    row, the logits [findings] of each member that is a table of predictions."""
    wanted: dict[int, list[str]] = {}
    for case in cases:
        if case.key != NO_FINDING and case.key not in wanted.setdefault(case.row, []):
            wanted[case.row].append(case.key)
    maps = {}
    for row, keys in wanted.items():
        if keys:
            found = heat_maps(ensemble, packed[row], [columns[key] for key in keys], given(row))
            maps |= {(row, key): heat for key, heat in zip(keys, found, strict=True)}
    return maps


def _kinds(cases: list[Case], shown: list[Html]) -> list[Html]:
    parts = []
    for kind, (title, meaning) in KINDS.items():
        own = [html for case, html in zip(cases, shown, strict=True) if case.kind == kind]
        parts.append(element("h3", f"{title}: {meaning}"))
        parts.append(element("div", *own, class_="cases") if own else element("p", "None."))
    return parts


def _shown(
    case: Case,
    scored: Scored,
    calibrated: list[np.ndarray],
    packed: np.ndarray,
    maps: Mapping[tuple[int, str], np.ndarray],
    columns: Mapping[str, int],
) -> Html:
    names = scored.findings.titles
    radiograph = enlarged(packed[case.row])
    pictures = [thumbnail(radiograph, "radiograph")]
    if (case.row, case.key) in maps:
        pictures.append(thumbnail(overlay(radiograph, maps[case.row, case.key]), f"{names[case.key]}: where"))
    f = columns[case.key]
    rows = [(label(model), f"{calibrated[m][case.unit, f]:.3f}") for m, model in enumerate(scored.models)]
    positive = [names[key] for key, g in columns.items() if scored.mask[case.unit, g] and scored.targets[case.unit, g]]
    groups = ", ".join(f"{name} {own[case.unit]}".replace("_", " ") for name, own in scored.groups.items())
    return element(
        "article",
        element("h4", breakable(str(scored.names[case.unit]))),
        element("div", *pictures, class_="pictures"),
        element("p", f"Labels: {', '.join(positive) or 'none positive'}; {groups}."),
        table(("Model", f"Probability of {names[case.key]}"), rows, strong=[len(rows) - 1]),
        class_="case",
    )
