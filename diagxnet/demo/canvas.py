"""Raster work: pixel grids in patient coordinates, curves as tables, strokes, blurs and textures.

Only additions, products, quotients and square roots touch pixels: IEEE 754 rounds them the same way on every
platform, which numpy's exponentials, matrix products and interpolation do not promise.

Patient coordinates: the film's height is 1, y points down, x = 0 is the midline, and a positive x is the patient's
left, which a frontal film shows on its right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from diagxnet.demo.chance import Chance, sine_cosine

ASPECT = 390 / 320
"""Width of a film over its height."""
CURVE_LOW, CURVE_HIGH, CURVE_STEPS = -0.75, 1.25, 3072


def smooth_step(values: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and a cubic with level ends between."""
    t = np.minimum(np.maximum(values, 0), 1)
    result = t * -2
    result += 3
    result *= t
    result *= t
    return result


def hump(values: np.ndarray) -> np.ndarray:
    """1 at 0, level, and 0 from -1 and 1 outwards: a bell without an exponential."""
    t = values * values
    t = np.maximum(1 - t, 0)
    t *= t
    return t


def ellipse_root(values: np.ndarray) -> np.ndarray:
    """The square root of max(values, 0): the chord of a round body, from 1 at its middle to 0 at its edge."""
    return np.sqrt(np.maximum(values, 0))


class Curve:
    """A smooth function of one coordinate through `knots`, constant outside them, tabulated for look-up by pixel.

    `low` and `high` bound the places that will be looked up; outside them the nearest counts.
    """

    def __init__(self, knots: Sequence[tuple[float, float]], low: float = CURVE_LOW, high: float = CURVE_HIGH) -> None:
        self.first, last = (int(table_index(np.float64(bound))) for bound in (low, high))
        places = CURVE_LOW + np.arange(self.first, last + 1) * ((CURVE_HIGH - CURVE_LOW) / CURVE_STEPS)
        self.values = hermite(knots, places)  # [steps]
        self.table = self.values.astype(np.float32)

    def at(self, index: np.ndarray) -> np.ndarray:
        """Values at table indices, float32."""
        return np.take(self.table, index - self.first if self.first else index, mode="clip")

    def __call__(self, place: np.ndarray | float) -> np.ndarray:
        """Values at coordinates, float64."""
        return np.take(self.values, table_index(np.asarray(place, np.float64)) - self.first, mode="clip")

    def shortening(self, index: np.ndarray) -> np.ndarray:
        """The perpendicular distance from the curve over the vertical one, at table indices, float32."""
        steps = (self.values[1:] - self.values[:-1]) * (CURVE_STEPS / (CURVE_HIGH - CURVE_LOW))
        slope = np.concatenate([steps, steps[-1:]])
        table = (1 / np.sqrt(1 + slope * slope)).astype(np.float32)
        return np.take(table, index - self.first, mode="clip")


def table_index(places: np.ndarray) -> np.ndarray:
    steps = (places - CURVE_LOW) * (CURVE_STEPS / (CURVE_HIGH - CURVE_LOW))
    return np.minimum(np.maximum(steps, 0), CURVE_STEPS - 1).astype(np.intp)


def hermite(knots: Sequence[tuple[float, float]], places: np.ndarray) -> np.ndarray:
    """Cubic Hermite interpolation with Catmull-Rom slopes, limited where the knots turn so that it never overshoots."""
    x, y = [knot[0] for knot in knots], [knot[1] for knot in knots]
    widths = [right - left for left, right in pairwise(x)]
    rises = [right - left for left, right in pairwise(y)]
    slopes = _slopes([rise / width for rise, width in zip(rises, widths, strict=True)])
    first = [slope * width for slope, width in zip(slopes[:-1], widths, strict=True)]
    last = [slope * width for slope, width in zip(slopes[1:], widths, strict=True)]
    pieces = [
        (left, width, low, a, 3 * rise - 2 * a - b, a + b - 2 * rise)
        for left, width, low, rise, a, b in zip(x[:-1], widths, y[:-1], rises, first, last, strict=True)
    ]
    k = np.searchsorted(np.array(x[1:-1]), places, side="right")
    left, width, low, linear, square, cubic = np.array(pieces, np.float64).T[:, k]
    t = np.minimum(np.maximum((places - left) / width, 0), 1)
    return low + t * (linear + t * (square + t * cubic))


def _slopes(secants: list[float]) -> list[float]:
    """At each knot the mean of the secants beside it, 0 at a turn, and no more than three times either."""
    slopes = [secants[0]]
    for before, after in pairwise(secants):
        steepest = 3 * min(abs(before), abs(after))
        slopes.append(min(max((before + after) / 2, -steepest), steepest) if before * after > 0 else 0.0)
    return [*slopes, secants[-1]]


@dataclass(frozen=True)
class Box:
    """Pixels from left to right and top to bottom, the last ones excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top


class Frame:
    """The pixel grid of one film in patient coordinates.

    `height` in pixels; the patient is turned by `degrees` in the film's plane, enlarged by `zoom` and shifted by
    (`shift_x`, `shift_y`), in units of the film's height. `x`, `y`: [height, width] float32.
    """

    def __init__(self, height: int, degrees: float, zoom: float, shift_x: float, shift_y: float) -> None:
        self.height, self.width = height, round(height * ASPECT)
        self.zoom = zoom
        sine, cosine = sine_cosine(degrees)
        self.sine, self.cosine = float(sine), float(cosine)
        self.origin_x, self.origin_y = ASPECT / 2 + shift_x, 0.5 + shift_y
        column = ((np.arange(self.width) + 0.5) / height - self.origin_x)[None, :]
        row = ((np.arange(height) + 0.5) / height - self.origin_y)[:, None]
        self.x = ((self.cosine * column + self.sine * row) / zoom).astype(np.float32)
        self.y = ((self.cosine * row - self.sine * column) / zoom + 0.5).astype(np.float32)
        self.at_x, self.at_y = table_index(self.x), table_index(self.y)

    def zeros(self) -> np.ndarray:
        return np.zeros((self.height, self.width), np.float32)

    def pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Patient coordinates to (column, row), in pixels, fractional."""
        x, y = np.asarray(x, np.float64) * self.zoom, (np.asarray(y, np.float64) - 0.5) * self.zoom
        column = (self.cosine * x - self.sine * y + self.origin_x) * self.height - 0.5
        row = (self.sine * x + self.cosine * y + self.origin_y) * self.height - 0.5
        return column, row

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The pixels that cover a rectangle in patient coordinates, clipped to the film."""
        column, row = self.pixels(np.array([left, right, left, right]), np.array([top, top, bottom, bottom]))
        return self.clipped(column.min(), row.min(), column.max() + 1, row.max() + 1)

    def clipped(self, left: float, top: float, right: float, bottom: float) -> Box:
        def inside(value: float, limit: int) -> int:
            return int(min(max(np.rint(value), 0), limit))

        return Box(
            inside(left, self.width), inside(top, self.height), inside(right, self.width), inside(bottom, self.height)
        )

    def box_of(self, mask: np.ndarray) -> Box | None:
        """The smallest box around the true pixels of a mask [height, width]; None where there is none."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            return None
        return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Separable blur with a bell of `radius` pixels; the border repeats. Below a third of a pixel: the input."""
    taps = bell(radius)
    if len(taps) == 1:
        return image
    reach = len(taps) // 2
    height, width = image.shape
    wide = np.pad(image, ((0, 0), (reach, reach)), mode="edge")
    across = _weighted([wide[:, start : start + width] for start in range(2 * reach + 1)], taps)
    tall = np.pad(across, ((reach, reach), (0, 0)), mode="edge")
    return _weighted([tall[start : start + height] for start in range(2 * reach + 1)], taps)


def bell(radius: float) -> np.ndarray:
    reach = int(radius)
    weights = hump(np.arange(-reach, reach + 1) / (radius + 1e-9)) if reach else np.ones(1)
    total = 0.0
    for weight in weights.tolist():
        total += weight
    return weights / total


def _weighted(shifted: list[np.ndarray], taps: np.ndarray) -> np.ndarray:
    """The sum of shifted images under symmetric weights."""
    reach = len(taps) // 2
    result = shifted[reach] * np.float32(taps[reach])
    for offset in range(1, reach + 1):
        pair = shifted[reach - offset] + shifted[reach + offset]
        pair *= np.float32(taps[reach + offset])
        result += pair
    return result


def halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; an odd last row or column is repeated."""
    image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2)), mode="edge")
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) * np.float32(0.25)


def enlarged(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear enlargement of a coarse grid to `shape`, corner to corner."""
    return _stretched(_stretched(coarse.T, shape[1]).T, shape[0])


def _stretched(coarse: np.ndarray, length: int) -> np.ndarray:
    cells = coarse.shape[0] - 1
    place = np.arange(length) * (cells / max(length - 1, 1))
    low = np.minimum(place.astype(np.int64), max(cells - 1, 0))
    part = (place - low).astype(np.float32)[:, None]
    below = np.take(coarse, low, axis=0, mode="clip")
    result = np.take(coarse, np.minimum(low + 1, cells), axis=0, mode="clip")
    result -= below
    result *= part
    result += below
    return result


def texture(chance: Chance, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Cloudy noise around 0, within about -1 to 1: three octaves, the coarsest with `cells` cells along the rows."""
    result = np.zeros(shape, np.float32)
    for octave, strength in enumerate((0.6, 0.35, 0.2)):
        rows = max(cells << octave, 2)
        columns = max(round(rows * shape[1] / max(shape[0], 1)), 2)
        coarse = chance.uniforms(-1, 1, rows + 1, columns + 1).astype(np.float32)
        result += enlarged(coarse, shape) * np.float32(strength)
    return result


def mottle(chance: Chance, shape: tuple[int, int]) -> np.ndarray:
    """The lungs' fine unevenness, within -1 to 1: two octaves of a few hundredths of the film's height."""
    coarse, fine = (chance.uniforms(-1, 1, cells, round(cells * ASPECT)).astype(np.float32) for cells in (22, 60))
    return enlarged(coarse, shape) * np.float32(0.6) + enlarged(fine, shape) * np.float32(0.4)


class Strokes:
    """Thin round things (vessels, tubes, wires): points are gathered per width, then blurred to that width at once.

    The projected thickness of a tube of radius r is spread over its width, so crossing tubes add, as on a film.
    """

    RADII = (0.0016, 0.0028, 0.0045, 0.0075, 0.0125, 0.021)
    LIMITS = (0.0021, 0.0036, 0.0059, 0.0098, 0.0165)
    """Radii in units of the film's height, and the limits between them; each point goes to the nearest."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.points: dict[int, list[np.ndarray]] = {}

    def add(self, x: np.ndarray, y: np.ndarray, radius: np.ndarray | float, strength: np.ndarray | float) -> None:
        """Adds curves: x, y [curves, points] in patient coordinates; `strength` is the thickness at the centre line."""
        x, y = np.atleast_2d(x), np.atleast_2d(y)
        radius, strength = np.broadcast_to(radius, x.shape), np.broadcast_to(strength, x.shape)
        column, row = self.frame.pixels(x, y)
        across, down = column[:, 1:] - column[:, :-1], row[:, 1:] - row[:, :-1]
        length = np.sqrt(across * across + down * down)
        length = np.concatenate([length, length[:, -1:]], axis=1)
        layer_of = np.searchsorted(self.LIMITS, radius)
        points = np.stack([column, row, length * strength])  # [3, curves, points]
        for layer in np.unique(layer_of).tolist():
            self.points.setdefault(layer, []).append(points[:, layer_of == layer])

    def render(self) -> np.ndarray:
        """The summed thickness, [height, width] float32."""
        result = self.frame.zeros()
        for layer in sorted(self.points):
            radius = self.RADII[layer] * self.frame.zoom * self.frame.height
            taps = bell(1.5 * radius)
            covered = min(1.0, 2 * radius)  # of a pixel, by what is thinner than one
            image = self._gathered(*np.concatenate(self.points[layer], axis=1))
            result += blur(image, 1.5 * radius) * np.float32(covered / taps[len(taps) // 2])
        return result

    def _gathered(self, column: np.ndarray, row: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Points shared out to the four pixels around each: [height, width] float32."""
        height, width = self.frame.height, self.frame.width
        inside = (column >= 0) & (column < width - 1) & (row >= 0) & (row < height - 1)
        column, row, weight = column[inside], row[inside], weight[inside]
        left, top = column.astype(np.int64), row.astype(np.int64)
        right_part, low_part = column - left, row - top
        place = top * width + left
        upper, lower = weight * (1 - low_part), weight * low_part
        places = np.concatenate([place, place + 1, place + width, place + width + 1])
        weights = [upper * (1 - right_part), upper * right_part, lower * (1 - right_part), lower * right_part]
        image = np.bincount(places, np.concatenate(weights), minlength=height * width)
        return image.reshape(height, width).astype(np.float32)
