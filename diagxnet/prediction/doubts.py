"""What makes an image doubtful: it is predicted all the same, and the warning says why the prediction may be worth
nothing. A model answers whatever it is shown.
"""

import numpy as np
from PIL import Image

from diagxnet.images.decode import DAMAGE

LEAST_SPREAD = 6.0
"""Standard deviation in grey levels; the least of 1,000 NIH radiographs has 22."""

MOST_COLOUR = 12.0
"""Mean difference between a pixel's largest and smallest colour; grey images stored in colour have about 1."""

MOST_ELONGATED = 2.0
"""Longer side by the shorter; the centre crop shows no more than the middle."""

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


def doubts_of_square(square: np.ndarray) -> list[str]:
    """What is doubtful about [size, size] uint8 as the models see it: no contrast, inverted, no frontal chest."""
    if square.std() < LEAST_SPREAD:
        return [f"hardly any contrast: its grey levels have a standard deviation of {square.std():.1f}"]
    likeness = frontal_likeness(square)
    if likeness < -LIKENESS:
        return ["looks inverted: the lungs are brighter than the middle, as in a negative"]
    if likeness < LIKENESS:
        return ["looks like no upright frontal chest radiograph"]
    return []


def frontal_likeness(square: np.ndarray) -> float:
    """Correlation, -1 to 1, of [size, size] uint8 with FRONTAL, after averaging it to 8 x 8."""
    side = len(FRONTAL)
    coarse = np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BOX), np.float64)
    return float(np.corrcoef(coarse.ravel(), FRONTAL.ravel())[0, 1]) if coarse.std() else 0.0


def doubts_of_source(image: Image.Image, size: int) -> list[str]:
    """What is doubtful about an image file before it becomes a grey square of `size` pixels: colour, shape, size.

    A JPEG is read at an eighth of its size for this; the image is spent afterwards, for it decodes only once.
    """
    found = []
    width, height = image.size
    if max(width, height) > MOST_ELONGATED * min(width, height):
        found.append(f"is {width} x {height} pixels: only the square in its middle is seen")
    if min(width, height) < size:
        found.append(f"is {width} x {height} pixels, fewer than the {size} x {size} that the models see")
    if image.mode in ("RGB", "RGBA", "P", "CMYK", "YCbCr"):
        try:
            image.draft("RGB", (64, 64))
            small = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), np.int16)
        except DAMAGE:
            return found  # whoever decodes the whole image says what is wrong
        colour = float((small.max(2) - small.min(2)).mean())
        if colour > MOST_COLOUR:
            found.append("is in colour, as photographs are and radiographs are not")
    return found
