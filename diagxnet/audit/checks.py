"""The audit of a finished run: is what its metrics say what its files say, and did no test label or patient leak?

It asks the files, not the code that made them: tables are read anew, logits are made again from the models, metrics are
computed again by `evaluation.recomputed`. It finds mistakes and mixed-up files; it is no proof against somebody who
forges all of them together.
"""

import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diagxnet.audit.patients import strangers
from diagxnet.audit.recomputed import Units, read_units, recompute, subgroup_auroc
from diagxnet.console.errors import InputError, one_line
from diagxnet.data.files import read_arrays, read_json
from diagxnet.data.folds import read_draws
from diagxnet.data.members import MORE, member_folder
from diagxnet.data.packed import open_packed, read_dropped, read_index
from diagxnet.data.splits import SPLITS
from diagxnet.ensemble.calibration import Calibration, read_calibration
from diagxnet.features.stacked import STACKED_SPLITS, read_stacked
from diagxnet.statistics.calibrating import fit_calibration
from diagxnet.statistics.comparison import models_of
from diagxnet.statistics.history import metrics_files
from diagxnet.statistics.scored import COMBINED, read_scored
from diagxnet.training.checkpoint import load_model
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.networks import from_config, model_folders
from diagxnet.training.precision import create_accelerator

TEST_LABELS = "data/prepared/labels_test.npz"
READER, WRITER = "evaluate", "prepare"

LOGIT_TOLERANCE = 0.1
"""Largest difference allowed between a stored logit and the same made again, which is 0 or some 1e-6 on the machine and
in the batches of the run. bf16 and fp16 round activations by themselves, batches of another size or a GPU in another
order: that moves logits by up to some hundredths. Another model's logits differ by more."""

FIGURE_TOLERANCE = 1e-9
"""Largest difference allowed between a stored figure and the same computed by another path: only rounding."""

DAMAGE = (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error)
"""What readers raise where a file is missing or damaged, or lacks what its name promises."""

MEND = "make it anew with dvc repro, or get back what the run wrote with dvc checkout"


@dataclass(frozen=True)
class Claims:
    """What a run says of itself: the content of metrics/evaluation.json, of metrics/summary.json, of the metrics of
    each training, by name, and of models/calibration.json."""

    evaluation: dict[str, Any]
    summary: dict[str, Any]
    trainings: dict[str, dict[str, Any]]
    calibration: Calibration


@dataclass(frozen=True)
class Pipeline:
    """What the pipeline says of its stages. reads: the paths that each stage depends on, by its name. changed: paths
    that logits come from or that are logits, whose content is not what was recorded when the run made them."""

    reads: Mapping[str, Collection[str]]
    changed: Collection[str]


@dataclass(frozen=True)
class _Run:
    """All that a check may look at."""

    data: Path
    models: Path
    claims: Claims
    pipeline: Pipeline
    tables: Path
    patient_column: str | None
    unit: str
    min_positives: int
    precision: str
    images: int

    @cached_property
    def manifest(self) -> pd.DataFrame:
        path = self.data / "prepared" / "manifest.csv"
        with _reading(path):
            return pd.read_csv(path, dtype=str, keep_default_na=False)


class _AuditError(Exception):
    """What a check found wrong, in one line."""


def read_claims(metrics: Path, models: Path) -> Claims:
    """Reads what a finished run wrote; InputError where a file is missing or damaged."""
    evaluation, summary = (_claim(metrics / f"{name}.json") for name in ("evaluation", "summary"))
    trainings = {name: _claim(metrics / f"{name}.json") for name in metrics_files({})}
    trainings |= trainings.pop(MORE)
    return Claims(
        evaluation,
        summary,
        {name: own for name, own in trainings.items() if own},
        _claim(models / "calibration.json", read_calibration),
    )


def _claim(path: Path, read: Callable[[Path], Any] = read_json) -> dict[str, Any]:
    try:
        content = read(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: the run is not finished (run dvc repro)") from None
    except (*DAMAGE, AttributeError, TypeError) as error:
        raise InputError(f"{path}: is damaged: {_told(error)} ({MEND})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: is damaged: holds no names and values ({MEND})")
    return content


def audit(
    data: Path,
    models: Path,
    claims: Claims,
    pipeline: Pipeline,
    *,
    tables: Path,
    patient_column: str | None,
    unit: str,
    min_positives: int,
    precision: str,
    images: int = 8,
) -> list[str]:
    """Checks a run and returns a line for each check; raises InputError, a line too, at the first that fails.

    tables: folder of the tables, read where a column of theirs, `patient_column`, names the patient. unit,
    min_positives: those of the evaluation. precision: `train.precision`, in which logits are made again, of so many
    `images` of each split, evenly spaced; a tampered logit of another image is then found by the hash in `pipeline`
    alone.
    """
    run = _Run(data, models, claims, pipeline, tables, patient_column, unit, min_positives, precision, images)
    lines = []
    for name, check in CHECKS.items():
        try:
            lines.append(f"{name}: {check(run)}")
        except _AuditError as fault:
            raise InputError(f"this run fails its audit: {name}: {fault} ({MEND})") from fault.__cause__
        except DAMAGE as error:
            raise InputError(f"this run fails its audit: {name}: {_told(error)} ({MEND})") from error
    return lines


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Names `path` where what is read of it is damaged, for few readers do."""
    try:
        yield
    except DAMAGE as error:
        raise _AuditError(f"{path}: is damaged: {_told(error)}") from error


def _told(error: Exception) -> str:
    """What is wrong, in one line, with the file or the key where the error has one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, KeyError):
        return f"lacks {error.args[0]!r}" if error.args else "lacks a key"
    return one_line(error)


def _patients(run: _Run) -> str:
    pairs = run.manifest[["patient", "split"]].drop_duplicates()
    twice = pairs["patient"][pairs["patient"].duplicated()]
    if len(twice):
        where = " and ".join(sorted(pairs["split"][pairs["patient"] == twice.iloc[0]]))
        raise _AuditError(f"manifest.csv has {len(twice):,} in two splits, {twice.iloc[0]} first, in {where}")
    for split in SPLITS:
        rows = run.manifest["row"][run.manifest["split"] == split].astype(np.int64)
        path = run.data / "prepared" / f"labels_{split}.npz"
        with _reading(path):
            labelled = read_arrays(path)["rows"].tolist()
        if rows.tolist() != labelled:
            raise _AuditError(f"labels_{split}.npz holds other images than manifest.csv has in {split}")
    with _reading(run.data / "prepared" / "folds.npz"):
        draws = read_draws(run.data / "prepared")
    owners = run.manifest.set_index(run.manifest["row"].astype(np.int64))["patient"]
    folds = pd.DataFrame({"patient": owners.reindex(draws.rows).to_numpy(), "draw": draws.values}).drop_duplicates()
    if folds["patient"].isna().any() or folds["patient"].duplicated().any():
        raise _AuditError("folds.npz has images of one patient in two folds, or images that are in no split")
    wrong, source = strangers(run.manifest, run.tables, run.patient_column)
    if wrong:
        raise _AuditError(wrong)
    return f"{len(pairs):,}, each in one split and one fold, also by {source}"


def _test_labels(run: _Run) -> str:
    readers = sorted(
        name
        for name, paths in run.pipeline.reads.items()
        if any(path == TEST_LABELS or TEST_LABELS.startswith(f"{path.rstrip('/')}/") for path in paths)
    )
    if readers != [READER]:
        raise _AuditError(
            f"{TEST_LABELS} must be a dependency of {READER} alone, and is one of {', '.join(readers) or 'none'}"
        )
    return f"a dependency of {READER} alone among {len(run.pipeline.reads)} stages"


def _recorded(run: _Run) -> str:
    if run.pipeline.changed:
        raise _AuditError(f"{', '.join(sorted(run.pipeline.changed))}: not what the run recorded in dvc.lock")
    return "models, labels and logits are those that the run recorded"


def _logits(run: _Run) -> str:
    found, count = 0.0, 0
    accelerator = create_accelerator(run.precision)
    with _reading(run.data / "packed" / "images.npy"):
        packed = open_packed(run.data / "packed")
    stored = {}
    for split in STACKED_SPLITS:
        with _reading(run.data / "stacked" / f"logits_{split}.npz"):
            stored[split] = read_stacked(run.data / "stacked", split)
    members = {own.members for own in stored.values()}
    if len(members) > 1:
        raise _AuditError(f"the splits have logits of different base models: {' and '.join(map(str, members))}")
    for number, name in enumerate(*members):
        folder = member_folder(run.models, name)
        places = model_folders(folder)
        models = [[load_model(place, from_config).to(accelerator.device) for place in seeds] for seeds in places]
        for split, own in stored.items():
            rows, logits = own.rows, own.logits
            chosen = np.unique(np.linspace(0, len(rows) - 1, run.images).round().astype(int))
            made = np.stack([_mean_logits(seeds, packed, rows[chosen], accelerator) for seeds in models])
            if split == "stack" and len(models) > 1:
                folds = read_draws(run.data / "prepared").folds(len(models))[chosen]
                again = made[folds, np.arange(len(chosen))]
            else:
                again = made.mean(axis=0)
            difference = float(np.abs(again - logits[chosen, number]).max())
            if not difference <= LOGIT_TOLERANCE:
                raise _AuditError(
                    f"logits_{split}.npz: those of {name} differ by up to {difference:.3g} from what "
                    f"{_below(run, folder)} gives (allowed: {LOGIT_TOLERANCE:g})"
                )
            found, count = max(found, difference), count + len(chosen)
    return f"{count:,} made again, largest difference {found:.1e} (allowed: {LOGIT_TOLERANCE:g})"


def _mean_logits(models: list, packed: np.ndarray, rows: np.ndarray, accelerator: Any) -> np.ndarray:
    """Logits [images, findings] of the packed `rows`, averaged over the models of one fold."""
    options = {"batch_size": len(rows), "accelerator": accelerator}
    return np.mean([predict_logits(model, ImageSource(packed, rows), len(rows), **options) for model in models], axis=0)


def _calibration(run: _Run) -> str:
    again = fit_calibration(read_scored(run.data, run.models, "val", run.unit), run.min_positives)
    wrong = []
    for model in again:
        for key, fitted in again[model].items():
            stored = run.claims.calibration.get(model, {}).get(key)
            if stored is None or _unequal(_flat(vars(stored)), _flat(vars(fitted))):
                wrong.append(f"{model}.{key}")
    wrong += [model for model in run.claims.calibration if model not in again]
    if wrong:
        raise _AuditError(f"calibration.json: val gives others for {len(wrong)}, {wrong[0]} first")
    return f"{sum(map(len, again.values()))} fitted again on val alone, all equal"


def _metrics(run: _Run) -> str:
    val, test = (_units(run, split) for split in ("val", "test"))
    again = recompute(val, test, run.claims.calibration) | subgroup_auroc(test, run.min_positives)
    stored = _flat(run.claims.evaluation)
    per_finding = re.compile(r"(.*)\.per_finding\.\w+")
    metrics = {match[1] for name in again if (match := per_finding.fullmatch(name))}
    extra = [
        name for name in stored if name not in again and (match := per_finding.fullmatch(name)) and match[1] in metrics
    ]
    wrong = extra + _unequal({name: stored.get(name) for name in again}, again)
    if wrong:
        name = wrong[0]
        raise _AuditError(
            f"evaluation.json: {len(wrong):,} of {len(again):,} figures are not those of the stored logits, {name} "
            f"first: {stored.get(name)} instead of {again.get(name)}"
        )
    outside = [name for name in stored if name.endswith(".lower") and not _holds(stored, name)]
    if outside:
        raise _AuditError(f"evaluation.json: {len(outside)} intervals do not hold their value, {outside[0]} first")
    return f"{len(again):,} figures computed again by another path, all equal to within {FIGURE_TOLERANCE:g}"


def _holds(stored: Mapping[str, Any], lower: str) -> bool:
    """Whether the interval that begins at the key `lower` holds its value: of `X.ci.Y.lower` X.Y, of `X.ci.lower` X."""
    whole, _, which = lower.removesuffix(".lower").rpartition(".ci")
    value = stored.get(f"{whole}{which}", stored.get(f"{whole}.difference"))
    upper = stored[f"{lower.removesuffix('lower')}upper"]
    return value is not None and stored[lower] - FIGURE_TOLERANCE <= value <= upper + FIGURE_TOLERANCE


def _summary(run: _Run) -> str:
    whole, summary = run.claims.evaluation, run.claims.summary
    expected: dict[str, Any] = {"ensemble.ece": whole["ensemble"]["ece"]["macro"]}
    models = models_of(whole)
    for model in models:
        for name, (metric, mean) in {
            "auroc": ("auroc", "macro"), "auprc": ("auprc", "macro"), "auroc_chexpert5": ("auroc", "chexpert5"),
        }.items():  # fmt: skip
            shown = model in COMBINED or name in summary.get(model, ())  # of many members the summary lacks some
            if shown and mean in whole[model][metric]:
                expected[f"{model}.{name}"] = whole[model][metric][mean]
    for name in ("units", "patients", "findings_scored", "dropped_images"):
        expected[f"counts.{name}"] = whole["counts"][name]
    stored = _flat(summary)
    wrong = _unequal({name: stored.get(name) for name in expected}, expected)
    if wrong:
        raise _AuditError(
            f"summary.json: {wrong[0]} is {stored.get(wrong[0])}, evaluation.json has {expected[wrong[0]]}"
        )
    trained = {*models, "meta"} - {*COMBINED}
    if run.claims.trainings.keys() != trained:
        names = ", ".join(sorted(run.claims.trainings.keys() ^ trained))
        raise _AuditError(f"evaluation.json and the metrics of the trainings are of different models: {names}")
    for name, training in run.claims.trainings.items():
        path = member_folder(run.models, name) / "training_history.json"
        with _reading(path):
            best = read_json(path)["epochs"][training["best_epoch"] - 1]
        if (training["best_val_loss"], training["val_auroc"]) != (best["val_loss"], best["val_auroc"]):
            raise _AuditError(f"{name}.json: not the best epoch of {_below(run, path)}")
    return "summary and trainings say what evaluation and histories say"


def _below(run: _Run, path: Path) -> str:
    return (Path("models") / path.relative_to(run.models)).as_posix()


def _counts(run: _Run) -> str:
    folder = run.data / "packed"
    with _reading(folder / "images.npy"):
        packed = open_packed(folder)
    with _reading(folder / "index.csv"):
        index = read_index(folder)
    with _reading(folder / "dropped.csv"):
        dropped = read_dropped(folder)
    with _reading(run.data / "prepared" / "summary.json"):
        summary = read_json(run.data / "prepared" / "summary.json")
    rows = run.manifest["row"].astype(np.int64)
    if index["row"].tolist() != list(range(len(packed))):
        raise _AuditError(f"index.csv has {len(index):,} rows, images.npy {len(packed):,} images")
    if rows.duplicated().any() or not rows.between(0, len(packed) - 1).all():
        raise _AuditError("manifest.csv has an image twice, or one that images.npy lacks")
    moved = index["path"].to_numpy(object)[rows] != run.manifest["path"].to_numpy(object)
    if moved.any():
        raise _AuditError(
            f"manifest.csv and index.csv have other images in {moved.sum():,} rows, row {rows[moved].iloc[0]} first"
        )
    read = sum(table["images"] for table in summary["tables"].values())
    if read != len(index) + len(dropped):
        raise _AuditError(f"the tables have {read:,} images, {len(index):,} are packed and {len(dropped):,} dropped")
    if summary["dropped"]["images"] != len(dropped) or run.claims.evaluation["counts"]["dropped_images"] != len(
        dropped
    ):
        raise _AuditError(f"{len(dropped):,} images are in dropped.csv, not as many in summary.json or evaluation.json")
    for split in SPLITS:
        own = run.manifest[run.manifest["split"] == split]
        found = len(own), own["patient"].nunique(), own["study"].nunique()
        said = tuple(summary["splits"][split][name] for name in ("images", "patients", "studies"))
        if found != said:
            raise _AuditError(
                f"{split} has {found} images, patients and studies in manifest.csv, {said} in summary.json"
            )
    studies = run.manifest["study"][run.manifest["split"] == "test"].nunique()
    if run.claims.evaluation["counts"]["studies"] != studies:
        raise _AuditError(
            f"evaluation.json counts {run.claims.evaluation['counts']['studies']:,} studies, test has {studies:,}"
        )
    return f"{read:,} images in tables = {len(index):,} packed + {len(dropped):,} dropped; {len(rows):,} in use"


def _units(run: _Run, split: str) -> Units:
    try:
        return read_units(run.data, run.models, split, run.unit)
    except ValueError as error:
        raise _AuditError(str(error)) from error


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by dotted key."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        name: leaf
        for key, child in value.items()
        for name, leaf in _flat(child, f"{prefix}.{key}" if prefix else key).items()
    }


def _unequal(stored: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    """The keys of either whose values are not equal; numbers may differ by FIGURE_TOLERANCE."""
    wrong = []
    for name in stored | again:
        ours, theirs = stored.get(name), again.get(name)
        if isinstance(ours, int | float) and isinstance(theirs, int | float):
            if not abs(ours - theirs) <= FIGURE_TOLERANCE:
                wrong.append(name)
        elif ours != theirs:
            wrong.append(name)
    return wrong


CHECKS: dict[str, Callable[[_Run], str]] = {
    "recorded": _recorded,
    "patients": _patients,
    "test labels": _test_labels,
    "counts": _counts,
    "logits": _logits,
    "calibration": _calibration,
    "metrics": _metrics,
    "summary": _summary,
}
"""In this order: what reads a file comes after the check that it fits the others."""
