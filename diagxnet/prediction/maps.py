"""The heat maps of an image that was predicted: for which findings, computed, drawn and written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diagxnet.data.findings import NO_FINDING, Findings
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.images.decode import decode
from diagxnet.prediction.overlay import DISPLAY_SIZE, write_overlay
from diagxnet.prediction.run import Outcome
from diagxnet.prediction.saliency import heat_maps

RESEARCH_ONLY = "For research only, not for decisions about patients. Bright: what speaks for the finding."


@dataclass(frozen=True)
class Maps:
    """keys: of the findings mapped. heat: [findings, image_size, image_size] float32 in 0..1. radiograph:
    [DISPLAY_SIZE, DISPLAY_SIZE] uint8, the same part of the image as the models see."""

    keys: tuple[str, ...]
    heat: np.ndarray
    radiograph: np.ndarray


def map_outcome(ensemble: Ensemble, outcome: Outcome, wanted: Sequence[str] = ()) -> Maps:
    """Maps of the findings in `wanted` (keys), or else of those that are present but No Finding, which has no place."""
    keys = tuple(wanted) or tuple(key for key in outcome.present if key != NO_FINDING)
    radiograph = decode(outcome.item.path, DISPLAY_SIZE, outcome.item.root, crop=ensemble.crop)
    if not keys:
        return Maps(keys, np.zeros((0, *outcome.image.shape), np.float32), radiograph)
    findings = [ensemble.findings.keys.index(key) for key in keys]
    return Maps(keys, heat_maps(ensemble, outcome.image, findings, outcome.given), radiograph)


def write_maps(folder: Path, outcome: Outcome, maps: Maps, findings: Findings, thresholds: np.ndarray) -> None:
    """Writes folder/NAME.FINDING.png for each map; NAME is the image's path below what the user named."""
    for key, heat in zip(maps.keys, maps.heat, strict=True):
        finding = findings.keys.index(key)
        threshold = thresholds[finding]
        known = "no threshold" if np.isnan(threshold) else f"threshold {threshold:.3f}"
        title = f"{findings.names[finding]}: {outcome.probabilities[finding]:.3f} ({known})"
        write_overlay(folder / f"{outcome.item.name}.{key}.png", maps.radiograph, heat, title, RESEARCH_ONLY)
