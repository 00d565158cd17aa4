"""Heat maps drawn over their radiographs."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from diagxnet.data.files import replacing

COLOURS = matplotlib.colormaps["inferno"]
"""Grows in lightness from end to end, so that it reads in grey and for the colour-blind."""

OPACITY = 0.6
DISPLAY_SIZE = 512
"""Side in pixels of the radiograph under a map."""


def overlay(radiograph: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """[side, side, 3] uint8: the radiograph [side, side] uint8 under a map [any, any] in 0..1, clear where it is 0."""
    side = radiograph.shape[0]
    grown = Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    strength = np.clip(np.asarray(grown), 0, 1)
    opacity = (OPACITY * strength)[..., None]
    grey = np.repeat(radiograph[..., None].astype(np.float32), 3, axis=2)
    return np.rint((1 - opacity) * grey + opacity * 255 * COLOURS(strength)[..., :3]).astype(np.uint8)


def write_overlay(path: Path, radiograph: np.ndarray, heat: np.ndarray, title: str, note: str) -> None:
    """Writes a PNG: the radiograph beside itself under the map, with a colour bar, the title and the note below.

    radiograph: [side, side] uint8. heat: [any, any] in 0..1.
    """
    figure = Figure(figsize=(9.4, 5.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(radiograph, cmap="gray", vmin=0, vmax=255)
    left.set_title("Radiograph as the models see it", fontsize=11)
    right.imshow(overlay(radiograph, heat))
    right.set_title(title, fontsize=11)
    for axes in (left, right):
        axes.set_axis_off()
    scale = ScalarMappable(Normalize(0, 1), COLOURS)
    figure.colorbar(scale, ax=right, fraction=0.046, label="share of this map's largest value")
    figure.supxlabel(note, fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})
