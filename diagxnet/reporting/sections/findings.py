"""AUROC and AUPRC of each finding, with their curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from diagxnet.ensemble.calibration import not_learned
from diagxnet.reporting.curves import known_scores, precision_stairs
from diagxnet.reporting.drawing import (
    DPI,
    finding_panels,
    finding_title,
    gray_line,
    model_line,
    model_lines,
    model_styles,
    population,
    unit_square,
)
from diagxnet.reporting.page import Html, element, table
from diagxnet.reporting.section import Drawing, Material, Section
from diagxnet.reporting.wording import (
    PROBE,
    counts_text,
    difference_text,
    not_learned_text,
    starred,
    verdicts_text,
)
from diagxnet.statistics.comparison import label, models_of
from diagxnet.statistics.results import Results


def _findings(evaluation: dict, unknown: Sequence[str]) -> list[Html]:
    """unknown: keys of the findings that were not learned."""
    counts, comparison = evaluation["counts"], evaluation["comparison"]
    best = comparison["ensemble_minus_best_base"]["auroc"]["per_finding"]
    rows, precision_rows = [], []
    for key, value in evaluation["ensemble"]["auroc"]["per_finding"].items():
        interval = evaluation["ensemble"]["auroc"]["ci"]["per_finding"][key]
        others = [_plain(each, key) for each in _beside(evaluation, "auroc")]
        rows.append(
            (
                starred(evaluation, key),
                f"{counts['positives'][key]:,} of {counts['positives'][key] + counts['negatives'][key]:,}",
                *others,
                f"{value:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})",
                difference_text(best[key]),
                best[key].get("verdict", "too few"),
            )
        )
        own = evaluation["ensemble"]["auprc"]
        interval = own["ci"]["per_finding"][key]
        precision_rows.append(
            (
                starred(evaluation, key),
                f"{own['prevalence']['per_finding'][key]:.3f}",
                *(_plain(each, key) for each in _beside(evaluation, "auprc")),
                f"{own['per_finding'][key]:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})",
            )
        )
    names = [*(label(model) for model in models_of(evaluation)[:-1]), *([PROBE] if "probe" in evaluation else [])]
    header = ("Finding", "Positive", *names, "Ensemble (95% interval)", "Ensemble - best base", "Verdict")
    parts = [
        table(header, rows, caption="AUROC on test.", text=[len(header) - 1]),
        element("p", verdicts_text("The ensemble", label(comparison["best_base"]), best)),
        table(("Finding", "Prevalence", *names, "Ensemble (95% interval)"), precision_rows, caption="AUPRC on test."),
    ]
    if evaluation["few"]:
        parts.append(
            element(
                "p",
                f"* few of one class: {counts_text(evaluation, evaluation['few'])}. Take their figures as rough.",
                class_="note",
            )
        )
    if evaluation["one_class"]["test"]:
        text = (
            f"Not scored, because test has one class only: {counts_text(evaluation, evaluation['one_class']['test'])}."
        )
        parts.append(element("p", text, class_="note"))
    if unknown:
        parts.append(element("p", not_learned_text(evaluation, unknown), class_="note"))
    return parts


def _beside(evaluation: dict, metric: str) -> list[dict]:
    """A metric of the models but the ensemble, and of the shortcut probe where there is one."""
    probe = [evaluation["probe"]["shortcuts"][metric]] if "probe" in evaluation else []
    return [*(evaluation[model][metric] for model in models_of(evaluation)[:-1]), *probe]


def _plain(metric: dict, key: str) -> str:
    """A finding's figure; `none` of a model that says nothing of it."""
    return f"{metric['per_finding'][key]:.3f}" if key in metric["per_finding"] else "none"


def auroc_per_finding(material: Material) -> Figure:
    """AUROC of every model and finding with its 95% interval, beside chance; findings with few of one class starred."""
    results = material.results
    keys, models = list(results.evaluation["ensemble"]["auroc"]["per_finding"]), results.test.models
    height = 0.62 * max(1, len(models) / 4)  # inches for a finding
    figure = Figure(figsize=(9, 1.6 + height * (len(keys) + 1)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.axvline(0.5, color="0.4", linewidth=0.8, zorder=1)
    axes.axhspan(-0.5, 0.5, color="0.94", linewidth=0, zorder=0)
    for offset, model in enumerate(models):
        own = results.evaluation[model]["auroc"]
        places = [0, *(1 + keys.index(key) for key in own["per_finding"])]
        values = np.array([own["macro"], *own["per_finding"].values()])
        intervals = [own["ci"]["macro"], *own["ci"]["per_finding"].values()]
        bounds = np.array([[interval["lower"], interval["upper"]] for interval in intervals])
        axes.errorbar(
            values,
            np.array(places) + 0.8 / len(models) * (offset - (len(models) - 1) / 2),
            xerr=[values - bounds[:, 0], bounds[:, 1] - values],
            **model_styles(results.test.members)[model] | {"linestyle": "none"},
            elinewidth=1.1,
            capsize=2,
            markersize=5,
            label=label(model),
        )
    axes.set_yticks(range(len(keys) + 1), ["Mean of findings", *(finding_title(results, key, "\n") for key in keys)])
    axes.set_ylim(len(keys) + 0.5, -0.5)
    axes.set_yticks(np.arange(len(keys)) + 0.5, minor=True)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="y", which="minor")
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -0.01), min(high, 1.01))
    axes.set_xlabel("AUROC with 95% interval; the vertical line is chance (0.5)")
    axes.set_title(population(results), loc="left")
    figure.legend(loc="outside upper left", ncols=min(len(models), 5))
    return figure


def roc(material: Material) -> Figure:
    """ROC of every model, a panel each finding."""
    results = material.results

    def panel(axes: Axes, finding: int) -> str:
        targets, scores = known_scores(results, finding)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        for model, own in scores.items():
            false_positive, true_positive, _ = roc_curve(targets, own)
            axes.plot(false_positive, true_positive, **model_line(results, model))
        unit_square(axes)
        return f"ensemble {_value(results, 'auroc', finding)}"

    return finding_panels(
        results,
        panel,
        "false positive rate (1 - specificity)",
        "true positive rate (sensitivity)",
        [*model_lines(results), gray_line("chance")],
    )


def precision_recall(material: Material) -> Figure:
    """Precision against recall of every model, a panel each finding, with the prevalence that it must beat."""
    results = material.results

    def panel(axes: Axes, finding: int) -> str:
        targets, scores = known_scores(results, finding)
        axes.axhline(targets.mean(), color="0.6", linewidth=0.8)
        for model, own in scores.items():
            recall, precision = precision_stairs(targets, own)
            style = {"where": "pre"} | model_line(results, model)
            axes.step(np.append(0, recall), np.append(precision[0], precision), **style)
        unit_square(axes)
        return f"ensemble {_value(results, 'auprc', finding)}"

    legend = [*model_lines(results), gray_line("prevalence")]
    return finding_panels(results, panel, "recall (sensitivity)", "precision", legend)


def _value(results: Results, metric: str, finding: int) -> str:
    key = results.test.keys[finding]
    value = results.evaluation["ensemble"][metric]["per_finding"][key]
    interval = results.evaluation["ensemble"][metric]["ci"]["per_finding"][key]
    return f"{value:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})"


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    results = material.results
    return [*_findings(results.evaluation, not_learned(results.calibration)), *figures.values()]


SECTION = Section(
    "Findings",
    content,
    {
        "auroc_per_finding": Drawing(
            auroc_per_finding,
            "AUROC of each model by finding, with 95% intervals. The vertical line at 0.5 is chance.",
        ),
        "roc": Drawing(roc, "ROC curves on test. Each title gives n and the ensemble's AUROC with its 95% interval."),
        "precision_recall": Drawing(
            precision_recall,
            "Precision and recall on test. The grey line is the prevalence, which a model without skill reaches; each "
            "title gives the ensemble's average precision with its 95% interval.",
        ),
    },
)
