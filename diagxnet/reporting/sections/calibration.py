"""What calibration on val did to the ensemble's probabilities on test."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from diagxnet.reporting.curves import ENSEMBLE
from diagxnet.reporting.drawing import finding_panels, gray_line, handle, unit_square
from diagxnet.reporting.page import Html, element, table
from diagxnet.reporting.section import Drawing, Material, Section
from diagxnet.reporting.wording import (
    IN_THE_LARGE,
    REFERENCE,
    SLOPE,
    interval_text,
    means_text,
    single_text,
    starred,
)
from diagxnet.statistics.comparison import label, models_of
from diagxnet.statistics.metrics import reliability
from diagxnet.statistics.recalibration import DRAWS
from diagxnet.statistics.results import Results

ERRORS = ("ECE before", "ECE after", "ECE by chance")
"""Before and after calibration on val, and of a perfectly calibrated model."""


def _models(evaluation: dict) -> Html:
    """Means of the models, a row each."""
    rows = [
        (
            label(model),
            interval_text(evaluation[model]["calibration"]["in_the_large"], "macro"),
            interval_text(evaluation[model]["calibration"]["slope"], "macro"),
            *(f"{value['macro']:.3f}" for value in _errors(evaluation[model])),
        )
        for model in models_of(evaluation)
    ]
    return table(("Model", IN_THE_LARGE, SLOPE, *ERRORS), rows, caption=f"On test. {means_text(evaluation)}")


def _errors(own: dict) -> tuple[dict, dict, dict]:
    """What stands under ERRORS, of a model's figures."""
    return own["ece"]["uncalibrated"], own["ece"], own["ece"]["if_calibrated"]


def _calibration(results: Results) -> list[Html]:
    own = results.evaluation["ensemble"]
    words = {
        "platt": "slope and intercept",
        "flat": "no better than chance on val",
        "intercept": "intercept only: few on val",
        "none": "not known on val",
    }
    rows, counts = [], results.evaluation["counts"]
    for key in own["ece"]["per_finding"]:
        fitted = results.calibration["ensemble"][key]
        rows.append(
            (
                starred(results.evaluation, key),
                f"{fitted.positives:,} of {fitted.positives + fitted.negatives:,}",
                f"{counts['positives'][key]:,} of {counts['positives'][key] + counts['negatives'][key]:,}",
                f"{fitted.slope:.3f}",
                f"{fitted.intercept:+.3f}",
                single_text(own["calibration"]["in_the_large"], key),
                single_text(own["calibration"]["slope"], key),
                *(f"{value['per_finding'][key]:.3f}" for value in _errors(own)),
                f"{own['brier']['uncalibrated']['per_finding'][key]:.3f}",
                f"{own['brier']['per_finding'][key]:.3f}",
                words[fitted.fit],
            )
        )
    header = (
        "Finding",
        "Positive on val",
        "on test",
        "Fitted slope",
        "Intercept",
        IN_THE_LARGE,
        SLOPE,
        *ERRORS,
        "Brier before",
        "Brier after",
        "Fit",
    )
    caption = "Platt's calibration of the ensemble, fitted on val and measured on test."
    notes = (
        f"{REFERENCE}.",
        "Calibration in the large is above 0 where positives are more frequent than predicted (on the scale of "
        "log-odds), the slope below 1 where probabilities are too extreme.",
        f"ECE by chance is what a perfectly calibrated model would have on as many units: the mean of {DRAWS} sets of "
        "labels drawn with the calibrated probabilities. ECE ranks no models.",
    )
    return [
        _models(results.evaluation),
        element("ul", *(element("li", note) for note in notes)),
        table(header, rows, caption=caption, text=[len(header) - 1]),
    ]


def reliability_diagrams(material: Material) -> Figure:
    """Observed share of positives against the ensemble's probability, before and after calibration, by finding."""
    results = material.results

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
        unit_square(axes)
        _, after, chance = (
            own["per_finding"][results.test.keys[finding]] for own in _errors(results.evaluation["ensemble"])
        )
        return f"ECE {after:.3f}, by chance {chance:.3f}"

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
    return finding_panels(
        results, panel, "predicted probability (mean of a bin)", "observed share of positives", legend
    )


def wilson(bins: dict[str, np.ndarray]) -> np.ndarray:
    """Lower and upper ends [2, bins] of Wilson's 95% interval of each bin's observed share; bins: `reliability`'s."""
    found = np.round(bins["observed"] * bins["count"]).astype(int)
    intervals = [
        binomtest(k, n).proportion_ci(method="wilson")
        for k, n in zip(found.tolist(), bins["count"].tolist(), strict=True)
    ]
    return np.array([(interval.low, interval.high) for interval in intervals]).T


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    return [*_calibration(material.results), *figures.values()]


SECTION = Section(
    "Calibration",
    content,
    {
        "reliability": Drawing(
            reliability_diagrams,
            "Reliability of the ensemble before and after calibration; larger marks hold more of the test set, and "
            "vertical lines are Wilson's 95% intervals of a bin.",
        )
    },
)
