"""The ensemble's calls at the thresholds that were fixed on val."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from diagxnet.reporting.curves import ENSEMBLE, HISTOGRAM_BINS
from diagxnet.reporting.drawing import DPI, finding_panels, finding_title, handle, population
from diagxnet.reporting.page import Html, element, join, table
from diagxnet.reporting.section import Drawing, Material, Section
from diagxnet.reporting.wording import counts_text, starred
from diagxnet.statistics.operating import AT_PREVALENCE, MEASURES, OUTCOMES, confusions

CASES = "../reports/cases.html"
"""Where `stages.cases` puts its page, from the report's folder."""

OUTCOME_STYLES = {
    "true_positive": {"facecolor": "#0072B2", "hatch": ""},
    "false_negative": {"facecolor": "#E69F00", "hatch": "////"},
    "false_positive": {"facecolor": "#D55E00", "hatch": "xxxx"},
    "true_negative": {"facecolor": "#D9D9D9", "hatch": ""},
}


def _thresholds(material: Material) -> list[Html]:
    results = material.results
    evaluation = results.evaluation
    own, calibration = evaluation["ensemble"], results.calibration["ensemble"]
    parts = []
    for rule, title in (("youden", "Youden's J"), ("specificity_90", "sensitivity at 90% specificity")):
        counts = confusions(results.test, results.calibrated[ENSEMBLE], calibration, rule)
        rows = [
            (
                starred(evaluation, key),
                f"{calibration[key].thresholds[rule]:.3f}",
                *(_cell(own[rule][name], key) for name in MEASURES),
                *(f"{counts[key][name]:,}" for name in OUTCOMES),
            )
            for key in counts
        ]
        header = ("Finding", "Threshold", *map(measure_name, MEASURES), "TP", "FP", "FN", "TN")
        caption = f"The ensemble on test at the threshold of {title}, fixed on val; 95% intervals below."
        parts.append(table(header, rows, caption=caption))
        if stated := own[rule].get("at_prevalence"):
            parts.append(_at_prevalence(evaluation, stated, title))
    if evaluation["one_class"]["val"]:
        text = (
            f"No threshold, because val has one class only: {counts_text(evaluation, evaluation['one_class']['val'])}."
        )
        parts.append(element("p", text, class_="note"))
    return parts


def _cases(material: Material) -> list[Html]:
    """Where the worst mistakes are shown; nothing for another hospital's data, of which no such page is made."""
    if not material.results.evaluation["ensemble"].get("val"):
        return []
    command, link = element("code", "python -m stages.cases"), element("a", "reports/cases.html", href=CASES)
    text = (" shows the most confident mistakes, with heat maps and every model's probability, in ", ": images of ")
    return [element("p", command, text[0], link, text[1], "patients, to be kept where the data may be kept.")]


def measure_name(name: str) -> str:
    """How a table's header calls one of MEASURES."""
    return {"precision": "PPV (precision)", "npv": "NPV"}.get(name, name.capitalize())


def _cell(measured: Mapping[str, dict], key: str) -> Html:
    interval = measured["ci"]["per_finding"][key]
    ends = element("small", f"{interval['lower']:.2f} to {interval['upper']:.2f}")
    return join([f"{measured['per_finding'][key]:.3f}", ends])


def _at_prevalence(evaluation: dict, stated: Mapping[str, dict], title: str) -> Html:
    rows = [
        (starred(evaluation, key), f"{share:.3f}", *(_cell(stated[name], key) for name in AT_PREVALENCE))
        for key, share in stated["prevalence"].items()
    ]
    caption = f"At the threshold of {title}, where positives are as frequent as evaluate.prevalence says."
    return table(("Finding", "Prevalence", *map(measure_name, AT_PREVALENCE)), rows, caption=caption)


def confusion_counts(material: Material) -> Figure:
    """The ensemble's confusion counts at Youden's threshold, by finding."""
    results = material.results
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
    axes.set_yticks(range(len(counts)), [finding_title(results, key, " ") for key in counts])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the known; numbers are counts (shares up to 2.5% go without)")
    axes.grid(visible=False)
    axes.set_title(population(results), loc="left")
    handles = [
        Patch(label=name.replace("_", " "), edgecolor="white", **style) for name, style in OUTCOME_STYLES.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(OUTCOMES))
    return figure


def score_histograms(material: Material) -> Figure:
    """The ensemble's calibrated probability in units with and without each finding, and Youden's threshold."""
    results = material.results
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)

    def panel(axes: Axes, finding: int) -> str:
        known = results.test.known(finding)
        targets, probability = results.test.targets[known, finding], results.calibrated[ENSEMBLE][known, finding]
        shares = [np.histogram(probability[chosen], edges)[0] / chosen.sum() for chosen in (~targets, targets)]
        axes.stairs(shares[0], edges, fill=True, color="0.8")
        axes.stairs(shares[1], edges, color="black", linewidth=1.3, hatch="////", facecolor="none")
        cuts = results.calibration["ensemble"][results.test.keys[finding]].thresholds
        if cuts is not None:
            axes.axvline(cuts["youden"], color="#D55E00", linestyle=":", linewidth=1.5)
        axes.set_xlim(0, 1)
        return ""

    legend = [
        Patch(facecolor="0.8", label="without the finding"),
        Patch(facecolor="none", edgecolor="black", hatch="////", label="with the finding"),
        handle("Youden's threshold, from val", color="#D55E00", linestyle=":"),
    ]
    return finding_panels(results, panel, "ensemble's calibrated probability", "share of the class", legend)


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    return [*_thresholds(material), *figures.values(), *_cases(material)]


SECTION = Section(
    "Thresholds",
    content,
    {
        "confusion": Drawing(confusion_counts, "The ensemble's calls at Youden's threshold, which was fixed on val."),
        "score_histograms": Drawing(
            score_histograms, "The ensemble's calibrated probability with and without each finding."
        ),
    },
)
