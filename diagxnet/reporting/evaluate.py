"""The evaluation: reads what the other stages left, measures, and writes metrics, calibration and plots."""

from collections.abc import Callable
from pathlib import Path

from diagxnet.audit.checks import Claims
from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_labels
from diagxnet.ensemble.calibration import write_calibration
from diagxnet.reporting.curves import write_curves
from diagxnet.reporting.figures import write_figures
from diagxnet.reporting.model_card import write_model_card
from diagxnet.reporting.parts import parts_of
from diagxnet.reporting.report import write_report
from diagxnet.statistics.history import TRAININGS, training_metrics
from diagxnet.statistics.results import Results, measure, summary
from diagxnet.statistics.scored import read_scored

TIMED = ("train_densenet", "train_vit", "stack_features", "train_meta")


def evaluate(
    *,
    data: Path,
    models: Path,
    metrics: Path,
    plots: Path,
    params: dict,
    unit: str,
    bootstrap: int,
    min_positives: int,
    seed: int,
    check: Callable[[Claims], object] | None = None,
) -> Results:
    """Writes evaluation.json, summary.json and a file for each training to `metrics`, calibration.json and
    MODEL_CARD.md to `models`, and `plots`.

    data: folder of packed, prepared and stacked. params: content of params.yaml, for the report. unit: `image` or
    `study`. bootstrap: resamples of patients. min_positives: see `measure`. seed: of the resamples. check: is given all
    figures before anything is written, and raises InputError where they must not be (see `evaluation.audit`).
    """
    audit = read_json(data / "prepared" / "summary.json")
    histories = {name: read_json(models / name / "training_history.json") for name in TRAININGS}
    seconds = read_seconds(metrics / "timing")
    results = measure(
        read_scored(data, models, "val", unit),
        read_scored(data, models, "test", unit),
        histories,
        unit=unit,
        studies=audit["splits"]["test"]["studies"],
        dropped=audit["dropped"]["images"],
        bootstrap=bootstrap,
        min_positives=min_positives,
        seed=seed,
    )
    results.evaluation["combination"] = parts_of(read_json(models / "meta" / "config.json")["combination"])
    if check is not None:
        trainings = {name: training_metrics(history) for name, history in histories.items()}
        check(Claims(results.evaluation, summary(results.evaluation, seconds), trainings, results.calibration))
    write_curves(plots / "data", results)
    labels = read_labels(data / "prepared", "test")
    write_figures(plots, results, open_packed(data / "packed"), labels.rows, (labels.targets > 0) & labels.mask)
    write_report(plots / "report.html", results, audit, params, plots)
    configs = {name: read_json(models / name / "config.json") for name in TRAININGS}
    write_model_card(models / "MODEL_CARD.md", results, audit, params, configs)
    write_calibration(models / "calibration.json", results.calibration, unit)
    for name, history in histories.items():
        write_json(metrics / f"{name}.json", training_metrics(history))
    write_json(metrics / "summary.json", summary(results.evaluation, seconds))
    write_json(metrics / "evaluation.json", results.evaluation)
    return results


def read_seconds(timing: Path) -> dict[str, float]:
    """Seconds of each training stage, from metrics/timing."""
    seconds = {}
    for stage in TIMED:
        path = timing / f"{stage}.json"
        if not path.exists():
            raise InputError(f"{path}: no such file (let the stage write it: dvc repro -f {stage})")
        seconds[stage.removeprefix("train_")] = read_json(path)["seconds"]
    return seconds
