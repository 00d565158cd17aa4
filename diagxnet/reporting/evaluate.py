"""The evaluation: reads what the other stages left, measures, and writes metrics, calibration and plots."""

from collections.abc import Callable, Sequence
from pathlib import Path

from diagxnet.audit.claims import Claims
from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json
from diagxnet.data.members import member_folder
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_hierarchy, read_labels, read_manifest
from diagxnet.data.splits import SPLITS
from diagxnet.ensemble.calibration import write_calibration
from diagxnet.reporting.curves import write_curves
from diagxnet.reporting.model_card import write_model_card
from diagxnet.reporting.report import write_report
from diagxnet.reporting.section import Material
from diagxnet.reporting.sections.parts import parts_of
from diagxnet.statistics.cohort import cohort
from diagxnet.statistics.history import OWN_FILES, metrics_files, read_histories, training_metrics
from diagxnet.statistics.results import Results, measure
from diagxnet.statistics.scored import read_scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.shortcuts import shortcut_probe
from diagxnet.statistics.summary import summary


def evaluate(
    *,
    data: Path,
    models: Path,
    metrics: Path,
    plots: Path,
    params: dict,
    scoring: Scoring,
    check: Callable[[Claims], object] | None = None,
) -> Results:
    """Writes evaluation.json, summary.json and the `metrics_files` to `metrics`, calibration.json and MODEL_CARD.md to
    `models`, and `plots`. The members are those of the stored logits.

    data: folder of packed, prepared and stacked. params: content of params.yaml, for the report. check:
    is given all figures before anything is written, and raises InputError where they must not be (see `audit.checks`).
    """
    data_summary = read_json(data / "prepared" / "summary.json")
    val = read_scored(data, models, "val", scoring.unit)
    test = read_scored(data, models, "test", scoring.unit, columns=scoring.subgroups)
    left_out = read_scored(data, models, "val", scoring.unit, left_out=True)
    histories = read_histories(models, test.members)
    seconds = read_seconds(metrics / "timing", test.members)
    results = measure(
        val,
        test,
        histories,
        scoring,
        left_out=left_out,
        not_learned=data_summary["not_learned"],
        parents=read_hierarchy(data / "prepared")[1].conditional,
        studies=data_summary["splits"]["test"]["studies"],
        dropped=data_summary["dropped"]["images"],
    )
    trainings = {name: training_metrics(history) for name, history in histories.items()}
    combination = read_json(models / "meta" / "config.json")["combination"]
    results.evaluation["combination"] = parts_of(combination, data_summary["not_learned"])
    results.evaluation["probe"] = shortcut_probe(data, results.estimates["ensemble"], scoring)
    if check is not None:
        check(Claims(results.evaluation, summary(results.evaluation, seconds), trainings, results.calibration))
    write_curves(plots / "data", results)
    labels = {split: read_labels(data / "prepared", split) for split in SPLITS}
    manifest = read_manifest(data / "prepared").set_index("row")
    keys = list(results.calibration["ensemble"])
    cohorts = {split: cohort(manifest.loc[own.rows], own, keys) for split, own in labels.items()}
    test_labels = labels["test"]
    positive = (test_labels.targets > 0) & test_labels.mask
    images = open_packed(data / "packed")
    material = Material(results, data_summary, params, images, test_labels.rows, positive, cohorts)
    write_report(plots, material)
    configs = {name: read_json(member_folder(models, name) / "config.json") for name in test.members}
    write_model_card(models / "MODEL_CARD.md", material, configs)
    best = results.evaluation["comparison"]["best_base"]
    write_calibration(models / "calibration.json", results.calibration, scoring.unit, best)
    for name, content in metrics_files(trainings).items():
        write_json(metrics / f"{name}.json", content)
    write_json(metrics / "summary.json", summary(results.evaluation, seconds))
    write_json(metrics / "evaluation.json", results.evaluation)
    return results


def read_seconds(timing: Path, members: Sequence[str]) -> dict[str, float]:
    """Seconds of the training of each of `members`, of `stack_features` and of `meta`, from metrics/timing."""
    seconds = {}
    for name in (*members, "stack_features", "meta"):
        timed = name if name == "stack_features" else f"train_{name}"
        path = timing / f"{timed}.json"
        if not path.exists():
            stage = timed if name in (*OWN_FILES, timed) else f"train@{name}, or of a table read_table@{name}"
            raise InputError(f"{path}: no such file (let the stage write it: dvc repro -f {stage})")
        seconds[name] = read_json(path)["seconds"]
    return seconds
