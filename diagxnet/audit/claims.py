"""What an audit asks about: what a run says of itself, and what the pipeline says of its stages."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from diagxnet.ensemble.calibration import Calibration


@dataclass(frozen=True)
class Claims:
    """What a run says of itself: the content of metrics/evaluation.json, of metrics/summary.json, of the metrics of
    each training, by name, and of models/calibration.json."""

    evaluation: dict[str, Any]
    summary: dict[str, Any]
    trainings: dict[str, dict[str, Any]]
    calibration: Calibration


@dataclass(frozen=True)
class Pipeline:
    """What the pipeline says of its stages. reads: the paths that each stage depends on, by its name. changed: paths
    that logits come from or that are logits, whose content is not what was recorded when the run made them."""

    reads: Mapping[str, Collection[str]]
    changed: Collection[str]
