"""The figures of the page: ROC curves with the readers as points, and every model's AUROC."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from diagxnet.reporting.drawing import DPI, FURTHER_STYLES, gray_line, handle, panels, unit_square
from diagxnet.tables.measure import COMBINED, Judged

NAMES = {"probability_mean": "Mean of probabilities", "rank_mean": "Mean of ranks", "ensemble": "Stack"}
LINES = {
    "probability_mean": {"color": "#D55E00", "linestyle": (0, (1, 1.2)), "linewidth": 1.3},
    "rank_mean": {"color": "#009E73", "linestyle": (0, (4, 1.5, 1, 1.5)), "linewidth": 1.3},
    "ensemble": {"color": "#000000", "linestyle": "solid", "linewidth": 1.7},
}
MEMBER = {"color": "#0072B2", "linestyle": "solid", "linewidth": 0.7, "alpha": 0.35}
LETTERS = 28
"""Of a name on a figure; a longer one ends in an ellipsis."""


def name_of(model: str) -> str:
    return NAMES.get(model, model)


def short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


def roc(judged: Judged) -> Figure:
    """ROC curves, a panel each finding; a reader is a point, with the 95% intervals of both his rates."""
    aligned, readers = judged.aligned, judged.evaluation["readers"]
    titles = {int(f): aligned.findings.names[f] for f in np.flatnonzero(judged.scored.scorable())}
    keys = aligned.findings.keys
    styles = {name: FURTHER_STYLES[place % len(FURTHER_STYLES)] for place, name in enumerate(readers)}

    def panel(axes: Axes, f: int) -> str:
        known = aligned.mask[:, f]
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        for model, own in zip(judged.scored.models, judged.scored.logits, strict=True):
            false_positive, true_positive, _ = roc_curve(aligned.targets[known, f], own[known, f])
            axes.plot(false_positive, true_positive, **LINES.get(model, MEMBER))
        for name, own in readers.items():
            if keys[f] in own["sensitivity"]["per_finding"]:
                _point(axes, own, keys[f], styles[name])
        unit_square(axes)
        positive = int((aligned.targets & aligned.mask)[:, f].sum())
        auroc = judged.evaluation["ensemble"]["auroc"]
        ends = auroc["ci"]["per_finding"][keys[f]]
        value = f"{auroc['per_finding'][keys[f]]:.3f} ({ends['lower']:.3f} to {ends['upper']:.3f})"
        return f"n = {int(known.sum()):,}, {positive:,} positive\nstack {value}"

    legend = [handle(name_of(model), **LINES[model]) for model in COMBINED]
    legend += [handle("members", **MEMBER | {"alpha": 0.8}), gray_line("chance")]
    legend += [
        handle(short(name), color=own["color"], marker=own["marker"], linestyle="none", markersize=6)
        for name, own in styles.items()
    ]
    x_label, y_label = "false positive rate (1 - specificity)", "true positive rate (sensitivity)"
    return panels(titles, panel, x_label, y_label, legend)


def _point(axes: Axes, reader: dict, key: str, style: dict) -> None:
    rates = [reader[name]["per_finding"][key] for name in ("specificity", "sensitivity")]
    ends = [reader[name]["ci"]["per_finding"][key] for name in ("specificity", "sensitivity")]
    false = 1 - rates[0]
    axes.errorbar(
        [false],
        [rates[1]],
        xerr=[[false - (1 - ends[0]["upper"])], [1 - ends[0]["lower"] - false]],
        yerr=[[rates[1] - ends[1]["lower"]], [ends[1]["upper"] - rates[1]]],
        color=style["color"],
        marker=style["marker"],
        markersize=7,
        markeredgecolor="white",
        elinewidth=0.9,
        zorder=5,
    )


def auroc(judged: Judged) -> Figure:
    """Macro AUROC of each model with its 95% interval."""
    figure = Figure(figsize=(9, 1.1 + 0.32 * len(judged.scored.models)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for place, model in enumerate(judged.scored.models):
        own = judged.evaluation[model]["auroc"]
        value, ends = own["macro"], own["ci"]["macro"]
        style = LINES.get(model, MEMBER)
        axes.errorbar(
            [value],
            [place],
            xerr=[[value - ends["lower"]], [ends["upper"] - value]],
            color=style["color"],
            marker="o" if model in LINES else "s",
            markersize=5,
            elinewidth=1.2,
            capsize=2,
        )
    stack = judged.evaluation["ensemble"]["auroc"]["macro"]
    axes.axvline(stack, color="0.5", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(judged.scored.models)), [short(name_of(model)) for model in judged.scored.models])
    axes.set_ylim(len(judged.scored.models) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("AUROC, mean of findings, with 95% interval; the line is the stack's")
    return figure
