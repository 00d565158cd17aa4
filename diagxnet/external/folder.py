"""Another hospital's labelled folder, scored by a trained ensemble: what is validated on it, or calibrated to it.

Images are decoded a batch at a time, ahead of the models, and not kept: memory holds what a table holds, and logits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from diagxnet.console.cores import cores
from diagxnet.console.errors import InputError, problems_error
from diagxnet.console.progress import Progress
from diagxnet.data.files import read_json
from diagxnet.ensemble.ensemble import BATCH_SIZE, CALIBRATION, Ensemble
from diagxnet.images.decode import ImageError, decode
from diagxnet.labels.rules import looked_for, score_labels
from diagxnet.reading.columns import CHEXPERT_COLUMNS, Columns
from diagxnet.reading.files import find_table
from diagxnet.reading.tables import group_column, read_named
from diagxnet.statistics.groups import grouped
from diagxnet.statistics.scored import Scored, assemble
from diagxnet.tables.given import new_scores, unscored
from diagxnet.trained_on import FILE, TrainedOn, check_unknown, read_trained_on
from diagxnet.training.sources import read_ahead

Subgroups = Mapping[str, str | list[float]]


@dataclass(frozen=True)
class ScoredFolder:
    """What `score_folder` made of a folder, of the images that could be read.

    unit: what `scored` holds, as models/calibration.json has it. rows: [images], see `read_rows`. labels: [images,
    findings] as read. targets, mask: [images, findings], what of them is known. annotated: [findings] bool, whether any
    table looked for it. bad: reason by row, of the rows as read. dropped: those, as a summary has them. guard: see
    `check_unknown`.
    """

    unit: str
    rows: pd.DataFrame
    labels: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    annotated: np.ndarray
    scored: Scored
    bad: dict[int, str]
    dropped: list[dict[str, str]]
    guard: dict


def score_folder(
    ensemble: Ensemble,
    root: Path,
    models: Path,
    *,
    views: str,
    blank: str,
    bad_images: str,
    tables: str = "all",
    columns: Columns = CHEXPERT_COLUMNS,
    allow_patients: bool = False,
    allow_images: bool = False,
    scores: Mapping[str, Path] | None = None,
    subgroups: Subgroups | None = None,
) -> ScoredFolder:
    """Runs `ensemble`, of the folder `models`, over `root`; arguments and errors as those of `validation.validate`."""
    columns = replace(columns, findings=ensemble.findings)
    rows, labels = read_rows(root, tables=tables, views=views, columns=columns)
    allowed = {"allow_patients": allow_patients, "allow_images": allow_images}
    guard = check_unknown(_trained_on(models, all(allowed.values())), root, rows, **allowed)
    paths = rows["path"].tolist()
    given = {
        name: new_scores(name, file, ensemble.tables[name], paths, rows["study"].tolist(), ensemble.findings)
        for name, file in (scores or {}).items()
    }
    base, logits, bad = score(ensemble, root, rows["file"].tolist(), given=given)
    _judge(root, rows, bad, bad_images)
    dropped = [
        {"table": row.table, "path": row.path, "reason": bad[place]}
        for place, row in zip(sorted(bad), rows.iloc[sorted(bad)].itertuples(), strict=True)
    ]
    used = np.setdiff1d(np.arange(len(rows)), list(bad))
    rows, labels = rows.iloc[used], labels[used]
    targets, mask = score_labels(labels, blank=blank)
    sought = looked_for(labels, rows["table"].to_numpy(object))
    mask &= sought & [key not in ensemble.not_learned for key in ensemble.findings.keys]
    unit = read_json(models / CALIBRATION)["unit"]
    parts = base[used], logits[used], targets, mask
    scored = assemble(rows, tuple(ensemble.base), ensemble.findings, *parts, unit, _further(rows, subgroups or {}))
    scored = replace(scored, lacks=ensemble.lacks)
    annotated = sought.any(axis=0)
    return ScoredFolder(unit, rows, labels, targets, mask, annotated, scored, bad, dropped, guard)


def read_rows(
    root: Path, *, tables: str, views: str, columns: Columns = CHEXPERT_COLUMNS
) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows to score: [images] with the columns of `Table.frame`, file (where the image at `path` lies, see
    `reading.places`), table and line; labels [images, findings] as read.

    tables: `train`, `valid` or `all`. views: `frontal`, `lateral` or `all`. columns: see `validate`. Raises
    InputError where there is no row.
    """
    names = [name for name in ("train", "valid") if find_table(root, name)]
    asked = [name for name in names if tables in ("all", name)]
    if not asked:
        there = f"{names[0]}.csv is there: choose other --tables" if names else "give --root the folder that holds it"
        raise InputError(f"{root / ('train' if tables == 'all' else tables)}.csv: no such file ({there})")
    chosen = read_named(root, asked, columns)
    frames = [each.frame.assign(file=each.files, table=each.name, line=each.lines) for each in chosen]
    rows = pd.concat(frames, ignore_index=True)
    labels = np.concatenate([table.labels for table in chosen])
    wanted = np.ones(len(rows), bool) if views == "all" else (rows["view"] == views).to_numpy()
    if not wanted.any():
        raise InputError(f"{root}: no {views} image in its tables (see data.views in params.yaml)")
    return rows[wanted].reset_index(drop=True), labels[wanted]


def score(
    ensemble: Ensemble,
    root: Path,
    files: list[str],
    *,
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    given: Mapping[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Logits of the images in `files` under `root`; those of images that cannot be read stay 0.

    Returns base logits [images, models, findings] float32, the ensemble's [images, findings] float32, and the reason by
    row for each image that cannot be read. workers: threads that decode (Pillow frees the interpreter meanwhile),
    default one a core; each holds one batch. given: logits [images, findings] of each member that is a table; an image
    that it leaves out counts as one that cannot be read.
    """
    given = given or {}
    base = np.zeros((len(files), len(ensemble.base), len(ensemble.findings)), np.float32)
    logits = np.zeros((len(files), len(ensemble.findings)), np.float32)
    bad: dict[int, str] = {}

    def read(rows: range) -> tuple[list[int], np.ndarray, dict[int, str]]:
        images, reasons = {}, {}
        for row in rows:
            try:
                image = decode(root / files[row], ensemble.image_size, root, crop=ensemble.crop)
            except ImageError as error:
                reasons[row] = str(error)
                continue
            if without := unscored(given, row):
                reasons[row] = without
            else:
                images[row] = image
        shape = (0, ensemble.image_size, ensemble.image_size)
        return list(images), np.stack([*images.values()]) if images else np.zeros(shape, np.uint8), reasons

    batches = [range(start, min(start + batch_size, len(files))) for start in range(0, len(files), batch_size)]
    with Progress(len(files), "external") as progress:
        for batch, (good, images, reasons) in read_ahead(read, batches, cores() if workers is None else workers):
            bad |= reasons
            if good:
                own = {name: each[good] for name, each in given.items()}
                prediction = ensemble.predict(images, batch_size=batch_size, given=own)
                base[good], logits[good] = prediction.base_logits, prediction.logits
            progress.update(len(batch))
    return base, logits, bad


def _further(rows: pd.DataFrame, subgroups: Subgroups) -> dict[str, np.ndarray]:
    """Groups by those of `subgroups` that are columns of this table."""
    there = {name: rule for name, rule in subgroups.items() if group_column(name) in rows}
    cells = {name: rows[group_column(name)].fillna("").to_numpy(object) for name in there}
    return {name: grouped(cells[name], rule, name) for name, rule in there.items()}


def _trained_on(models: Path, unchecked: bool) -> TrainedOn | None:
    return None if unchecked and not (models / FILE).exists() else read_trained_on(models / FILE)


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
