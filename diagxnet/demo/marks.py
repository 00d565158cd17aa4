"""What signs are drawn with: a place in a lung, opacities, lines."""

import numpy as np

from diagxnet.demo.anatomy import Anatomy
from diagxnet.demo.canvas import Box, smooth_step, texture
from diagxnet.demo.chance import Chance
from diagxnet.demo.frontal import CAVITY, Frontal
from diagxnet.demo.paths import smooth_path

VISIBLE = 0.06
"""Share of the chest's air that a sign must replace at a pixel to count for its box."""


def side_of(chance: Chance, anatomy: Anatomy) -> int:
    return anatomy.prone_side if chance.happens(0.7) else -anatomy.prone_side


def lung_point(chest: Frontal, side: int, across: float, down: float) -> tuple[float, float]:
    """A point in a lung: `across` from the mediastinum (0) to the wall (1), `down` from apex (0) to dome (1)."""
    apex = chest.anatomy.apex
    y = apex + down * (chest.pose.domes[side] - apex)
    border = (chest.right_border if side < 0 else chest.left_border)(y)
    medial = float(border) + side * chest.mediastinum_shift
    return side * (medial + across * (float(chest.inner(y)) - medial)), y


def fill(chest: Frontal, box: Box, share: np.ndarray) -> list[Box]:
    """Replaces `share` of the air in `box` by water; returns the part of it that shows."""
    at = box.slices
    chest.opacity[at] = 1 - (1 - chest.opacity[at]) * (1 - share)
    shows = np.abs(share) * chest.air[at] > VISIBLE * CAVITY
    rows, columns = np.flatnonzero(shows.any(axis=1)), np.flatnonzero(shows.any(axis=0))
    if len(rows) == 0:
        return []
    return [
        Box(
            box.left + int(columns[0]),
            box.top + int(rows[0]),
            box.left + int(columns[-1]) + 1,
            box.top + int(rows[-1]) + 1,
        )
    ]


def cloud(
    chest: Frontal,
    chance: Chance,
    side: int,
    x: float,
    y: float,
    wide: float,
    tall: float,
    strength: float,
    ragged: float,
) -> list[Box]:
    """An ill-defined opacity of the lung on `side`."""
    box = chest.frame.box(x - 1.4 * wide, y - 1.4 * tall, x + 1.4 * wide, y + 1.4 * tall)
    if box.empty:
        return []
    at = box.slices
    dx, dy = (
        (chest.frame.x[at] - np.float32(x)) / np.float32(wide),
        (chest.frame.y[at] - np.float32(y)) / np.float32(tall),
    )
    field = 1 - dx * dx - dy * dy + np.float32(ragged) * texture(chance, dx.shape, 3)
    return fill(chest, box, smooth_step(field / 1.1) * chest.side_of[side][at] * np.float32(strength))


def joined(boxes: list[Box]) -> list[Box]:
    if not boxes:
        return []
    return [
        Box(
            min(b.left for b in boxes),
            min(b.top for b in boxes),
            max(b.right for b in boxes),
            max(b.bottom for b in boxes),
        )
    ]


def line(chest: Frontal, strokes, points: list[tuple[float, float]], radius: float, strength: float) -> Box:
    """A smooth line through points ordered along it; returns the box around it."""
    x, y = smooth_path(points)
    strokes.add(x, y, radius, strength)
    return chest.frame.box(
        float(x.min()) - radius, float(y.min()) - radius, float(x.max()) + radius, float(y.max()) + radius
    )
