"""The comparison of two runs (the workspace and a revision or experiment) on the test images that both have scored."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from diagxnet.errors import InputError
from diagxnet.evaluation.comparison import LABELS, standing
from diagxnet.evaluation.curves import precision_stairs
from diagxnet.evaluation.figures import DPI, handle, panels, render, unit_square
from diagxnet.evaluation.history import TRAININGS
from diagxnet.evaluation.metrics import mean_keys
from diagxnet.evaluation.page import Html, element, figure, page, table
from diagxnet.evaluation.report import NAMES, difference_text, flat
from diagxnet.evaluation.scored import MODELS, Scored, read_scored
from diagxnet.evaluation.uncertainty import Estimate, compare, estimate
from diagxnet.files import read_json, write_text
from diagxnet.findings import KEYS

FILES = (
    "data/prepared/manifest.csv",
    "data/prepared/labels_test.npz",
    "data/stacked/logits_test.npz",
    "metrics/summary.json",
    "models/meta/config.json",
    "models/meta/model.safetensors",
    *(f"models/{training}/training_history.json" for training in TRAININGS),
)
"""What of a run `read_run` reads, relative to the repository's root."""

STYLES = ({"color": "black", "linestyle": "solid"}, {"color": "#D55E00", "linestyle": (0, (4, 2))})
"""Of the first run and of the second."""


@dataclass(frozen=True)
class Run:
    """One run. name: for people. test: what it scored. seconds: by training. params: content of its params.yaml."""

    name: str
    test: Scored
    histories: dict[str, dict]
    seconds: dict[str, float]
    params: dict


def read_run(name: str, root: Path, params: dict, unit: str) -> Run:
    """Reads FILES under `root`; unit: `image` or `study`, what to score."""
    return Run(
        name,
        read_scored(root / "data", root / "models", "test", unit),
        {training: read_json(root / "models" / training / "training_history.json") for training in TRAININGS},
        read_json(root / "metrics/summary.json")["training_seconds"],
        params,
    )


def write_comparison(path: Path, first: Run, second: Run, *, resamples: int, seed: int) -> None:
    """Writes a page on `first` beside `second`: paired differences, curves, and the params in which they differ.

    Both are scored on the test images (or studies) that both have, with the labels of `first`. Raises InputError where
    there are none, or no finding of them has both classes.
    """
    ours, theirs = shared(first.test, second.test)
    if not ours.scorable().any():
        raise InputError(
            f"{first.name} and {second.name} share {len(ours.names):,} test images, and no finding of theirs has both "
            "a positive and a negative label (compare runs on the same data)"
        )
    estimates = [estimate(scored, resamples=resamples, seed=seed) for scored in (ours, theirs)]
    names = f"{first.name} and {second.name}"
    sizes = f"{first.name} {len(first.test.names):,}, {second.name} {len(second.test.names):,}"
    introduction = [
        element("p", f"Paired over the {len(ours.names):,} test images or studies that both have ({sizes})."),
        element(
            "p",
            "Both runs are scored with the labels of the first, and on the same resamples of patients. Choosing by "
            "these figures makes test a part of the training: do it on val.",
            class_="note",
        ),
    ]
    sections = [
        ("Models", [_models(first, second, estimates), _seconds(first, second)]),
        ("Findings", [_findings(first, second, estimates)]),
        (
            "Curves",
            [
                figure(render(roc, (first, second), (ours, theirs)), f"ROC of the ensemble, {names}."),
                figure(render(precision_recall, (first, second), (ours, theirs)), f"Precision and recall, {names}."),
            ],
        ),
        ("Training", [figure(render(learning_curves, (first, second)), f"Learning curves, {names}.")]),
        ("Params", [_params(first, second)]),
    ]
    write_text(path, page(f"{first.name} beside {second.name}", introduction, sections))


def shared(first: Scored, second: Scored) -> tuple[Scored, Scored]:
    """The units that both have, in the order of `first`, and with its labels and patients."""
    places = {name: place for place, name in enumerate(second.names)}
    common = np.array([place for place, name in enumerate(first.names) if name in places], int)
    ours = first.subset(common)
    return ours, replace(ours, logits=second.logits[:, [places[name] for name in ours.names]])


def roc(runs: tuple[Run, Run], scored: tuple[Scored, Scored]) -> Figure:
    """ROC of both ensembles, a panel each finding."""

    def curve(axes: Axes, targets: np.ndarray, scores: np.ndarray, style: dict) -> None:
        false_positive, true_positive, _ = roc_curve(targets, scores)
        axes.plot(false_positive, true_positive, linewidth=1.5, **style)

    return _curves(runs, scored, curve, "false positive rate (1 - specificity)", "true positive rate (sensitivity)")


def precision_recall(runs: tuple[Run, Run], scored: tuple[Scored, Scored]) -> Figure:
    """Precision against recall of both ensembles, a panel each finding."""

    def curve(axes: Axes, targets: np.ndarray, scores: np.ndarray, style: dict) -> None:
        recall, precision = precision_stairs(targets, scores)
        axes.step(np.append(0, recall), np.append(precision[0], precision), where="pre", linewidth=1.5, **style)

    return _curves(runs, scored, curve, "recall (sensitivity)", "precision")


def learning_curves(runs: tuple[Run, Run]) -> Figure:
    """Val loss and val AUROC of both runs, a column each training."""
    figure = Figure(figsize=(11, 5), dpi=DPI, layout="constrained")
    axes = figure.subplots(2, len(TRAININGS), squeeze=False, sharex="col")
    names = LABELS | {"meta": "Meta-learner"}
    for column, training in enumerate(TRAININGS):
        for run, style, marker in zip(runs, STYLES, "os", strict=True):
            epochs = run.histories[training]["epochs"]
            numbers = [epoch["epoch"] for epoch in epochs]
            for row, name in enumerate(("val_loss", "val_auroc")):
                axes[row, column].plot(numbers, [epoch[name] for epoch in epochs], marker=marker, ms=3.5, **style)
        images = " and ".join(f"{run.histories[training]['train_images']:,}" for run in runs)
        axes[0, column].set_title(f"{names[training]} (n = {images} training images)")
        axes[1, column].set_xlabel("epoch")
        axes[1, column].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("val loss")
    axes[1, 0].set_ylabel("macro AUROC on val")
    figure.legend(handles=_legend(runs, markers=True), loc="outside upper center", ncols=2)
    return figure


def _curves(runs: tuple[Run, Run], scored: tuple[Scored, Scored], curve, x_label: str, y_label: str) -> Figure:
    ensemble = MODELS.index("ensemble")
    positives, negatives = scored[0].counts()

    def panel(axes: Axes, finding: int) -> str:
        for each, style in zip(scored, STYLES, strict=True):
            known = each.known(finding)
            curve(axes, each.targets[known, finding], each.logits[ensemble, known, finding], style)
        unit_square(axes)
        return ""

    titles = {
        int(f): f"{NAMES[KEYS[f]]}\n(n = {positives[f] + negatives[f]:,}, {positives[f]:,} positive)"
        for f in np.flatnonzero(scored[0].scorable())
    }
    return panels(titles, panel, x_label, y_label, _legend(runs))


def _legend(runs: tuple[Run, Run], *, markers: bool = False) -> list[object]:
    marks = [{"marker": mark} if markers else {} for mark in "os"]
    return [handle(run.name, **style, **mark) for run, style, mark in zip(runs, STYLES, marks, strict=True)]


def _models(first: Run, second: Run, estimates: list) -> Html:
    rows = []
    for model in MODELS:
        for metric, label in (("auroc", "AUROC"), ("auprc", "AUPRC")):
            ours, theirs = (each[model][metric] for each in estimates)
            differences = compare(ours, theirs)
            for mean, over in (("macro", "all findings"), ("chexpert5", "five findings")):
                if mean in differences:
                    values = [f"{_mean(each, mean):.3f}" for each in (ours, theirs)]
                    rows.append((LABELS[model], label, over, *values, *_difference_cells(differences[mean])))
    header = ("Model", "Metric", "Mean of", first.name, second.name, "Difference (95% interval)", "Ahead in", "Verdict")
    return table(header, rows, text=[1, 2, len(header) - 1], caption=f"{first.name} minus {second.name}, on test.")


def _mean(estimate: Estimate, name: str) -> float:
    return float(np.mean([estimate.values[key] for key in mean_keys(estimate.values)[name]]))


def _findings(first: Run, second: Run, estimates: list) -> Html:
    ours, theirs = (each["ensemble"]["auroc"] for each in estimates)
    rows = [
        (NAMES[key], f"{ours.values[key]:.3f}", f"{theirs.values[key]:.3f}", *_difference_cells(difference))
        for key, difference in compare(ours, theirs)["per_finding"].items()
    ]
    header = ("Finding", first.name, second.name, "Difference (95% interval)", "Ahead in", "Verdict")
    return table(header, rows, text=[len(header) - 1], caption="AUROC of the ensembles, on test.")


def _difference_cells(difference: dict) -> tuple[str, str, str]:
    return difference_text(difference), f"{difference['share_ahead']:.0%}", standing(difference)


def _seconds(first: Run, second: Run) -> Html:
    rows = [(name, *(f"{run.seconds[name]:,.0f}" for run in (first, second))) for name in first.seconds]
    return table(("Training", first.name, second.name), rows, caption="Seconds.")


def _params(first: Run, second: Run) -> Html:
    ours, theirs = flat(first.params), flat(second.params)
    rows = [
        (key, ours.get(key, "not there"), theirs.get(key, "not there"))
        for key in ours | theirs
        if ours.get(key) != theirs.get(key)
    ]
    if not rows:
        return element("p", "Both runs have the same params.")
    return table(("Key", first.name, second.name), rows, text=[0, 1, 2], caption="Where the two differ.")
