"""Films as 8-bit greys, and what becomes of samples that are none: 10 to 16 bits, floats."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from diagxnet.images.doubts import Doubt
from diagxnet.images.kinds import ImageError

OUTLYING_SHARE = 0.02
"""So large a share of the samples at each end may be markers, a name plate, a border or dead pixels."""

OUTLYING_SPREADS = 1.0
"""They are cut off where they lie further out than this many times the distance between the two shares' bounds. No
film of 1,000 NIH radiographs has samples so far out."""


@dataclass(frozen=True)
class Film:
    """grey: upright, mode L, perhaps smaller than the file's image. width, height: of that, upright, in pixels."""

    grey: Image.Image
    width: int
    height: int
    doubts: tuple[Doubt, ...] = ()


def stretched(samples: np.ndarray) -> Image.Image:
    """8-bit greys, 0 to 255, of `samples` [rows, columns] of any real type: linear, from the film's least to its most.

    The film's samples are those within [low - spread, high + spread], where low and high have OUTLYING_SHARE of the
    samples below and above them, and spread is OUTLYING_SPREADS * (high - low). So a saturated marker burnt into a
    12-bit film becomes white and takes none of its greys, and a film without one is stretched from its own minimum and
    maximum. Where high equals low, all samples are the film's. Raises ImageError where one is no number.
    """
    samples = samples.astype(samples.dtype.newbyteorder("="))  # a copy, which NumPy's fast paths take
    least, most = samples.min(), samples.max()
    if not np.isfinite([least, most]).all():
        raise ImageError("holds values that are no numbers")
    rank = int(samples.size * OUTLYING_SHARE)
    low, high = (float(np.partition(samples, at, axis=None)[at]) for at in (rank, samples.size - 1 - rank))
    spread = OUTLYING_SPREADS * (high - low)
    if high > low and least < low - spread:
        least = samples[samples >= low - spread].min()
    if high > low and most > high + spread:
        most = samples[samples <= high + spread].max()
    if most == least:
        return Image.new("L", samples.shape[::-1])
    greys = samples.astype(np.float32)
    greys -= np.float32(least)
    greys *= np.float32(255 / (float(most) - float(least)))
    return Image.fromarray(np.rint(greys.clip(0, 255, out=greys), out=greys).astype(np.uint8))
