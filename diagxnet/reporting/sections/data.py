"""What the data are: splits, labels as read, what was dropped, and radiographs of the test set."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diagxnet.data.findings import Findings
from diagxnet.reporting.drawing import DPI
from diagxnet.reporting.page import Html, element, table
from diagxnet.reporting.section import Drawing, Material, Section
from diagxnet.reporting.wording import hierarchy_text


def _data(summary: Mapping[str, Any], findings: Findings) -> list[Html]:
    names = findings.titles
    splits = summary["splits"]
    labels = ("positive", "negative", "uncertain", "blank")
    rows = [
        (
            names[key],
            *("/".join(f"{own['findings'][key]['images'][name]:,}" for name in labels) for own in splits.values()),
        )
        for key in names
    ]
    caption = "Labels as read, by image: positive/negative/uncertain/blank."
    parts = [table(("Finding", *splits), rows, caption=caption)]
    rules = ", ".join(f"{names[key]} {rule}" for key, rule in summary["rules"]["uncertain"].items())
    learned = f"Uncertain labels in train and stack: {rules}. " if rules else ""
    parts.append(
        element(
            "p",
            f"Blank labels: {summary['rules']['blank']}, but masked where a finding is blank in all of its table. "
            f"{learned}In val and test an uncertain label is masked.{hierarchy_text(summary['rules'], names)} "
            f"Views in use: {summary['rules']['views']}.",
        )
    )
    contradicting = ", ".join(f"{name} {own['contradictions']:,}" for name, own in splits.items())
    notes = [f"Images positive for No Finding and for a pathology: {contradicting or 'none'}"]
    notes.append(f"Dropped images: {summary['dropped']['images']:,}")
    notes += [f"{each['table']}: {each['path']}: {each['reason']}" for each in summary["dropped_images"]]
    notes += summary["warnings"]
    parts.append(element("ul", *(element("li", note) for note in notes)))
    return parts


def examples(targets: np.ndarray, findings: Findings) -> list[tuple[str, int]]:
    """What `contact_sheet` shows, as (title, number of the image): for each finding the one that has it and the fewest
    others, then the first with none. targets: [images, findings] bool."""
    others = np.where(
        targets, targets.sum(axis=1, keepdims=True), len(findings) + 1
    )  # where the finding is absent: more
    names = findings.names
    chosen = [(name, int(others[:, f].argmin())) for f, name in enumerate(names) if targets[:, f].any()]
    if not targets.any(axis=1).all():
        chosen.append(("no label positive", int(np.argmin(targets.any(axis=1)))))
    return chosen


def contact_sheet(material: Material) -> Figure:
    """The `examples` as the models see them, with what else they show."""
    images, rows, targets = material.images, material.rows, material.positive
    findings = material.results.test.findings
    chosen = examples(targets, findings)
    columns = 5
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(11, 2.75 * lines + 0.3), dpi=DPI, layout="constrained")
    for position, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
        axes.set_axis_off()
        if position < len(chosen):
            title, image = chosen[position]
            axes.imshow(images[rows[image]], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            own = [findings.names[f] for f in np.flatnonzero(targets[image])]
            axes.set_title(f"{title}\n", fontweight="bold", pad=2)
            besides = [finding for finding in own if finding != title]
            note = axes.text(0.5, 1.015, _wrapped(besides), transform=axes.transAxes, ha="center", fontsize=6.5)
            note.set_in_layout(False)
    figure.suptitle(
        f"n = {len(rows):,} test images; of each finding the one with the fewest others, named below", fontsize=10
    )
    return figure


def _wrapped(names: list[str]) -> str:
    if len(names) > 2:
        return f"{names[0]}, {names[1]} + {len(names) - 2}"
    return ", ".join(names)


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    return [*_data(material.data_summary, material.results.test.findings), *figures.values()]


SECTION = Section(
    "Data", content, {"contact_sheet": Drawing(contact_sheet, "Radiographs of the test set as the models see them.")}
)
