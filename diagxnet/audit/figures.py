"""Checks of what was computed: logits from the models, calibration, metrics and summary from the logits."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diagxnet.audit.recomputed import Units, read_units, recompute, subgroup_figures
from diagxnet.audit.run import FIGURE_TOLERANCE, AuditError, Run, below, flat, reading, unequal
from diagxnet.data.files import read_arrays, read_json
from diagxnet.data.folds import read_draws
from diagxnet.data.members import CONFIG, SCORES, member_folder, table_configs
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_hierarchy
from diagxnet.features.stacked import STACKED_SPLITS, Stacked, read_stacked
from diagxnet.features.views import Views
from diagxnet.statistics.calibrating import fit_calibration
from diagxnet.statistics.comparison import models_of
from diagxnet.statistics.history import kept_record
from diagxnet.statistics.scored import COMBINED, read_scored
from diagxnet.training.checkpoint import load_model
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.networks import from_config, model_folders
from diagxnet.training.precision import create_accelerator

GROUP = re.compile(r"subgroups\..*\.(?=in_the_large)")
"""What stands between `subgroups` and the name of a figure of a group."""

LOGIT_TOLERANCE = 0.1
"""Largest difference allowed between a stored logit and the same made again, which is 0 or some 1e-6 on the machine and
in the batches of the run. bf16 and fp16 round activations by themselves, batches of another size or a GPU in another
order: that moves logits by up to some hundredths. Another model's logits differ by more."""


def logits(run: Run) -> str:
    found, count = 0.0, 0
    accelerator = create_accelerator(run.precision)
    with reading(run.data / "packed" / "images.npy"):
        packed = open_packed(run.data / "packed")
    stored = {}
    for split in STACKED_SPLITS:
        with reading(run.data / "stacked" / f"logits_{split}.npz"):
            stored[split] = read_stacked(run.data / "stacked", split)
    members = {own.members for own in stored.values()}
    if len(members) > 1:
        raise AuditError(f"the splits have logits of different base models: {' and '.join(map(str, members))}")
    with reading(run.models / "meta" / CONFIG):
        views = read_json(run.models / "meta" / CONFIG).get("views", 1)
    tables = table_configs(run.models, *members)
    for number, name in enumerate(*members):
        folder = member_folder(run.models, name)
        if name in tables:
            count += _as_given(folder, name, number, stored)
            continue
        places = model_folders(folder)
        models = [
            [Views(load_model(place, from_config).to(accelerator.device), views) for place in seeds] for seeds in places
        ]
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
                raise AuditError(
                    f"logits_{split}.npz: those of {name} differ by up to {difference:.3g} from what "
                    f"{below(run, folder)} gives (allowed: {LOGIT_TOLERANCE:g})"
                )
            found, count = max(found, difference), count + len(chosen)
    return f"{count:,} made again, largest difference {found:.1e} (allowed: {LOGIT_TOLERANCE:g})"


def _as_given(folder: Path, name: str, number: int, stored: Mapping[str, Stacked]) -> int:
    """The images of all splits, whose logits are those of the table of the member `name`, place `number`."""
    with reading(folder / SCORES):
        scores = read_arrays(folder / SCORES)
    place = {row: at for at, row in enumerate(scores["rows"].tolist())}
    for split, own in stored.items():
        again, lacking = scores["logits"][[place[row] for row in own.rows.tolist()]], own.lacking[number]
        if (
            not np.array_equal(again[:, ~lacking], own.logits[:, number, ~lacking])
            or not np.isnan(again[:, lacking]).all()
        ):
            raise AuditError(f"logits_{split}.npz: those of {name} are not what its table gives")
    return sum(len(own.rows) for own in stored.values())


def _mean_logits(models: list, packed: np.ndarray, rows: np.ndarray, accelerator: Any) -> np.ndarray:
    """Logits [images, findings] of the packed `rows`, averaged over the models of one fold."""
    options = {"batch_size": len(rows), "accelerator": accelerator}
    return np.mean([predict_logits(model, ImageSource(packed, rows), len(rows), **options) for model in models], axis=0)


def calibration(run: Run) -> str:
    learned = read_arrays(run.data / "prepared" / "labels_train.npz")["mask"].any(axis=0)
    val = read_scored(run.data, run.models, "val", run.unit)
    not_learned = [key for key, known in zip(val.keys, learned, strict=True) if not known]
    parents = read_hierarchy(run.data / "prepared")[1].conditional
    again = fit_calibration(val, run.min_positives, not_learned, parents)
    wrong = []
    for model in again:
        for key, fitted in again[model].items():
            stored = run.claims.calibration.get(model, {}).get(key)
            if stored is None or unequal(flat(vars(stored)), flat(vars(fitted))):
                wrong.append(f"{model}.{key}")
    wrong += [model for model in run.claims.calibration if model not in again]
    if wrong:
        raise AuditError(f"calibration.json: val gives others for {len(wrong)}, {wrong[0]} first")
    return f"{sum(map(len, again.values()))} fitted again on val alone, all equal"


def metrics(run: Run) -> str:
    val, test = (_units(run, split) for split in ("val", "test"))
    given = run.claims.calibration, run.min_positives
    again = recompute(val, test, *given) | subgroup_figures(test, *given)
    stored = flat(run.claims.evaluation)
    verdicts = re.compile(r"comparison\.ensemble_minus_best_base\.auroc\.per_finding\.\w+\.verdict")
    better = [name for name, value in stored.items() if value == "better" and verdicts.fullmatch(name)]
    again["comparison.findings_better"] = len(better)
    per_finding = re.compile(r"(.*)\.per_finding\.\w+")
    metrics = {match[1] for name in again if (match := per_finding.fullmatch(name))}
    further = {name: match[1] for name in stored if name not in again and (match := per_finding.fullmatch(name))}
    extra = [name for name, metric in further.items() if metric in metrics]
    wrong = extra + unequal({name: stored.get(name) for name in again}, again)
    if wrong:
        name = wrong[0]
        raise AuditError(
            f"evaluation.json: {len(wrong):,} of {len(again):,} figures are not those of the stored logits, {name} "
            f"first: {stored.get(name)} instead of {again.get(name)}"
        )
    outside = [name for name in stored if name.endswith(".lower") and not _holds(stored, name)]
    if outside:
        raise AuditError(f"evaluation.json: {len(outside)} intervals do not hold their value, {outside[0]} first")
    taken = sorted({GROUP.sub("subgroups.*.", metric.partition(".")[2]) for metric in further.values()})
    rest = f"; not computed again, as audit/recomputed.py lacks them: {', '.join(taken)}" if taken else ""
    return f"{len(again):,} figures computed again by another path, all equal to within {FIGURE_TOLERANCE:g}{rest}"


def _holds(stored: Mapping[str, Any], lower: str) -> bool:
    """Whether the interval that begins at the key `lower` holds its value: of `X.ci.Y.lower` X.Y, of `X.ci.lower` X."""
    whole, _, which = lower.removesuffix(".lower").rpartition(".ci")
    value = stored.get(f"{whole}{which}", stored.get(f"{whole}.difference"))
    upper = stored[f"{lower.removesuffix('lower')}upper"]
    return value is not None and stored[lower] - FIGURE_TOLERANCE <= value <= upper + FIGURE_TOLERANCE


def summary(run: Run) -> str:
    whole, summary = run.claims.evaluation, run.claims.summary
    expected: dict[str, Any] = {"test.ensemble.ece": whole["ensemble"]["ece"]["macro"]}
    models = models_of(whole)
    for model in models:
        for name, value in whole[model]["val"].items():
            if model in COMBINED or name in summary["val"].get(model, ()):
                expected[f"val.{model}.{name}"] = value
        for name, (metric, mean) in {
            "auroc": ("auroc", "macro"), "auprc": ("auprc", "macro"), "auroc_chexpert5": ("auroc", "chexpert5"),
        }.items():  # fmt: skip
            shown = model in COMBINED or name in summary["test"].get(model, ())  # of many members it lacks some
            if shown and mean in whole[model][metric]:
                expected[f"test.{model}.{name}"] = whole[model][metric][mean]
    for name in ("units", "patients", "findings_scored", "dropped_images"):
        expected[f"counts.{name}"] = whole["counts"][name]
    stored = flat(summary)
    wrong = unequal({name: stored.get(name) for name in expected}, expected)
    if wrong:
        raise AuditError(
            f"summary.json: {wrong[0]} is {stored.get(wrong[0])}, evaluation.json has {expected[wrong[0]]}"
        )
    trained = {*models, "meta"} - {*COMBINED, *table_configs(run.models, models)}
    if run.claims.trainings.keys() != trained:
        names = ", ".join(sorted(run.claims.trainings.keys() ^ trained))
        raise AuditError(f"evaluation.json and the metrics of the trainings are of different models: {names}")
    for name, training in run.claims.trainings.items():
        path = member_folder(run.models, name) / "training_history.json"
        with reading(path):
            best = kept_record(read_json(path))
        claimed = training["best_epoch"], training["best_val_loss"], training["val_auroc"]
        if claimed != (best["epoch"], best["val_loss"], best["val_auroc"]):
            raise AuditError(f"{name}.json: not the best epoch of {below(run, path)}")
    return "summary and trainings say what evaluation and histories say"


def _units(run: Run, split: str) -> Units:
    try:
        return read_units(run.data, run.models, split, run.unit, run.columns if split == "test" else None)
    except ValueError as error:
        raise AuditError(str(error)) from error
