"""A section of the report: its tables, its figures and their captions, from what an evaluation knows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diagxnet.reporting.page import Html
from diagxnet.statistics.results import Results


@dataclass(frozen=True)
class Material:
    """What a report is made from.

    results: what was measured. data_summary: content of data/prepared/summary.json, or the same of another hospital's
    data. params: what it was made with. images: [shown, size, size] uint8. rows: [images] row of `images` of each test
    image. positive: [images, findings] bool. cohort: by split, see `statistics.cohort.cohort`.
    """

    results: Results
    data_summary: Mapping[str, Any]
    params: Mapping[str, Any]
    images: np.ndarray
    rows: np.ndarray
    positive: np.ndarray
    cohort: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Drawing:
    """A figure and its caption."""

    make: Callable[[Material], Figure]
    caption: str


@dataclass(frozen=True)
class Section:
    """content: what stands under `title`, from the material and the section's figures by name; a section without
    content is left out. drawings: the figures by the name of their files."""

    title: str
    content: Callable[[Material, Mapping[str, Html]], Sequence[Html]]
    drawings: Mapping[str, Drawing] = field(default_factory=dict)
