"""Data of the plots that DVC draws and overlays between revisions: lists of flat records under plots/data.

learning_curves.json           model, epoch, train_loss, val_loss, val_auroc, lr of every training
auroc.json                     model, finding, auroc, lower, upper, positives, units
roc/FINDING.json               false_positive_rate and, for each model, its true positive rate
precision_recall/FINDING.json  recall, each model's precision, prevalence
reliability/{MODEL,ensemble_uncalibrated}.json  predicted, observed, count per bin, all findings together
histogram/FINDING.json         probability, share of units with and without the finding, of the ensemble
confusion/OUTCOME.json         finding, units: the ensemble's true positives and so on at Youden's threshold

dvc.yaml names files and no models: the first two hold all of them, in rows that say which.
"""

from pathlib import Path

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from diagxnet.data.files import write_json
from diagxnet.statistics.comparison import label
from diagxnet.statistics.metrics import reliability
from diagxnet.statistics.operating import OUTCOMES, confusions
from diagxnet.statistics.results import Results

POINTS = 200
"""Steps of a curve: enough that no step shows at the width of a screen."""

HISTOGRAM_BINS = 20
ENSEMBLE = -1
"""Place of the ensemble along a models axis: the last."""


def write_curves(folder: Path, results: Results) -> None:
    """Writes every file named above to `folder` and removes those of findings that have no curve any more."""
    contents: dict[str, list[dict]] = {"learning_curves": [], "auroc": []}
    for training, history in results.histories.items():
        names = ("epoch", "train_loss", "val_loss", "val_auroc", "lr")
        contents["learning_curves"] += [
            {"model": label(training)} | {name: epoch[name] for name in names} for epoch in history["epochs"]
        ]
    findings = results.test.findings
    for f in np.flatnonzero(results.test.scorable()):
        contents[f"roc/{findings.keys[f]}"] = roc_records(results, f)
        contents[f"precision_recall/{findings.keys[f]}"] = precision_recall_records(results, f)
        contents[f"histogram/{findings.keys[f]}"] = histogram_records(results, f)
    for m, model in enumerate(results.test.models):
        contents[f"reliability/{model}"] = reliability_records(results, results.calibrated[m], model)
        contents["auroc"] += auroc_records(results, model)
    contents["reliability/ensemble_uncalibrated"] = reliability_records(results, results.raw[ENSEMBLE], "ensemble")
    counts = confusions(results.test, results.calibrated[ENSEMBLE], results.calibration["ensemble"], "youden")
    for outcome in OUTCOMES:
        contents[f"confusion/{outcome}"] = [
            {"finding": findings.titles[key], "units": own[outcome]} for key, own in counts.items()
        ]
    for stale in set(folder.rglob("*.json")) - {folder / f"{name}.json" for name in contents}:
        stale.unlink()
    for name, records in contents.items():
        write_json(folder / f"{name}.json", records)


def known_scores(results: Results, finding: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Targets [units] bool of the units of test whose label of `finding` is known, and the logits [units] of each model
    that says something of it."""
    test = results.test
    known, key = test.known(finding), test.keys[finding]
    logits = zip(test.models, test.logits[:, known, finding], strict=True)
    return test.targets[known, finding], {name: own for name, own in logits if key not in test.lacks.get(name, ())}


def roc_records(results: Results, finding: int) -> list[dict]:
    """The models' curves read off at equal steps of the false positive rate, from (0, 0) on."""
    targets, scores = known_scores(results, finding)
    rates = np.linspace(0, 1, POINTS + 1)
    columns = {"false_positive_rate": np.append(0, rates)}
    for model, own in scores.items():
        false_positive, true_positive, _ = roc_curve(targets, own)
        columns[model] = np.append(0, np.interp(rates, false_positive, true_positive))  # the upper end of a rise
    return _records(columns)


def precision_stairs(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision where recall first reaches each of its values above 0: [steps], rising recall.

    Between two of them the precision is that of the higher recall, so average precision is the area of the stairs.
    """
    precision, recall, _ = precision_recall_curve(targets, scores)
    recall, first = np.unique(recall[-2::-1], return_index=True)  # from the highest score on, without the added end
    return recall[recall > 0], precision[-2::-1][first][recall > 0]


def precision_recall_records(results: Results, finding: int) -> list[dict]:
    """The models' `precision_stairs`, read off at equal steps of recall."""
    targets, scores = known_scores(results, finding)
    steps = min(int(targets.sum()), POINTS // 2)
    recalls = np.arange(1, steps + 1) / steps
    columns = {"recall": np.repeat(np.append(0, recalls), 2)[1:-1]}  # each stair from its left end to its right
    for model, own in scores.items():
        recall, precision = precision_stairs(targets, own)
        columns[model] = np.repeat(precision[np.searchsorted(recall, recalls - 1e-9)], 2)
    return _records(columns | {"prevalence": np.full(2 * steps, targets.mean())})


def reliability_records(results: Results, probability: np.ndarray, model: str) -> list[dict]:
    """Bins over all known labels of the findings with both classes; probability: [units, findings], of `model`."""
    test = results.test.of(model)
    wanted = test.mask & test.scorable()
    return _records(reliability(test.targets[wanted], probability[wanted]))


def auroc_records(results: Results, model: str) -> list[dict]:
    own = results.evaluation[model]["auroc"]
    counts = results.evaluation["counts"]
    return [
        {
            "model": label(model),
            "finding": results.test.findings.titles[key],
            "auroc": value,
            **own["ci"]["per_finding"][key],
            "positives": counts["positives"][key],
            "units": counts["positives"][key] + counts["negatives"][key],
        }
        for key, value in own["per_finding"].items()
    ]


def histogram_records(results: Results, finding: int) -> list[dict]:
    """Share of the units with and of those without the finding in bins of the ensemble's calibrated probability."""
    known = results.test.known(finding)
    targets, probability = results.test.targets[known, finding], results.calibrated[ENSEMBLE][known, finding]
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    columns = {"probability": (edges[:-1] + edges[1:]) / 2}
    for name, chosen in (("without", ~targets), ("with", targets)):
        columns[name] = np.histogram(probability[chosen], edges)[0] / chosen.sum()
    return _records(columns)


def _records(columns: dict[str, np.ndarray]) -> list[dict]:
    """One record a row; six digits, more than any screen shows."""
    rows = zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True)
    return [
        {name: round(value, 6) if isinstance(value, float) else value for name, value in zip(columns, row, strict=True)}
        for row in rows
    ]
