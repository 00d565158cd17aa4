"""The study list: one page with a thumbnail, the probabilities and the maps of every image, sortable without a script.

Each image carries its rank by each finding as a CSS variable; the radio button that is chosen says which is its order.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from diagxnet.data.files import write_text
from diagxnet.data.findings import Findings
from diagxnet.ensemble.calibration import KEPT
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.prediction.maps import Maps
from diagxnet.prediction.overlay import overlay
from diagxnet.prediction.run import Outcome
from diagxnet.reporting.page import Html, breakable, element, join, page, picture, table, void

THUMBNAIL = 192
"""Side of a picture in pixels; a JPEG of it takes about 8 kB."""

RESEARCH_ONLY = "For research only: not a medical device, not for decisions about patients."
STYLE = """
.sorting { display: flex; flex-wrap: wrap; gap: .2rem 1rem; max-width: none; border: 1px solid #ccc; }
.studies { display: flex; flex-direction: column; }
body:has(#reversed:checked) .studies { flex-direction: column-reverse; }
.study { display: flex; flex-wrap: wrap; gap: .6rem 1.2rem; padding: .8rem 0; border-bottom: 1px solid #ccc; }
.study h3 { width: 100%; margin: 0; overflow-wrap: anywhere; }
.study .note { width: 100%; margin: 0; max-width: none; }
.study figure { margin: 0; width: 12rem; }
.study figure img { min-width: 0; width: 12rem; height: 12rem; }
.study table { margin: 0; }
@media (max-width: 40rem) { .study { gap: .6rem; } .study figure, .study figure img { width: 10.4rem; }
  .study figure img { height: 10.4rem; } }
"""


class StudyList:
    """Gathers images one by one; `write` makes the page. An image takes about 10 kB, and as much for each map."""

    def __init__(
        self, findings: Findings, thresholds: np.ndarray, calibrated_on: str = "", remarks: Sequence[str] = ()
    ) -> None:
        self.findings = findings
        self.calibrated_on, self.remarks = calibrated_on, remarks
        self.thresholds = thresholds  # [findings], NaN where there is none
        self.studies: list[tuple[np.ndarray, int, Html]] = []
        self.failed: list[tuple[str, str]] = []

    def add(self, outcome: Outcome, maps: Maps | None = None) -> None:
        """maps: as `map_outcome` gives them, None for an image that could not be predicted."""
        if outcome.error is not None or maps is None:
            self.failed.append((outcome.item.shown, outcome.error or ""))
            return
        content = join(
            [
                element("h3", breakable(outcome.item.shown)),
                *(element("p", f"Doubtful: {doubt}", class_="note") for doubt in outcome.doubts),
                thumbnail(maps.radiograph, "radiograph"),
                self._probabilities(outcome),
                *(
                    thumbnail(overlay(maps.radiograph, heat), f"{self.findings.titles[key]}: where")
                    for key, heat in zip(maps.keys, maps.heat, strict=True)
                ),
            ]
        )
        self.studies.append((outcome.probabilities, len(outcome.present), content))

    def write(self, path: Path) -> None:
        sample = f"the labelled sample {self.calibrated_on}" if self.calibrated_on else OWN_SAMPLE
        sections = [("Images", [_sorting(self.findings), element("div", *self._ranked(), class_="studies")])]
        if self.failed:
            caption = "Files that could not be predicted, and why."
            sections.append(("Not predicted", [table(("File", "Reason"), self.failed, caption=caption, text=[0, 1])]))
        sections.append(("How to read this", [element("p", _READING.format(sample=sample))]))
        counts = f"{len(self.studies):,} images predicted, {len(self.failed):,} not."
        counts += f" Calibrated on {sample}." if self.calibrated_on else ""
        introduction = [element("p", " ".join((counts, *self.remarks))), element("p", RESEARCH_ONLY, class_="note")]
        write_text(path, page("Study list", introduction, sections, STYLE + _orders(self.findings)))

    def _probabilities(self, outcome: Outcome) -> Html:
        order = (-outcome.probabilities).argsort(kind="stable")  # NaN, what was not learned, comes last
        rows = [
            (
                self.findings.names[finding],
                "not learned" if np.isnan(outcome.probabilities[finding]) else f"{outcome.probabilities[finding]:.3f}",
                "none" if np.isnan(self.thresholds[finding]) else f"{self.thresholds[finding]:.3f}",
            )
            for finding in order
        ]
        strong = [row for row, finding in enumerate(order) if self.findings.keys[finding] in outcome.present]
        return table(("Finding", "Probability", "Threshold"), rows, strong=strong)

    def _ranked(self) -> list[Html]:
        if not self.studies:
            return []
        values = np.array([(*probabilities, count) for probabilities, count, _ in self.studies])
        ranks = np.empty(values.shape, np.int64)  # [images, findings + 1], 0 the largest
        np.put_along_axis(ranks, (-values).argsort(0, kind="stable"), np.arange(len(values))[:, None], axis=0)
        return [
            element(
                "article",
                content,
                class_="study",
                style=";".join(
                    f"--{name}:{rank}" for name, rank in zip((*self.findings.keys, "count"), own.tolist(), strict=True)
                ),
            )
            for own, (*_, content) in zip(ranks, self.studies, strict=True)
        ]


def remarks(ensemble: Ensemble) -> list[str]:
    """Sentences on what a reader of probabilities and maps would take for granted, and should not."""
    titles, said = ensemble.findings.titles, []
    kept = [titles[key] for key, own in ensemble.calibration["ensemble"].items() if own.fit == KEPT]
    if kept:
        said.append(f"Too few patients there for {', '.join(kept)}: as calibrated where the models were trained.")
    if ensemble.tables:
        said.append(f"Scores of others enter, too ({', '.join(ensemble.tables)}): no map shows what those rest on.")
    return said


OWN_SAMPLE = "the validation images of the run that trained the models"

_READING = (
    "Probabilities are calibrated on {sample}; those in bold are at "
    "or above the threshold that was fixed there. Bright colours in a map show what speaks for the finding: each map "
    "has its own scale, from nothing to its largest value, so that a bright map of a small probability means little. "
    "A map says where the models looked, not that they are right."
)


def _sorting(findings: Findings) -> Html:
    """Radio buttons for the order, and a box that turns it round."""
    choices = [("given", "as given"), ("count", "number of findings"), *findings.titles.items()]
    buttons = []
    for name, label in choices:
        chosen = {"checked": ""} if name == "given" else {}
        button = void("input", type="radio", name="order", id=f"by-{name}", **chosen)
        buttons.append(element("label", button, f" {label}"))
    turned = element("label", void("input", type="checkbox", id="reversed"), " reversed")
    return element("fieldset", element("legend", "Sort by"), *buttons, turned, class_="sorting")


def _orders(findings: Findings) -> str:
    names = (*findings.keys, "count")
    return "".join(f"body:has(#by-{name}:checked) .study {{ order: var(--{name}); }}\n" for name in names)


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """[THUMBNAIL, THUMBNAIL] uint8 of an image [side, side] uint8 as the models see it."""
    return np.asarray(Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))


def thumbnail(pixels: np.ndarray, caption: str) -> Html:
    """A picture of `pixels` [side, side] or [side, side, 3] uint8 with its caption, THUMBNAIL a side."""
    small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return element("figure", picture(file.getvalue(), caption, "jpeg"), element("figcaption", caption))
