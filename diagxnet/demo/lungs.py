"""The signs of the lungs' tissue on a frontal view."""

import numpy as np

from diagxnet.demo.anatomy import SIDES
from diagxnet.demo.canvas import Box, ellipse_root, hump, smooth_step, texture
from diagxnet.demo.chance import Chance
from diagxnet.demo.frontal import Frontal
from diagxnet.demo.marks import cloud, fill, joined, line, lung_point, side_of


def edema(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Haze around both hila that spares the periphery, wide upper vessels, septal (Kerley B) lines at the bases."""
    frame = chest.frame
    boxes = []
    mottle = texture(chance, chest.air.shape, 6)
    lean = chance.uniform(-0.18, 0.18)
    for side in SIDES:
        x, y = lung_point(chest, side, 0.28, 0.6)
        dx = (frame.x - np.float32(x)) / np.float32(0.21)
        dy = (frame.y - np.float32(y)) / np.float32(0.27)
        haze = hump(np.sqrt(dx * dx + dy * dy) * np.float32(0.8)) * (1 + 0.45 * mottle)
        strength = (0.07 + 0.30 * severity) * (1 + lean * side)
        whole = Box(0, 0, frame.width, frame.height)
        boxes += fill(chest, whole, np.clip(haze, 0, 1.2) * chest.side_of[side] * np.float32(strength))
        _kerley(chest, side, severity, chance)
    chest.vessel_share *= np.float32(1 + 0.35 * severity)
    return boxes


def _kerley(chest: Frontal, side: int, severity: float, chance: Chance) -> None:
    for _ in range(4 + round(10 * severity)):
        x, y = lung_point(chest, side, chance.uniform(0.86, 0.95), chance.uniform(0.68, 1.02))
        length = chance.uniform(0.018, 0.035)
        chest.lines.add(
            x - side * np.linspace(0, length, 12), y + np.linspace(0, 0.004, 12), 0.0016, 0.03 + 0.04 * severity
        )


LOBES = {
    "right upper": (-1, 0.5, 0.26, 0.17, 0.19),
    "right middle": (-1, 0.3, 0.76, 0.13, 0.11),
    "right lower": (-1, 0.5, 0.88, 0.16, 0.14),
    "left upper": (1, 0.45, 0.3, 0.16, 0.19),
    "lingula": (1, 0.3, 0.72, 0.12, 0.12),
    "left lower": (1, 0.5, 0.88, 0.15, 0.14),
}
"""Side, place of the centre (across, down), half width and half height."""


def consolidation(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """A lobe without air, straight at its fissure, with the branching bronchi left dark."""
    side, across, down, wide, tall = list(LOBES.values())[chance.integer(0, len(LOBES) - 1)]
    x, y = lung_point(chest, side, across + chance.uniform(-0.08, 0.08), down + chance.uniform(-0.04, 0.04))
    size = 0.62 + 0.5 * severity
    wide, tall = wide * size, tall * size
    frame = chest.frame
    box = frame.box(x - 1.5 * wide, y - 1.5 * tall, x + 1.5 * wide, y + 1.5 * tall)
    at = box.slices
    dx, dy = (frame.x[at] - np.float32(x)) / np.float32(wide), (frame.y[at] - np.float32(y)) / np.float32(tall)
    fissure = (0.62 + 0.1 * dx - dy) if down < 0.5 else (dy + 0.62 - 0.1 * dx)
    square = dx * dx
    field = 1 - square * square - dy * dy + 0.3 * texture(chance, dx.shape, 3)
    share = (
        smooth_step(field / 0.9) * smooth_step(fissure / np.float32(0.1)) * (1 + 0.15 * texture(chance, dx.shape, 4))
    )
    boxes = fill(chest, box, share * chest.side_of[side][at] * np.float32(0.42 + 0.54 * severity))
    _air_bronchogram(chest, side, x, y, wide, tall, severity, chance)
    return boxes


def _air_bronchogram(chest: Frontal, side, x, y, wide, tall, severity, chance: Chance) -> None:
    start_x, start_y = x - side * 0.75 * wide, y - 0.35 * tall
    for _ in range(4):
        end_x, end_y = x + side * wide * chance.uniform(0.1, 0.6), y + tall * chance.uniform(-0.6, 0.6)
        middle = ((start_x + end_x) / 2, (start_y + end_y) / 2 + 0.012 * chance.side())
        line(chest, chest.lines, [(start_x, start_y), middle, (end_x, end_y)], 0.0045, -(0.03 + 0.06 * severity))


def pneumonia(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Patches of different size and density in one zone, mostly a lower one, that run together."""
    side = side_of(chance, chest.anatomy)
    across, down = chance.uniform(0.35, 0.65), chance.uniform(0.62, 0.85) if chance.happens(0.75) else 0.3
    boxes = []
    for _ in range(4 + round(6 * severity)):
        x, y = lung_point(
            chest, side, across + chance.uniform(-0.3, 0.3), min(down + chance.uniform(-0.17, 0.17), 0.97)
        )
        size = chance.uniform(0.03, 0.07) * (0.75 + 0.5 * severity)
        boxes += cloud(chest, chance, side, x, y, size, size * chance.uniform(0.7, 1.2), 0.27 + 0.36 * severity, 1.0)
    return joined(boxes)


def atelectasis(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Plates across a lower zone; where severe, a wedge behind the lifted diaphragm as well."""
    side = side_of(chance, chest.anatomy)
    boxes = []
    for _ in range(2 + chance.integer(0, 1) + (severity > 0.6)):
        x, y = lung_point(chest, side, chance.uniform(0.3, 0.65), chance.uniform(0.42, 0.93))
        half, slope = chance.uniform(0.08, 0.125) * (0.8 + 0.4 * severity), chance.uniform(-0.5, 0.35) * side
        thick = chance.uniform(0.011, 0.017) * (0.8 + 0.6 * severity)
        boxes += _plate(chest, side, x, y, half, slope, thick, 0.52 + 0.45 * severity)
    if severity >= 0.6:
        x, y = lung_point(chest, side, 0.3, 0.98)
        boxes += cloud(chest, chance, side, x, y, 0.12, 0.06, 0.3 + 0.4 * severity, 0.25)
    return boxes


def _plate(chest: Frontal, side: int, x, y, half, slope, thick, strength) -> list[Box]:
    frame = chest.frame
    tall = abs(slope) * half + 3 * thick
    box = frame.box(x - half, y - tall, x + half, y + tall)
    at = box.slices
    along = (frame.x[at] - np.float32(x)) / np.float32(half)
    off = (frame.y[at] - np.float32(y) - np.float32(slope * half) * along) / np.float32(thick)
    share = hump(off / 1.6) * smooth_step((1 - np.abs(along)) * 1.4) * np.float32(strength)
    return fill(chest, box, share * chest.side_of[side][at])


def lung_opacity(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """A haze that no other sign explains: one or two wide clouds anywhere."""
    boxes = []
    for _ in range(1 + chance.integer(0, 1)):
        side = chance.side()
        x, y = lung_point(chest, side, chance.uniform(0.25, 0.75), chance.uniform(0.25, 0.9))
        size = chance.uniform(0.07, 0.12)
        boxes += cloud(chest, chance, side, x, y, size, size * chance.uniform(0.7, 1.3), 0.14 + 0.32 * severity, 0.7)
    return boxes


def lung_lesion(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """A mass, or one to three nodules: round, well-defined."""
    boxes = []
    mass = chance.happens(0.75)
    for _ in range(1 if mass else 1 + chance.integer(1, 3)):
        x, y = lung_point(chest, chance.side(), chance.uniform(0.2, 0.85), chance.uniform(0.15, 0.9))
        radius = chance.uniform(0.055, 0.078) * (0.8 + 0.45 * severity) if mass else chance.uniform(0.026, 0.038)
        radius *= 0.6 + 0.4 * min(severity / 0.4, 1)
        boxes += _nodule(chest, chance, x, y, radius, 0.68 + 0.32 * severity)
    return boxes


def _nodule(chest: Frontal, chance: Chance, x: float, y: float, radius: float, strength: float) -> list[Box]:
    box = chest.frame.box(x - 1.3 * radius, y - 1.3 * radius, x + 1.3 * radius, y + 1.3 * radius)
    if box.empty:
        return []
    at = box.slices
    dx, dy = (
        (chest.frame.x[at] - np.float32(x)) / np.float32(radius),
        (chest.frame.y[at] - np.float32(y)) / np.float32(radius),
    )
    inside = 1 - dx * dx - dy * dy + 0.2 * texture(chance, dx.shape, 2)
    return fill(chest, box, smooth_step(inside * 2.5) * (0.6 + 0.4 * ellipse_root(inside)) * np.float32(strength))
