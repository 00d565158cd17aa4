"""The comparison of two runs (the workspace and a revision or experiment) on the test images that both have scored."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_text
from diagxnet.data.members import member_folder
from diagxnet.reporting.curves import ENSEMBLE, precision_stairs
from diagxnet.reporting.drawing import DPI, gray_line, handle, panels, render, unit_square
from diagxnet.reporting.page import Html, element, figure, page, table
from diagxnet.reporting.wording import ON_VAL, RESEARCH_ONLY, ahead_text, difference_text, flat, verdicts_text
from diagxnet.statistics.comparison import ALIKE, alike, label, verdict
from diagxnet.statistics.history import read_histories
from diagxnet.statistics.metrics import mean_keys
from diagxnet.statistics.scored import Scored, read_scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.uncertainty import Estimate, compare, estimate

FILES = (
    "data/prepared/manifest.csv",
    "data/prepared/labels_test.npz",
    "data/stacked/logits_test.npz",
    "metrics/evaluation.json",
    "metrics/summary.json",
    "models/meta/config.json",
    "models/meta/model.safetensors",
)
"""What of a run `read_run` reads, relative to the repository's root, beside the `history_files`."""

STYLES = ({"color": "black", "linestyle": "solid"}, {"color": "#D55E00", "linestyle": (0, (4, 2))})
"""Of the first run and of the second."""


NO_ROOM = "; the total holds the members', for each of which metrics/summary.json has no room"


@dataclass(frozen=True)
class Run:
    """One run. name: for people. test: what it scored. val: its macro figures on val by model, none in a run of an
    older version. seconds: by training. params: content of its params.yaml."""

    name: str
    test: Scored
    val: dict[str, dict[str, float]]
    histories: dict[str, dict]
    seconds: dict[str, float]
    params: dict


def history_files(root: Path) -> list[str]:
    """The histories of a run, of whose FILES `root` has a copy: those of its members and of its meta-learner."""
    members = read_json(root / "models/meta/config.json")["models"]
    folders = (member_folder(Path("models"), name) for name in (*members, "meta"))
    return [(folder / "training_history.json").as_posix() for folder in folders]


def read_run(name: str, root: Path, params: dict, unit: str) -> Run:
    """Reads FILES and the `history_files` under `root`; unit: `image` or `study`, what to score."""
    test = read_scored(root / "data", root / "models", "test", unit)
    evaluation = read_json(root / "metrics/evaluation.json")
    return Run(
        name,
        test,
        {
            model: {name: value for name, value in evaluation[model].get("val", {}).items() if isinstance(value, float)}
            for model in test.models  # an older version has another form, or none
        },
        read_histories(root / "models", test.members),
        read_json(root / "metrics/summary.json")["training_seconds"],
        params,
    )


def write_comparison(path: Path, first: Run, second: Run, scoring: Scoring) -> None:
    """Writes a page on `first` beside `second`: paired differences, curves, and the params in which they differ.

    Both are scored on the test images (or studies) that both have, with the labels of `first`. Raises InputError where
    the two are of different findings, share nothing, or no finding of what they share has both classes.
    """
    if first.test.findings != second.test.findings:
        ours, theirs = (", ".join(run.test.findings.names) for run in (first, second))
        raise InputError(
            f"{first.name} is of {ours}; {second.name} of {theirs} (compare runs with the same data.findings)"
        )
    ours, theirs = shared(first.test, second.test)
    units = "studies" if scoring.unit == "study" else "images"
    if not ours.scorable().any():
        raise InputError(
            f"{first.name} and {second.name} share {len(ours.names):,} test {units}, and no finding of theirs has both "
            "a positive and a negative label (compare runs on the same data)"
        )
    drawing = {"resamples": scoring.bootstrap, "seed": scoring.seed, "min_positives": scoring.min_positives}
    estimates = [estimate(scored, **drawing) for scored in (ours, theirs)]
    names = f"{first.name} and {second.name}"
    sizes = f"{first.name} {len(first.test.names):,}, {second.name} {len(second.test.names):,}"
    introduction = [
        element(
            "p",
            f"Paired over the {len(ours.names):,} test {units} of {len(set(ours.patients)):,} patients that both have "
            f"({sizes}).",
        ),
        element("p", _verdict(first, second, estimates), class_="verdict"),
        element(
            "p",
            "On test both runs are scored with the labels of the first, and on the same resamples of patients. "
            "Choosing by these figures makes test a part of the training: do it by those on val.",
            class_="note",
        ),
        element("p", RESEARCH_ONLY, class_="note"),
    ]
    titles = _titles(ours, scoring.min_positives)
    sections = [
        ("On val, to choose by", [_on_val(first, second), element("p", ON_VAL, class_="note")]),
        ("Models", [_models(first, second, estimates), *_members(first, second), _seconds(first, second)]),
        ("Findings", _findings(first, second, estimates, ours, scoring.min_positives)),
        (
            "Curves",
            [
                figure(render(roc, (first, second), (ours, theirs), titles), f"ROC of the ensemble, {names}."),
                figure(
                    render(precision_recall, (first, second), (ours, theirs), titles),
                    f"Precision and recall of the ensemble, {names}. The grey line is the prevalence.",
                ),
            ],
        ),
        ("Training", [figure(render(learning_curves, (first, second)), f"Learning curves, {names}.")]),
        ("Params", [_params(first, second)]),
    ]
    write_text(path, page(f"{first.name} beside {second.name}", introduction, sections))


def shared(first: Scored, second: Scored) -> tuple[Scored, Scored]:
    """The units that both have, in the order of `first`, and with its labels and patients, as the models that both have
    score them."""
    models = [name for name in first.models if name in second.models]
    first, second = first.only(models), second.only(models)
    places = {name: place for place, name in enumerate(second.names)}
    common = np.array([place for place, name in enumerate(first.names) if name in places], int)
    ours = first.subset(common)
    return ours, replace(ours, logits=second.logits[:, [places[name] for name in ours.names]])


def roc(runs: tuple[Run, Run], scored: tuple[Scored, Scored], titles: dict[int, str]) -> Figure:
    """ROC of both ensembles, a panel each finding of `titles`."""

    def panel(axes: Axes, finding: int) -> str:
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        for targets, scores, style in _ensembles(scored, finding):
            false_positive, true_positive, _ = roc_curve(targets, scores)
            axes.plot(false_positive, true_positive, linewidth=1.5, **style)
        unit_square(axes)
        return ""

    legend = [*_legend(runs), gray_line("chance")]
    return panels(titles, panel, "false positive rate (1 - specificity)", "true positive rate (sensitivity)", legend)


def precision_recall(runs: tuple[Run, Run], scored: tuple[Scored, Scored], titles: dict[int, str]) -> Figure:
    """Precision against recall of both ensembles, a panel each finding of `titles`, with the prevalence."""

    def panel(axes: Axes, finding: int) -> str:
        for targets, scores, style in _ensembles(scored, finding):
            recall, precision = precision_stairs(targets, scores)
            axes.step(np.append(0, recall), np.append(precision[0], precision), where="pre", linewidth=1.5, **style)
        axes.axhline(targets.mean(), color="0.6", linewidth=0.8, zorder=1)
        unit_square(axes)
        return ""

    return panels(titles, panel, "recall (sensitivity)", "precision", [*_legend(runs), gray_line("prevalence")])


def learning_curves(runs: tuple[Run, Run]) -> Figure:
    """Val loss and val AUROC of both runs, a column each training that both have."""
    first, second = (run.histories for run in runs)
    trainings = [name for name in first if name in second]
    figure = Figure(figsize=(max(11, 11 / 3 * len(trainings)), 5), dpi=DPI, layout="constrained")
    axes = figure.subplots(2, len(trainings), squeeze=False, sharex="col")
    for column, training in enumerate(trainings):
        for run, style, marker in zip(runs, STYLES, "os", strict=True):
            epochs = run.histories[training]["epochs"]
            numbers = [epoch["epoch"] for epoch in epochs]
            for row, name in enumerate(("val_loss", "val_auroc")):
                axes[row, column].plot(numbers, [epoch[name] for epoch in epochs], marker=marker, ms=3.5, **style)
        images = " and ".join(f"{run.histories[training]['train_images']:,}" for run in runs)
        axes[0, column].set_title(f"{label(training)} (n = {images} training images)")
        axes[1, column].set_xlabel("epoch")
        axes[1, column].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("val loss")
    axes[1, 0].set_ylabel("macro AUROC on val")
    figure.legend(handles=_legend(runs, markers=True), loc="outside upper left", ncols=2)
    return figure


def _ensembles(scored: tuple[Scored, Scored], finding: int) -> list[tuple[np.ndarray, np.ndarray, dict]]:
    """Targets, logits of the ensemble and line style of each run, for the units whose label of `finding` is known."""
    return [
        (each.targets[each.known(finding), finding], each.logits[ENSEMBLE, each.known(finding), finding], style)
        for each, style in zip(scored, STYLES, strict=True)
    ]


def _titles(scored: Scored, min_positives: int) -> dict[int, str]:
    """A title for each finding with both classes, by its column."""
    positives, negatives = scored.counts()
    return {
        int(
            f
        ): f"{_starred(scored, f, min_positives)}\n(n = {positives[f] + negatives[f]:,}, {positives[f]:,} positive)"
        for f in np.flatnonzero(scored.scorable())
    }


def _starred(scored: Scored, finding: int, min_positives: int) -> str:
    name = scored.findings.names[finding]
    return name if scored.enough(min_positives)[finding] else f"{name} *"


def _legend(runs: tuple[Run, Run], *, markers: bool = False) -> list[object]:
    marks = [{"marker": mark} if markers else {} for mark in "os"]
    return [handle(run.name, **style, **mark) for run, style, mark in zip(runs, STYLES, marks, strict=True)]


def _models(first: Run, second: Run, estimates: list) -> Html:
    rows = []
    for model in estimates[0]:
        for metric, called in (("auroc", "AUROC"), ("auprc", "AUPRC")):
            ours, theirs = (each[model][metric] for each in estimates)
            differences = compare(ours, theirs)
            for mean, over in (("macro", "all findings"), ("chexpert5", "five findings")):
                if mean in differences:
                    values = [f"{_mean(each, mean):.3f}" for each in (ours, theirs)]
                    own = differences[mean]
                    rows.append((label(model), called, over, *values, *_difference_cells(own), verdict(own)))
    header = ("Model", "Metric", "Mean of", first.name, second.name, "Difference (95% interval)", "Ahead in", "Verdict")
    return table(header, rows, text=[1, 2, len(header) - 1], caption=f"{first.name} minus {second.name}, on test.")


def _on_val(first: Run, second: Run) -> Html:
    """Macro figures on val of the models that both have."""
    rows = []
    for model in (name for name in first.test.models if name in second.test.models):
        for name in ("auroc", "auprc"):
            values = [run.val[model].get(name) for run in (first, second)]
            cells = ["none" if value is None else f"{value:.4f}" for value in values]
            difference = "" if None in values else f"{values[0] - values[1]:+.4f}"
            rows.append((label(model), name.upper(), *cells, difference))
    header = ("Model", "Metric", first.name, second.name, "Difference")
    return table(header, rows, text=[1], caption=f"Means over the findings; {first.name} minus {second.name}.")


def _mean(estimate: Estimate, name: str) -> float:
    return float(np.mean([estimate.values[key] for key in mean_keys(estimate.headline)[name]]))


def _verdict(first: Run, second: Run, estimates: list) -> str:
    difference = compare(*(each["ensemble"]["auroc"] for each in estimates))["macro"]
    words = {
        "better": f"The ensemble of {first.name} is better than that of {second.name}",
        "worse": f"The ensemble of {first.name} is worse than that of {second.name}",
        "not distinguishable": f"The ensembles of {first.name} and {second.name} are not distinguishable on this test "
        "set",
    }[verdict(difference)]
    if alike(difference):
        return f"{words}: {ALIKE}."
    return (
        f"{words}: macro AUROC {difference_text(difference)}, 95% interval in brackets; ahead in "
        f"{difference['share_ahead']:.0%} of resamples of patients."
    )


def _findings(first: Run, second: Run, estimates: list, scored: Scored, min_positives: int) -> list[Html]:
    positives, negatives = scored.counts()
    header = ("Finding", "n", "Positive", first.name, second.name, "Difference (95% interval)", "Ahead in", "Verdict")
    parts = []
    for metric, called in (("auroc", "AUROC"), ("auprc", "AUPRC")):
        ours, theirs = (each["ensemble"][metric] for each in estimates)
        rows = []
        differences = compare(ours, theirs)["per_finding"]
        for key, difference in differences.items():
            f = scored.keys.index(key)
            values = (f"{ours.values[key]:.3f}", f"{theirs.values[key]:.3f}")
            counts = (f"{positives[f] + negatives[f]:,}", f"{positives[f]:,}")
            word = difference.get("verdict", "too few")
            rows.append((_starred(scored, f, min_positives), *counts, *values, *_difference_cells(difference), word))
        parts.append(table(header, rows, text=[len(header) - 1], caption=f"{called} of the ensembles, on test."))
        parts.append(element("p", f"{called}: {verdicts_text(first.name, second.name, differences)}"))
    if any("*" in title for title in _titles(scored, min_positives).values()):
        text = (
            f"* fewer than {min_positives} positives or negatives, or of a single patient: left out of means and "
            "verdicts where others are not. Take their figures as rough."
        )
        parts.append(element("p", text, class_="note"))
    return parts


def _difference_cells(difference: dict) -> tuple[str, str]:
    return difference_text(difference), ahead_text(difference)


def _members(first: Run, second: Run) -> list[Html]:
    """Which base models one run has and the other lacks."""
    lines = []
    for run, other in ((first, second), (second, first)):
        if own := [label(name) for name in run.test.members if name not in other.test.members]:
            lines.append(element("p", f"Base models that {run.name} alone has: {', '.join(own)}.", class_="note"))
    return lines


def _seconds(first: Run, second: Run) -> Html:
    rows = [
        (name, *(seconds_text(run.seconds[name]) if name in run.seconds else "none" for run in (first, second)))
        for name in first.seconds | second.seconds
    ]
    left_out = "" if any(run.test.members[0] in run.seconds for run in (first, second)) else NO_ROOM
    return table(("Training", first.name, second.name), rows, caption=f"Seconds{left_out}.")


def seconds_text(seconds: float) -> str:
    return f"{seconds:,.{0 if seconds >= 10 else 1}f}"


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
