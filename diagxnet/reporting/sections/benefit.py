"""Decision curves: at which thresholds the ensemble's calls are worth more than calling everybody or nobody."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from diagxnet.reporting.drawing import finding_panels, handle
from diagxnet.reporting.page import Html, element
from diagxnet.reporting.section import Drawing, Material, Section
from diagxnet.statistics.net_benefit import THRESHOLDS


def net_benefit(material: Material) -> Figure:
    """Net benefit of the ensemble's calls, of calling everybody and of calling nobody, by threshold and finding."""
    curves = material.results.decision_curves

    def panel(axes: Axes, finding: int) -> str:
        own = curves[material.results.test.keys[finding]]
        top = own.everybody[0]
        axes.fill_between(THRESHOLDS, own.lower, own.upper, color="0.85", linewidth=0)
        axes.plot(THRESHOLDS, own.everybody, color="#D55E00", linestyle=(0, (5, 2)), linewidth=1.2)
        axes.axhline(0, color="#0072B2", linestyle=(0, (1, 1.2)), linewidth=1.2)
        axes.plot(THRESHOLDS, own.model, color="black", linewidth=1.7)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.25 * top, 1.1 * top)
        return useful_text(own.useful())

    legend = [
        handle("ensemble, calibrated", color="black", linewidth=1.7),
        Patch(facecolor="0.85", label="its 95% interval"),
        handle("calling everybody", color="#D55E00", linestyle=(0, (5, 2))),
        handle("calling nobody", color="#0072B2", linestyle=(0, (1, 1.2))),
    ]
    return finding_panels(material.results, panel, "threshold probability", "net benefit (cases per unit)", legend)


def useful_text(useful: np.ndarray) -> str:
    """`above both from 0.03 to 0.61` of [thresholds] bool: the widest stretch, or threshold; or that there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], useful, [False]]).astype(int)))
    if not len(edges):
        return "nowhere above both"
    starts, ends = edges[::2], edges[1::2]
    widest = int(np.argmax(ends - starts))
    first, last = (f"{THRESHOLDS[place]:.2f}" for place in (starts[widest], ends[widest] - 1))
    return f"above both at {first} alone" if first == last else f"above both from {first} to {last}"


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    text = (
        "Whoever acts from a probability t on holds that missing a case is (1 - t) / t times as bad as acting without "
        "need. Net benefit counts cases found, less needless actions at that price, for each unit of the test set, and "
        "at its prevalence. Calls are of use where they are above both lines; which t is sensible is for a clinician "
        "to say, before looking."
    )
    return [element("p", text), *figures.values()]


SECTION = Section(
    "Decision curves",
    content,
    {
        "net_benefit": Drawing(
            net_benefit,
            "Net benefit (Vickers and Elkin 2006) of calling each finding present at or above a threshold; titles name "
            "the widest range above both lines.",
        )
    },
)
