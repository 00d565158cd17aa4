"""External validation: a trained ensemble on another hospital's labelled folder, and nothing fitted to it.

Images are decoded a batch at a time, ahead of the models, and not kept: memory holds what a table holds, and logits.
Calibration and thresholds are those of models/calibration.json, as val of the ensemble's own data had them.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diagxnet.console.cores import cores
from diagxnet.console.errors import InputError, problems_error
from diagxnet.console.progress import Progress
from diagxnet.data.files import read_json, write_json
from diagxnet.data.findings import Findings
from diagxnet.data.prepared import Labels
from diagxnet.ensemble.ensemble import BATCH_SIZE, CALIBRATION, Ensemble
from diagxnet.external.gap import Hospital, gap
from diagxnet.external.sections import external_sections
from diagxnet.features.stacked import read_stacked
from diagxnet.images.decode import ImageError, decode
from diagxnet.importers.release import MAPPING, merged
from diagxnet.labels.prepare import count
from diagxnet.labels.rules import looked_for, score_labels
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns
from diagxnet.reading.files import find_table
from diagxnet.reading.tables import group_column, read_named
from diagxnet.reporting.report import write_report
from diagxnet.reporting.section import Material
from diagxnet.reporting.sections.data import examples
from diagxnet.statistics.cohort import cohort
from diagxnet.statistics.groups import grouped
from diagxnet.statistics.history import read_histories
from diagxnet.statistics.results import Results, measure_test
from diagxnet.statistics.scored import Scored, assemble, read_scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.tables.given import new_scores, unscored
from diagxnet.trained_on import FILE, TrainedOn, check_unknown, read_trained_on
from diagxnet.training.sources import read_ahead


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
    columns = replace(columns, findings=ensemble.findings)
    rows, labels = read_rows(root, tables=tables, views=views, columns=columns)
    allowed = {"allow_patients": allow_patients, "allow_images": allow_images}
    guard = check_unknown(_trained_on(models, all(allowed.values())), root, rows, **allowed)
    paths = rows["path"].tolist()
    given = {
        name: new_scores(name, file, ensemble.tables[name], paths, rows["study"].tolist(), ensemble.findings)
        for name, file in (scores or {}).items()
    }
    base, logits, bad = score(ensemble, root, paths, given=given)
    _judge(root, rows, bad, bad_images)
    used = np.setdiff1d(np.arange(len(rows)), list(bad))
    name = root.resolve().name
    rules = {"uncertain": {}, "blank": blank, "views": views}
    data_summary = _data_summary(name, rules, rows, labels, bad, ensemble.findings)
    rows, labels = rows.iloc[used], labels[used]
    targets, mask = score_labels(labels, blank=blank)
    sought = looked_for(labels, rows["table"].to_numpy(object))
    annotated = sought.any(axis=0)
    mask &= sought & [key not in ensemble.not_learned for key in ensemble.findings.keys]
    results = measure_test(
        ensemble.calibration,
        fitted["best_base"],
        replace(
            assemble(
                rows,
                members,
                ensemble.findings,
                base[used],
                logits[used],
                targets,
                mask,
                scoring.unit,
                _further(rows, scoring),
            ),
            lacks=ensemble.lacks,
        ),
        histories,
        scoring,
        studies=data_summary["splits"][name]["studies"],
        dropped=len(bad),
    )
    one_class = results.evaluation["one_class"]
    one_class["test"] = {key: own for key, own in one_class["test"].items() if annotated[results.test.keys.index(key)]}
    overlap = _overlap(results, annotated, ensemble.not_learned)
    external = {"data": name, "tables": tables, "overlap": overlap, "trained_on": guard}
    external |= _mapping(root, mapping)
    if at_home is not None:
        foreign = Hospital(results.test, results.estimates)
        seed = scoring.seed + 1
        options = {"resamples": scoring.bootstrap, "seed": seed, "min_positives": scoring.min_positives}
        external["gap"] = gap(at_home, foreign, ensemble.calibration, **options)
    results.evaluation["external"] = external
    params = {"seed": scoring.seed, "data": {"views": views, "blank": blank, "bad_images": bad_images}}
    params["evaluate"] = {"bootstrap": scoring.bootstrap, "min_positives": scoring.min_positives}
    positive = (targets > 0) & mask
    shown, places = _examples(root, rows["path"].tolist(), positive, ensemble)
    cohorts = {name: cohort(rows, Labels(np.arange(len(rows)), targets, mask), ensemble.findings.keys)}
    return Material(results, data_summary, params, shown, places, positive, cohorts)


def write_external(material: Material, out: Path, report: Path) -> None:
    """Writes `out`, JSON as metrics/evaluation.json with `external` besides, and report.html with its figures to the
    folder `report`. material: as `validate` gives it."""
    evaluation = material.results.evaluation
    title = f"The ensemble on another data set: {evaluation['external']['data']}"
    write_report(report, material, title=title, first=external_sections(evaluation))
    write_json(out, evaluation)


def read_rows(
    root: Path, *, tables: str, views: str, columns: Columns = CHEXPERT_COLUMNS
) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows to score: [images] with the columns of `Table.frame`, table and line; labels [images, findings] as read.

    tables: `train`, `valid` or `all`. views: `frontal`, `lateral` or `all`. columns: see `validate`. Raises
    InputError where there is no row.
    """
    names = [name for name in ("train", "valid") if find_table(root, name)]
    asked = [name for name in names if tables in ("all", name)]
    if not asked:
        there = f"{names[0]}.csv is there: choose other --tables" if names else "give --root the folder that holds it"
        raise InputError(f"{root / ('train' if tables == 'all' else tables)}.csv: no such file ({there})")
    chosen = read_named(root, asked, columns)
    rows = pd.concat([table.frame.assign(table=table.name, line=table.lines) for table in chosen], ignore_index=True)
    labels = np.concatenate([table.labels for table in chosen])
    wanted = np.ones(len(rows), bool) if views == "all" else (rows["view"] == views).to_numpy()
    if not wanted.any():
        raise InputError(f"{root}: no {views} image in its tables (see data.views in params.yaml)")
    return rows[wanted].reset_index(drop=True), labels[wanted]


def score(
    ensemble: Ensemble,
    root: Path,
    paths: list[str],
    *,
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    given: Mapping[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Logits of the images at `paths` under `root`; those of images that cannot be read stay 0.

    Returns base logits [images, models, findings] float32, the ensemble's [images, findings] float32, and the reason by
    row for each image that cannot be read. workers: threads that decode (Pillow frees the interpreter meanwhile),
    default one a core; each holds one batch. given: logits [images, findings] of each member that is a table; an image
    that it leaves out counts as one that cannot be read.
    """
    given = given or {}
    base = np.zeros((len(paths), len(ensemble.base), len(ensemble.findings)), np.float32)
    logits = np.zeros((len(paths), len(ensemble.findings)), np.float32)
    bad: dict[int, str] = {}

    def read(rows: range) -> tuple[list[int], np.ndarray, dict[int, str]]:
        images, reasons = {}, {}
        for row in rows:
            try:
                image = decode(root / paths[row], ensemble.image_size, root, crop=ensemble.crop)
            except ImageError as error:
                reasons[row] = str(error)
                continue
            if without := unscored(given, row):
                reasons[row] = without
            else:
                images[row] = image
        shape = (0, ensemble.image_size, ensemble.image_size)
        return list(images), np.stack([*images.values()]) if images else np.zeros(shape, np.uint8), reasons

    batches = [range(start, min(start + batch_size, len(paths))) for start in range(0, len(paths), batch_size)]
    with Progress(len(paths), "external") as progress:
        for batch, (good, images, reasons) in read_ahead(read, batches, cores() if workers is None else workers):
            bad |= reasons
            if good:
                own = {name: each[good] for name, each in given.items()}
                prediction = ensemble.predict(images, batch_size=batch_size, given=own)
                base[good], logits[good] = prediction.base_logits, prediction.logits
            progress.update(len(batch))
    return base, logits, bad


def _further(rows: pd.DataFrame, scoring: Scoring) -> dict[str, np.ndarray]:
    """Groups by those of `scoring.subgroups` that are columns of this table."""
    there = {name: rule for name, rule in scoring.subgroups.items() if group_column(name) in rows}
    cells = {name: rows[group_column(name)].fillna("").to_numpy(object) for name in there}
    return {name: grouped(cells[name], rule, name) for name, rule in there.items()}


def _trained_on(models: Path, unchecked: bool) -> TrainedOn | None:
    return None if unchecked and not (models / FILE).exists() else read_trained_on(models / FILE)


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


def _data_summary(
    name: str, rules: dict[str, Any], rows: pd.DataFrame, labels: np.ndarray, bad: dict[int, str], findings: Findings
) -> dict[str, Any]:
    """What data/prepared/summary.json is to a run, of all `rows`, those that are `bad` (reason by row) left out."""
    used = np.setdiff1d(np.arange(len(rows)), list(bad))
    dropped = rows.iloc[sorted(bad)]
    return {
        "rules": rules,
        "splits": {name: count(rows.iloc[used], labels[used], findings)},
        "dropped": {"images": len(bad)},
        "dropped_images": [
            {"table": row.table, "path": row.path, "reason": bad[place]}
            for place, row in zip(sorted(bad), dropped.itertuples(), strict=True)
        ],
        "warnings": [],
    }


def _judge(root: Path, rows: pd.DataFrame, bad: dict[int, str], bad_images: str) -> None:
    if len(bad) == len(rows):
        first = f"{rows['path'].iloc[0]} {bad[0]}"
        raise InputError(f"{root}: none of {len(rows):,} images can be used; {first} (see whether --root is right)")
    if bad and bad_images == "stop":
        places = rows.loc[sorted(bad), ["table", "line", "path"]].itertuples(index=False)
        problems = [
            f"{place.table}.csv, line {place.line}: {place.path} {bad[row]}"
            for row, place in zip(sorted(bad), places, strict=True)
        ]
        raise problems_error(f"images in {root}", problems, "mend these, or set data.bad_images to drop")


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


def _examples(root: Path, paths: list[str], positive: np.ndarray, ensemble: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """The images that `contact_sheet` shows, decoded again, and for each image its row among them."""
    shown = sorted({image for _, image in examples(positive, ensemble.findings)})
    rows = np.zeros(len(paths), np.int64)
    rows[shown] = np.arange(len(shown))
    return np.stack(
        [decode(root / paths[image], ensemble.image_size, root, crop=ensemble.crop) for image in shown]
    ), rows
