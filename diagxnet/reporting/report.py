"""report.html and its figures: one page that says what was run, on what data, how good it is and how sure that is.

It carries no date, timing or commit: equal runs give equal pages.
"""

from collections.abc import Sequence
from pathlib import Path

from diagxnet.data.files import replacing, write_text
from diagxnet.ensemble.calibration import not_learned
from diagxnet.reporting.drawing import render
from diagxnet.reporting.page import Html, element, figure, page
from diagxnet.reporting.section import Material
from diagxnet.reporting.sections import (
    benefit,
    calibration,
    cohort,
    data,
    findings,
    indicators,
    models,
    params,
    parts,
    reading,
    subgroups,
    thresholds,
    training,
)
from diagxnet.reporting.wording import RESEARCH_ONLY, means_text, not_learned_text
from diagxnet.statistics.comparison import verdict_sentence

SECTIONS = tuple(
    module.SECTION
    for module in (
        models, parts, indicators, findings, thresholds, calibration, benefit, subgroups, training, cohort, data,
        params, reading
    )
)  # fmt: skip
"""In the order of the page."""


def write_report(
    folder: Path,
    material: Material,
    *,
    title: str = "Evaluation of the stacking ensemble",
    first: Sequence[tuple[str, Sequence[Html]]] = (),
) -> None:
    """Writes report.html and its figures as PNG to `folder`; first: sections (title, content) ahead of the usual."""
    sections = [*first]
    for section in SECTIONS:
        figures = {}
        for name, drawing in section.drawings.items():
            png = render(drawing.make, material)
            figures[name] = figure(png, drawing.caption)
            with replacing(folder / f"{name}.png") as temporary:
                temporary.write_bytes(png)
        if content := section.content(material, figures):
            sections.append((section.title, content))
    write_text(folder / "report.html", page(title, introduction(material), sections, cohort.STYLE))


def introduction(material: Material) -> list[Html]:
    """The lines that open the page."""
    evaluation = material.results.evaluation
    counts = evaluation["counts"]
    units = "studies" if material.results.unit == "study" else "images"
    unknown = not_learned(material.results.calibration)
    return [
        element(
            "p",
            f"Test set: {counts['units']:,} {units} of {counts['patients']:,} patients. "
            f"Of {len(evaluation['findings'])} findings, {counts['findings_scored']} can be scored. "
            f"{means_text(evaluation)}",
        ),
        *([element("p", not_learned_text(evaluation, unknown))] if unknown else []),
        element("p", verdict_sentence(evaluation["comparison"], "best_base"), class_="verdict"),
        element("p", RESEARCH_ONLY, class_="note"),
    ]
