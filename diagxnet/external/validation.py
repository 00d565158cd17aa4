"""External validation: a trained ensemble on another hospital's labelled folder, and nothing fitted to it.

Calibration and thresholds are those of models/calibration.json, as val of the ensemble's own data had them.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json
from diagxnet.data.findings import Findings
from diagxnet.data.prepared import Labels
from diagxnet.ensemble.ensemble import CALIBRATION, Ensemble
from diagxnet.external.folder import ScoredFolder, score_folder
from diagxnet.external.gap import Hospital, gap
from diagxnet.external.sections import external_sections
from diagxnet.features.stacked import read_stacked
from diagxnet.images.decode import decode
from diagxnet.importers.release import MAPPING, merged
from diagxnet.labels.prepare import count
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns
from diagxnet.reporting.report import write_report
from diagxnet.reporting.section import Material
from diagxnet.reporting.sections.data import examples
from diagxnet.statistics.cohort import cohort
from diagxnet.statistics.history import read_histories
from diagxnet.statistics.results import Results, measure_test
from diagxnet.statistics.scored import Scored, read_scored
from diagxnet.statistics.scoring import Scoring


def validate(
    root: Path,
    models: Path,
    scoring: Scoring,
    *,
    views: str,
    blank: str,
    bad_images: str,
    tables: str = "all",
    mapping: Path | None = None,
    data: Path | None = None,
    columns: Columns = CHEXPERT_COLUMNS,
    allow_patients: bool = False,
    allow_images: bool = False,
    scores: Mapping[str, Path] | None = None,
) -> Material:
    """Scores the ensemble of `models` on `root`, a folder in CheXpert's form.

    scoring: but for its unit, which is that of models/calibration.json. views, blank, bad_images: as in params.yaml's
    `data`; what is blank in every row of a table is masked (`labels.rules.looked_for`), and so is what the ensemble
    never learned. tables: `train`, `valid` or `all`. mapping: which classes became which finding, by default
    root/mapping.json where there is one. data: the data folder of the run that trained the ensemble; where given, what
    is lost from its test split to `root` is measured as well. columns: of its tables, those that name patient and
    study. allow_patients, allow_images: go on where `root` holds some that were trained on. scores: of each member that
    is a table of predictions, its table of these images.

    Raises InputError for a patient or image that was trained on or where that cannot be known, for images that cannot
    be read, and where nothing can be scored.
    """
    ensemble = Ensemble.load(models, given=scores or ())
    members = tuple(ensemble.base)
    histories = read_histories(models, members)
    fitted = read_json(models / CALIBRATION)
    scoring = replace(scoring, unit=fitted["unit"])
    at_home = None if data is None else _at_home(data, models, scoring.unit, members)
    folder = score_folder(
        ensemble,
        root,
        models,
        views=views,
        blank=blank,
        bad_images=bad_images,
        tables=tables,
        columns=columns,
        allow_patients=allow_patients,
        allow_images=allow_images,
        scores=scores,
        subgroups=scoring.subgroups,
    )
    test, bad, rows = folder.scored, folder.bad, folder.rows
    name = root.resolve().name
    rules = {"uncertain": {}, "blank": blank, "views": views}
    data_summary = _data_summary(name, rules, folder, ensemble.findings)
    results = measure_test(
        ensemble.calibration,
        fitted["best_base"],
        test,
        histories,
        scoring,
        studies=data_summary["splits"][name]["studies"],
        dropped=len(bad),
    )
    one_class, annotated = results.evaluation["one_class"], folder.annotated
    one_class["test"] = {key: own for key, own in one_class["test"].items() if annotated[results.test.keys.index(key)]}
    overlap = _overlap(results, annotated, ensemble.not_learned)
    external = {"data": name, "tables": tables, "overlap": overlap, "trained_on": folder.guard}
    external |= _mapping(root, mapping)
    if at_home is not None:
        foreign = Hospital(results.test, results.estimates)
        seed = scoring.seed + 1
        options = {"resamples": scoring.bootstrap, "seed": seed, "min_positives": scoring.min_positives}
        external["gap"] = gap(at_home, foreign, ensemble.calibration, **options)
    results.evaluation["external"] = external
    params = {"seed": scoring.seed, "data": {"views": views, "blank": blank, "bad_images": bad_images}}
    params["evaluate"] = {"bootstrap": scoring.bootstrap, "min_positives": scoring.min_positives}
    targets, mask = folder.targets, folder.mask
    positive = (targets > 0) & mask
    shown, places = _examples(root, rows["file"].tolist(), positive, ensemble)
    cohorts = {name: cohort(rows, Labels(np.arange(len(rows)), targets, mask), ensemble.findings.keys)}
    return Material(results, data_summary, params, shown, places, positive, cohorts)


def write_external(material: Material, out: Path, report: Path) -> None:
    """Writes `out`, JSON as metrics/evaluation.json with `external` besides, and report.html with its figures to the
    folder `report`. material: as `validate` gives it."""
    evaluation = material.results.evaluation
    title = f"The ensemble on another data set: {evaluation['external']['data']}"
    write_report(report, material, title=title, first=external_sections(evaluation))
    write_json(out, evaluation)


def _at_home(data: Path, models: Path, unit: str, members: tuple[str, ...]) -> Scored:
    """The test split of the run that trained the ensemble, whose stored logits must be of the same `members`."""
    file = data / "stacked" / "logits_test.npz"
    if not file.exists():
        raise InputError(f"{file}: no such file (give --data the data of the training run)")
    stored = read_stacked(data / "stacked", "test").members
    if stored != members:
        raise InputError(
            f"{file}: of {', '.join(stored)}, and the ensemble is of {', '.join(members)} (give --data the data of the "
            "training run)"
        )
    return read_scored(data, models, "test", unit)


def _data_summary(name: str, rules: dict[str, Any], folder: ScoredFolder, findings: Findings) -> dict[str, Any]:
    """What data/prepared/summary.json is to a run, of all the rows of `folder` but those that cannot be read."""
    return {
        "rules": rules,
        "splits": {name: count(folder.rows, folder.labels, findings)},
        "dropped": {"images": len(folder.bad)},
        "dropped_images": folder.dropped,
        "warnings": [],
    }


def _overlap(results: Results, annotated: np.ndarray, not_learned: Collection[str]) -> dict:
    """What could be compared, by finding key."""
    counts, keys = results.evaluation["counts"], results.test.keys
    known = dict(zip(keys, annotated.tolist(), strict=True))
    scored = [key for key, own in zip(keys, results.test.scorable(), strict=True) if own]
    return {
        "findings": {"compared": len(scored), "annotated": int(annotated.sum()), "of": len(keys)},
        "labels_compared": {key: counts["positives"][key] + counts["negatives"][key] for key in scored},
        "not_annotated": [key for key in keys if not known[key]],
        "not_learned": [key for key in not_learned if known[key]],
        "one_class": [key for key in keys if known[key] and key not in scored and key not in not_learned],
    }


def _mapping(root: Path, path: Path | None) -> dict:
    """{"mapping": source, classes by finding, those merged, unused classes, notes}; empty where none is known."""
    path = path or (root / MAPPING if (root / MAPPING).exists() else None)
    if path is None:
        return {}
    try:
        mapping = read_json(path)
        named = {name: mapping[name] for name in ("source", "findings", "unused", "notes")}
        return {"mapping": named | {"merged": merged(mapping)}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is no mapping as the importers write it: {error!r} (give --mapping FILE)") from None


def _examples(root: Path, files: list[str], positive: np.ndarray, ensemble: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """The images that `contact_sheet` shows, decoded again, and for each image its row among them."""
    shown = sorted({image for _, image in examples(positive, ensemble.findings)})
    rows = np.zeros(len(files), np.int64)
    rows[shown] = np.arange(len(shown))
    return np.stack(
        [decode(root / files[image], ensemble.image_size, root, crop=ensemble.crop) for image in shown]
    ), rows
