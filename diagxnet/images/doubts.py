"""What makes an image doubtful: it is packed or predicted all the same, and the warning says why that may be worth
nothing. A model answers whatever it is shown.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageStat

LEAST_SPREAD = 6.0
"""Standard deviation in grey levels; the least of 1,000 NIH radiographs has 22."""

MOST_COLOUR = 12.0
"""Mean difference between a pixel's largest and smallest colour; grey images stored in colour have about 1."""

COLOUR_SIDE = 64
"""Side in pixels, or little more, of the picture in which colours are compared."""

MOST_ELONGATED = 2.0
"""Longer side by the shorter."""

LIKENESS = 0.2
"""Least correlation with FRONTAL. Of 1,000 NIH radiographs 4 have less than this, and none less than -0.13."""

FRONTAL = np.array(
    [
        [-2, -1, 0, 2, 2, 0, -1, -2],
        [0, 0, -1, 1, 1, -1, 0, 0],
        [1, 0, -2, 1, 1, -2, 0, 1],
        [1, 0, -2, 1, 2, -2, 0, 1],
        [1, 0, -2, 2, 3, -1, 0, 1],
        [0, 0, -1, 2, 3, 0, 0, 0],
        [0, 1, 2, 3, 3, 2, 1, 0],
        [0, 2, 3, 3, 3, 3, 2, 0],
    ],
    np.float64,
)
"""[8, 8], a frontal chest radiograph at its coarsest: a bright middle and abdomen between two dark lungs."""

_CENTRED = (FRONTAL - FRONTAL.mean()).astype(np.float32)
_CENTRED_SQUARE = float(np.vdot(_CENTRED, _CENTRED))


@dataclass(frozen=True)
class Doubt:
    """about: what is doubtful, the same words for each image. detail: what was seen in this one."""

    about: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.about}: {self.detail}" if self.detail else self.about


INVERTED = "looks inverted"
NOT_FRONTAL = "looks like no upright frontal chest radiograph"
OF_FRONTAL_VIEWS = (INVERTED, NOT_FRONTAL)
"""Doubts that say nothing about a lateral view."""


def doubts_of_square(square: np.ndarray) -> list[Doubt]:
    """What is doubtful about [size, size] uint8 as the models see it: no contrast, inverted, no frontal chest."""
    greys = square.astype(np.float32)
    coarse = _coarse(greys)
    mean = float(coarse.sum()) / coarse.size
    variance = np.vdot(greys, greys) / greys.size - mean**2  # NumPy's `std` would slow packing down
    if variance < LEAST_SPREAD**2:
        spread = max(0.0, variance) ** 0.5
        return [Doubt("hardly any contrast", f"its grey levels have a standard deviation of {spread:.1f}")]
    likeness = _likeness(coarse - mean)
    if likeness < -LIKENESS:
        return [Doubt(INVERTED, "the lungs are brighter than the middle, as in a negative")]
    if likeness < LIKENESS:
        return [Doubt(NOT_FRONTAL)]
    return []


def frontal_likeness(square: np.ndarray) -> float:
    """Correlation, -1 to 1, of [size, size] uint8 with FRONTAL, after averaging it to 8 x 8."""
    coarse = _coarse(square.astype(np.float32))
    return _likeness(coarse - coarse.mean())


def _coarse(greys: np.ndarray) -> np.ndarray:
    """[8, 8] averages of [size, size] float32."""
    averages = _averages(len(greys))
    return averages @ greys @ averages.T


def _likeness(centred: np.ndarray) -> float:
    """Correlation of [8, 8] with mean 0 with FRONTAL."""
    square = float(np.vdot(centred, centred))
    return float(np.vdot(centred, _CENTRED)) / (square * _CENTRED_SQUARE) ** 0.5 if square > 1e-6 else 0.0


@lru_cache
def _averages(size: int) -> np.ndarray:
    """[8, size] float32, which averages `size` pixels to 8 places; a pixel across a border counts for both."""
    edges, pixels = np.linspace(0, size, len(FRONTAL) + 1), np.arange(size)
    shares = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    return (shares.clip(0, 1) * len(FRONTAL) / size).astype(np.float32)


OF_ELONGATED = {
    "guide": "only the square in its middle is seen",
    "pad": "most of what is seen is black",
    "stretch": "it is seen squeezed to a square",
}
"""By `crop` (see `decode.square`)."""


def doubts_of_shape(width: int, height: int, size: int, crop: str = "guide") -> list[Doubt]:
    """What is doubtful about an upright image of so many pixels that becomes a square of `size`."""
    found = []
    if max(width, height) > MOST_ELONGATED * min(width, height):
        found.append(Doubt("is elongated", f"{width} x {height} pixels: {OF_ELONGATED[crop]}"))
    if min(width, height) < size:
        found.append(
            Doubt("is small", f"{width} x {height} pixels, fewer than the {size} x {size} that the models see")
        )
    return found


def doubts_of_alpha(image: Image.Image) -> list[Doubt]:
    """Whether a loaded image is transparent somewhere."""
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        image = image.convert("RGBA")
    if not image.mode.endswith(("A", "a")) or image.getchannel(image.mode[-1]).getextrema()[0] == 255:
        return []
    return [Doubt("is transparent in places", "which is ignored")]


def doubts_of_colour(image: Image.Image) -> list[Doubt]:
    """Whether a loaded image has more colours than grey."""
    if image.mode in ("RGBA", "P", "PA"):
        image = image.convert("RGB")
    if image.mode not in ("RGB", "YCbCr"):
        return []
    small = image.reduce(max(1, min(image.size) // COLOUR_SIDE)).convert("RGB")
    red, green, blue = small.split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    least = ImageChops.darker(ImageChops.darker(red, green), blue)
    colour = ImageStat.Stat(ImageChops.difference(most, least)).mean[0]
    return [Doubt("is in colour", "as photographs are and radiographs are not")] if colour > MOST_COLOUR else []
