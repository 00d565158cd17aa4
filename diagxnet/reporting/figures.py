"""The figures, as PNG files whose bytes depend on the results alone.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; line styles, markers and hatches say the same in
grey. Each panel states its n.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import binomtest
from sklearn.metrics import roc_curve

from diagxnet.data.files import replacing
from diagxnet.data.findings import FINDINGS, KEYS
from diagxnet.reporting.curves import ENSEMBLE, HISTOGRAM_BINS, OUTCOMES, known_scores, precision_stairs
from diagxnet.statistics.comparison import label
from diagxnet.statistics.metrics import confusions, reliability
from diagxnet.statistics.results import Results
from diagxnet.statistics.subgroups import listed

SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "path.simplify": True,
}
STYLES = {
    "densenet": {"color": "#0072B2", "linestyle": (0, (5, 2)), "marker": "s", "markerfacecolor": "#0072B2"},
    "vit": {"color": "#D55E00", "linestyle": (0, (1, 1.2)), "marker": "^", "markerfacecolor": "white"},
    "average": {"color": "#009E73", "linestyle": (0, (4, 1.5, 1, 1.5)), "marker": "D", "markerfacecolor": "white"},
    "ensemble": {"color": "#000000", "linestyle": "solid", "marker": "o", "markerfacecolor": "black"},
}
FURTHER_STYLES = (
    {"color": "#A0569A", "linestyle": (0, (7, 1.5)), "marker": "v", "markerfacecolor": "#A0569A"},
    {"color": "#8A6100", "linestyle": (0, (3, 1, 1, 1, 1, 1)), "marker": "P", "markerfacecolor": "white"},
    {"color": "#1A7A94", "linestyle": (0, (2, 2)), "marker": "X", "markerfacecolor": "#1A7A94"},
    {"color": "#6B6B6B", "linestyle": (0, (8, 1.5, 2, 1.5)), "marker": "p", "markerfacecolor": "white"},
    {"color": "#A33A3A", "linestyle": (0, (1, 3)), "marker": "<", "markerfacecolor": "#A33A3A"},
    {"color": "#46712B", "linestyle": (0, (6, 3, 1, 3)), "marker": ">", "markerfacecolor": "white"},
)
"""Of members beyond the first two, in their order; the seventh has the first one's again."""

OUTCOME_STYLES = {
    "true_positive": {"facecolor": "#0072B2", "hatch": ""},
    "false_negative": {"facecolor": "#E69F00", "hatch": "////"},
    "false_positive": {"facecolor": "#D55E00", "hatch": "xxxx"},
    "true_negative": {"facecolor": "#D9D9D9", "hatch": ""},
}
COLUMNS = 5
DPI = 110


def render(make: Callable[..., Figure], *arguments: object) -> bytes:
    """`make(*arguments)` as PNG, under this module's settings whatever a user's matplotlibrc says.

    It carries neither the date nor the program's version, so that equal figures are equal bytes.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        buffer = io.BytesIO()
        FigureCanvasAgg(make(*arguments)).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def learning_curves(histories: dict[str, dict]) -> Figure:
    """A column each training: losses, val AUROC, learning rate, against the epoch; the saved epoch is marked."""
    figure = Figure(figsize=(max(11, 11 / 3 * len(histories)), 7.2), dpi=DPI, layout="constrained")
    axes = figure.subplots(3, len(histories), squeeze=False, sharex="col")
    for column, (training, history) in enumerate(histories.items()):
        epochs = history["epochs"]
        numbers = [epoch["epoch"] for epoch in epochs]
        losses, val, rates = axes[:, column]
        losses.plot(
            numbers, [epoch["train_loss"] for epoch in epochs], "s--", color="#0072B2", ms=3.5, label="training"
        )
        losses.plot(numbers, [epoch["val_loss"] for epoch in epochs], "o-", color="black", ms=3.5, label="val")
        val.plot(numbers, [epoch["val_auroc"] for epoch in epochs], "o-", color="black", ms=3.5)
        rates.step(numbers, [epoch["lr"] for epoch in epochs], "k-", where="mid")
        rates.set_yscale("log")
        rates.set_xlabel("epoch")
        rates.xaxis.get_major_locator().set_params(integer=True)
        for each in (losses, val, rates):
            each.axvline(history["best_epoch"], color="#D55E00", linestyle=":", zorder=0)
        stopped = ", stopped early" if history["stopped_early"] else ""
        losses.set_title(
            f"{label(training)} (n = {history['train_images']:,} training images)\n"
            f"best epoch {history['best_epoch']} of {len(epochs)}{stopped} (dotted)"
        )
        if column == 0:
            for each, quantity in zip(axes[:, 0], ("loss", "macro AUROC on val", "learning rate"), strict=True):
                each.set_ylabel(quantity)
    axes[0, 0].legend()
    return figure


def roc(results: Results) -> Figure:
    """ROC of every model, a panel each finding."""

    def panel(axes: Axes, finding: int) -> str:
        targets, scores = known_scores(results, finding)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        for model, own in zip(results.test.models, scores, strict=True):
            false_positive, true_positive, _ = roc_curve(targets, own)
            axes.plot(false_positive, true_positive, **_line(results, model))
        unit_square(axes)
        return f"ensemble {_value(results, 'auroc', finding)}"

    return _finding_panels(
        results,
        panel,
        "false positive rate (1 - specificity)",
        "true positive rate (sensitivity)",
        [*_lines(results), gray_line("chance")],
    )


def precision_recall(results: Results) -> Figure:
    """Precision against recall of every model, a panel each finding, with the prevalence that it must beat."""

    def panel(axes: Axes, finding: int) -> str:
        targets, scores = known_scores(results, finding)
        axes.axhline(targets.mean(), color="0.6", linewidth=0.8)
        for model, own in zip(results.test.models, scores, strict=True):
            recall, precision = precision_stairs(targets, own)
            axes.step(np.append(0, recall), np.append(precision[0], precision), where="pre", **_line(results, model))
        unit_square(axes)
        return f"ensemble {_value(results, 'auprc', finding)}"

    legend = [*_lines(results), gray_line("prevalence")]
    return _finding_panels(results, panel, "recall (sensitivity)", "precision", legend)


def auroc_per_finding(results: Results) -> Figure:
    """AUROC of every model and finding with its 95% interval, beside chance; findings with few of one class starred."""
    keys, models = list(results.evaluation["ensemble"]["auroc"]["per_finding"]), results.test.models
    height = 0.62 * max(1, len(models) / 4)  # inches for a finding
    figure = Figure(figsize=(9, 1.6 + height * (len(keys) + 1)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.axvline(0.5, color="0.4", linewidth=0.8, zorder=1)
    axes.axhspan(-0.5, 0.5, color="0.94", linewidth=0, zorder=0)
    for offset, model in enumerate(models):
        own = results.evaluation[model]["auroc"]
        values = np.array([own["macro"], *own["per_finding"].values()])
        intervals = [own["ci"]["macro"], *own["ci"]["per_finding"].values()]
        bounds = np.array([[interval["lower"], interval["upper"]] for interval in intervals])
        axes.errorbar(
            values,
            np.arange(len(values)) + 0.8 / len(models) * (offset - (len(models) - 1) / 2),
            xerr=[values - bounds[:, 0], bounds[:, 1] - values],
            **model_styles(results.test.members)[model] | {"linestyle": "none"},
            elinewidth=1.1,
            capsize=2,
            markersize=5,
            label=label(model),
        )
    axes.set_yticks(range(len(keys) + 1), ["Mean of findings", *(_title(results, key, "\n") for key in keys)])
    axes.set_ylim(len(keys) + 0.5, -0.5)
    axes.set_yticks(np.arange(len(keys)) + 0.5, minor=True)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="y", which="minor")
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -0.01), min(high, 1.01))
    axes.set_xlabel("AUROC with 95% interval; the vertical line is chance (0.5)")
    axes.set_title(_population(results), loc="left")
    figure.legend(loc="outside upper left", ncols=min(len(models), 5))
    return figure


def reliability_diagrams(results: Results) -> Figure:
    """Observed share of positives against the ensemble's probability, before and after calibration, by finding."""

    def panel(axes: Axes, finding: int) -> str:
        known = results.test.known(finding)
        targets = results.test.targets[known, finding]
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        series = ((results.raw, "s", "#D55E00", (0, (5, 2)), "white"), (results.calibrated, "o", "black", "-", "black"))
        for values, marker, color, line, face in series:
            bins = reliability(targets, values[ENSEMBLE][known, finding])
            axes.plot(bins["predicted"], bins["observed"], color=color, linestyle=line, linewidth=0.9)
            sizes = 6 + 70 * bins["count"] / len(targets)
            axes.scatter(
                bins["predicted"], bins["observed"], sizes, marker=marker, facecolors=face, edgecolors=color, zorder=3
            )
        axes.vlines(bins["predicted"], *wilson(bins), color="black", linewidth=0.8)
        error = results.evaluation["ensemble"]["ece"]
        before, after = error["uncalibrated"]["per_finding"][KEYS[finding]], error["per_finding"][KEYS[finding]]
        unit_square(axes)
        return f"ECE {before:.3f} before, {after:.3f} after"

    legend = [
        handle(
            "ensemble, sigmoid of its logits",
            color="#D55E00",
            linestyle=(0, (5, 2)),
            marker="s",
            markerfacecolor="white",
        ),
        handle("ensemble, calibrated on val", color="black", marker="o"),
        handle("its 95% interval", color="black", linestyle="none", marker="|", markersize=9),
        gray_line("perfect calibration"),
    ]
    return _finding_panels(
        results, panel, "predicted probability (mean of a bin)", "observed share of positives", legend
    )


def score_histograms(results: Results) -> Figure:
    """The ensemble's calibrated probability in units with and without each finding, and Youden's threshold."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)

    def panel(axes: Axes, finding: int) -> str:
        known = results.test.known(finding)
        targets, probability = results.test.targets[known, finding], results.calibrated[ENSEMBLE][known, finding]
        shares = [np.histogram(probability[chosen], edges)[0] / chosen.sum() for chosen in (~targets, targets)]
        axes.stairs(shares[0], edges, fill=True, color="0.8")
        axes.stairs(shares[1], edges, color="black", linewidth=1.3, hatch="////", facecolor="none")
        cuts = results.calibration["ensemble"][KEYS[finding]].thresholds
        if cuts is not None:
            axes.axvline(cuts["youden"], color="#D55E00", linestyle=":", linewidth=1.5)
        axes.set_xlim(0, 1)
        return ""

    legend = [
        Patch(facecolor="0.8", label="without the finding"),
        Patch(facecolor="none", edgecolor="black", hatch="////", label="with the finding"),
        handle("Youden's threshold, from val", color="#D55E00", linestyle=":"),
    ]
    return _finding_panels(results, panel, "ensemble's calibrated probability", "share of the class", legend)


def confusion_counts(results: Results) -> Figure:
    """The ensemble's confusion counts at Youden's threshold, by finding."""
    counts = confusions(results.test, results.calibrated[ENSEMBLE], results.calibration["ensemble"], "youden")
    figure = Figure(figsize=(9, 1.5 + 0.36 * max(len(counts), 1)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for row, own in enumerate(counts.values()):
        start, total = 0.0, sum(own.values())
        for outcome in ("true_positive", "false_negative", "false_positive", "true_negative"):
            share = own[outcome] / total
            axes.barh(row, share, left=start, height=0.72, edgecolor="white", **OUTCOME_STYLES[outcome])
            if share > 0.025:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
                axes.text(start + share / 2, row, f"{own[outcome]:,}", ha="center", va="center", fontsize=7.5, bbox=box)
            start += share
    axes.set_yticks(range(len(counts)), [_title(results, key, " ") for key in counts])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the known; numbers are counts (shares up to 2.5% go without)")
    axes.grid(visible=False)
    axes.set_title(_population(results), loc="left")
    handles = [
        Patch(label=name.replace("_", " "), edgecolor="white", **style) for name, style in OUTCOME_STYLES.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(OUTCOMES))
    return figure


def subgroup_intervals(results: Results) -> Figure:
    """The ensemble's macro AUROC by group with its interval, beside that of everyone over the same findings.

    A group in which no finding can be scored has a line as well, which says so.
    """
    groups = listed(results.evaluation, "ensemble")
    figure = Figure(figsize=(9, 1.5 + 0.36 * len(groups)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    labels = []
    for row, (attribute, group, entry, too_small) in enumerate(groups):
        count = entry.get("findings", 0)
        scored = f"{count} finding{'s' * (count != 1)}" if entry else "too small to be scored"
        size = f"n = {(entry or too_small)['units']:,}; {scored}"
        labels.append(f"{attribute}: {group.replace('_', ' ')} ({size})")
        if entry:
            value, interval = entry["auroc"]["macro"], entry["auroc"]["ci"]["macro"]
            axes.plot([interval["lower"], interval["upper"]], [row, row], color="black", linewidth=1.4)
            axes.plot(value, row, "o", color="black", markersize=5)
            axes.plot(entry["everyone"], row, "D", color="#D55E00", markersize=7, markerfacecolor="none")
    axes.set_yticks(range(len(groups)), labels)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean AUROC over the findings with enough of both classes in the group")
    axes.set_title(_population(results).partition(";")[0], loc="left")
    handles = [
        handle("the group, with 95% interval", color="black", marker="o"),
        handle("everyone, same findings", color="#D55E00", marker="D", markerfacecolor="none", linestyle="none"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def examples(targets: np.ndarray) -> list[tuple[str, int]]:
    """What `contact_sheet` shows, as (title, number of the image): for each finding the one that has it and the fewest
    others, then the first with none. targets: [images, findings] bool."""
    others = np.where(
        targets, targets.sum(axis=1, keepdims=True), len(FINDINGS) + 1
    )  # where the finding is absent: more
    chosen = [(FINDINGS[f], int(others[:, f].argmin())) for f in range(len(FINDINGS)) if targets[:, f].any()]
    if not targets.any(axis=1).all():
        chosen.append(("no label positive", int(np.argmin(targets.any(axis=1)))))
    return chosen


def contact_sheet(images: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> Figure:
    """The `examples` as the models see them, with what else they show.

    images: [all images, size, size] uint8. rows: [images] rows of `images`. targets: [images, findings] bool.
    """
    chosen = examples(targets)
    columns = 5
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(11, 2.75 * lines + 0.3), dpi=DPI, layout="constrained")
    for position, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
        axes.set_axis_off()
        if position < len(chosen):
            title, image = chosen[position]
            axes.imshow(images[rows[image]], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            own = [FINDINGS[f] for f in np.flatnonzero(targets[image])]
            axes.set_title(f"{title}\n", fontweight="bold", pad=2)
            besides = [finding for finding in own if finding != title]
            note = axes.text(0.5, 1.015, _wrapped(besides), transform=axes.transAxes, ha="center", fontsize=6.5)
            note.set_in_layout(False)
    figure.suptitle(
        f"n = {len(rows):,} test images; of each finding the one with the fewest others, named below", fontsize=10
    )
    return figure


FIGURES: dict[str, Callable[[Results], Figure]] = {
    "auroc_per_finding": auroc_per_finding,
    "roc": roc,
    "precision_recall": precision_recall,
    "reliability": reliability_diagrams,
    "score_histograms": score_histograms,
    "confusion": confusion_counts,
    "subgroups": subgroup_intervals,
}
"""Figures that are drawn from the results alone, by file name."""


def write_figures(folder: Path, results: Results, images: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> None:
    """Writes every figure to `folder` as PNG; the last arguments are `contact_sheet`'s."""
    write_bytes(folder / "learning_curves.png", render(learning_curves, results.histories))
    for name, make in FIGURES.items():
        write_bytes(folder / f"{name}.png", render(make, results))
    write_bytes(folder / "contact_sheet.png", render(contact_sheet, images, rows, targets))


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def panels(
    titles: dict[int, str], panel: Callable[[Axes, int], str], x_label: str, y_label: str, legend: Iterable[object]
) -> Figure:
    """A panel each finding. titles: by column of the findings. panel: draws one and returns its title's last line."""
    lines = -(-len(titles) // COLUMNS)
    figure = Figure(figsize=(13.5, 0.9 + 2.9 * lines), dpi=DPI, layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes in grid.flat[len(titles) :]:
        axes.set_axis_off()
    for axes, (finding, title) in zip(grid.flat, titles.items(), strict=False):
        note = panel(axes, finding)
        axes.set_title(f"{title}\n{note}" if note else title)
    figure.supxlabel(x_label, fontsize=10)
    figure.supylabel(y_label, fontsize=10)
    figure.legend(handles=list(legend), loc="outside upper left", ncols=5)
    return figure


def unit_square(axes: Axes) -> None:
    """Equal axes from 0 to 1."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xticks([0, 0.5, 1])
    axes.set_yticks([0, 0.5, 1])


def handle(text: str, **style: object) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], label=text, **style)


def _finding_panels(
    results: Results, panel: Callable[[Axes, int], str], x_label: str, y_label: str, legend: Iterable[object]
) -> Figure:
    titles = {int(f): _title(results, KEYS[f], "\n") for f in np.flatnonzero(results.test.scorable())}
    star = "; * few of one class" if results.evaluation["few"] else ""
    return panels(titles, panel, x_label + star, y_label, legend)


def _title(results: Results, key: str, between: str) -> str:
    counts = results.evaluation["counts"]
    positives, negatives = counts["positives"][key], counts["negatives"][key]
    star = " *" if key in results.evaluation["few"] else ""
    return f"{FINDINGS[KEYS.index(key)]}{star}{between}(n = {positives + negatives:,}, {positives:,} positive)"


def _population(results: Results) -> str:
    counts = results.evaluation["counts"]
    star = "; * few of one class" if results.evaluation["few"] else ""
    units = "studies" if results.unit == "study" else "images"
    return f"n = {counts['units']:,} {units} of {counts['patients']:,} patients{star}"


def _value(results: Results, metric: str, finding: int) -> str:
    value = results.evaluation["ensemble"][metric]["per_finding"][KEYS[finding]]
    interval = results.evaluation["ensemble"][metric]["ci"]["per_finding"][KEYS[finding]]
    return f"{value:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})"


def wilson(bins: dict[str, np.ndarray]) -> np.ndarray:
    """Lower and upper ends [2, bins] of Wilson's 95% interval of each bin's observed share; bins: `reliability`'s."""
    found = np.round(bins["observed"] * bins["count"]).astype(int)
    intervals = [
        binomtest(k, n).proportion_ci(method="wilson")
        for k, n in zip(found.tolist(), bins["count"].tolist(), strict=True)
    ]
    return np.array([(interval.low, interval.high) for interval in intervals]).T


def model_styles(members: Sequence[str]) -> dict[str, dict]:
    """How each model is drawn; members: those of the run."""
    further = (name for name in members if name not in STYLES)
    return STYLES | dict(zip(further, cycle(FURTHER_STYLES), strict=False))


def _line(results: Results, model: str) -> dict[str, object]:
    style = model_styles(results.test.members)[model]
    width = 1.7 if model == "ensemble" else 1.2
    return {"color": style["color"], "linestyle": style["linestyle"], "linewidth": width}


def _lines(results: Results) -> list[object]:
    return [handle(label(model), **_line(results, model)) for model in results.test.models]


def gray_line(text: str) -> Line2D:
    """An entry of a legend for the grey line of what no skill, or a perfect fit, would give."""
    return handle(text, color="0.6", linewidth=0.8)


def _wrapped(names: list[str]) -> str:
    if len(names) > 2:
        return f"{names[0]}, {names[1]} + {len(names) - 2}"
    return ", ".join(names)
