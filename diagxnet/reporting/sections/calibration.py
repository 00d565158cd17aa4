"""What calibration on val did to the ensemble's probabilities on test."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from diagxnet.data.findings import KEYS
from diagxnet.reporting.curves import ENSEMBLE
from diagxnet.reporting.drawing import finding_panels, gray_line, handle, unit_square
from diagxnet.reporting.page import Html, table
from diagxnet.reporting.section import Drawing, Material, Section
from diagxnet.reporting.wording import starred
from diagxnet.statistics.metrics import reliability
from diagxnet.statistics.results import Results


def _calibration(results: Results) -> list[Html]:
    own = results.evaluation["ensemble"]
    words = {
        "platt": "slope and intercept",
        "flat": "no better than chance on val",
        "intercept": "intercept only: few on val",
        "none": "not known on val",
    }
    rows = []
    for key in own["ece"]["per_finding"]:
        fitted = results.calibration["ensemble"][key]
        rows.append(
            (
                starred(results.evaluation, key),
                f"{fitted.positives:,} of {fitted.positives + fitted.negatives:,}",
                f"{fitted.slope:.3f}",
                f"{fitted.intercept:+.3f}",
                f"{own['ece']['uncalibrated']['per_finding'][key]:.3f}",
                f"{own['ece']['per_finding'][key]:.3f}",
                f"{own['brier']['uncalibrated']['per_finding'][key]:.3f}",
                f"{own['brier']['per_finding'][key]:.3f}",
                words[fitted.fit],
            )
        )
    header = (
        "Finding",
        "Positive on val",
        "Slope",
        "Intercept",
        "ECE before",
        "ECE after",
        "Brier before",
        "Brier after",
        "Fit",
    )
    caption = "Platt's calibration of the ensemble, fitted on val and measured on test."
    return [table(header, rows, caption=caption, text=[len(header) - 1])]


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
