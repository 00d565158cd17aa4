"""The signs around the lungs on a frontal view: of the pleura and of the ribs."""

import numpy as np

from diagxnet.demo.canvas import Box, Curve, hump, smooth_step, texture
from diagxnet.demo.chance import Chance
from diagxnet.demo.frontal import Frontal
from diagxnet.demo.marks import fill, lung_point, side_of


def pneumothorax(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Air between wall and lung: darker, without markings, inside it the thin line of the pleura and a smaller lung."""
    frame, side = chest.frame, side_of(chance, chest.anatomy)
    gap, low = 0.04 + 0.125 * severity, chance.uniform(0.45, 0.75)
    apex, dome = chest.anatomy.apex, chest.pose.domes[side]
    knots = [(apex + part * (dome - apex), gap * share) for part, share in
             ((0.0, 1.6), (0.15, 1.15), (0.35, 0.85), (low, 0.6), (1.15, 0.25 * severity))]  # fmt: skip
    width = Curve(knots)
    edge = chest.inner_at - width.at(frame.at_y)
    outside = smooth_step((frame.x * side - edge) / np.float32(0.005) + 0.5) * chest.side_of[side]
    top = apex + 0.35 * gap
    outside = np.maximum(outside, smooth_step((np.float32(top) - frame.y) / np.float32(0.006)) * chest.side_of[side])
    chest.vessel_share *= 1 - outside
    heights = np.linspace(top, dome + 0.06, 120)
    line_x = chest.inner(heights) - width(heights)
    keep = line_x > 0.05
    chest.lines.add(side * line_x[keep], heights[keep], 0.0028, 0.045 + 0.03 * severity)
    lung = chest.side_of[side] * (1 - outside)
    chest.opacity += lung * np.float32(0.05 + 0.18 * severity)
    whole = Box(0, 0, frame.width, frame.height)
    return fill(chest, whole, outside * np.float32(-0.27))


def pleural_effusion(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Fluid at the base: it blunts the angle, hides the dome and climbs along the wall (the meniscus)."""
    first = side_of(chance, chest.anatomy)
    both = chance.happens(0.4)
    boxes = []
    for side, level in ((first, severity), (-first, severity * chance.uniform(0.3, 0.9))):
        if side == first or both:
            boxes += _fluid(chest, side, level)
    return boxes


def _fluid(chest: Frontal, side: int, severity: float) -> list[Box]:
    frame, dome = chest.frame, chest.pose.domes[side]
    wide = chest.anatomy.thorax
    level = dome + 0.1 - 0.3 * severity
    rise = 0.05 + 0.08 * severity
    form = ((0.0, 0.2), (0.3, 0.12), (0.55, 0.02), (0.75, -0.25), (0.9, -0.65), (1.05, -1.1))
    knots = [(side * part * wide, level + 0.02 + share * rise) for part, share in form]
    surface = Curve(knots if side > 0 else knots[::-1]).at(frame.at_x)
    share = smooth_step((frame.y - surface) / np.float32(0.035)) * chest.side_of[side]
    top = max(int((level - rise - 0.1) * frame.height) - frame.height // 8, 0)
    box = Box(0, top, frame.width, frame.height)
    return fill(chest, box, share[box.slices] * np.float32(min(0.9 + 0.3 * severity, 1.0)))


def pleural_other(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """A thick, lumpy rind along the wall or over the apex, at times with plaques of lime seen face on."""
    frame, side = chest.frame, side_of(chance, chest.anatomy)
    top, bottom = (0.12, 0.42) if chance.happens(0.3) else (chance.uniform(0.22, 0.38), chance.uniform(0.62, 0.76))
    thick = 0.026 + 0.042 * severity
    count = 7
    places = np.linspace(top, bottom, count)
    lumps = thick * chance.uniforms(0.55, 1.35, count)
    lumps[0] = lumps[-1] = 0.0
    depth = Curve(list(zip(places.tolist(), lumps.tolist(), strict=True))).at(frame.at_y)
    inward = chest.inner_at - frame.x * side
    share = smooth_step((depth - inward) / np.float32(0.007) + 0.5) * (inward > -0.004) * chest.side_of[side]
    share = share * smooth_step((frame.y - np.float32(top)) / 0.04) * smooth_step((np.float32(bottom) - frame.y) / 0.04)
    whole = Box(0, 0, frame.width, frame.height)
    boxes = fill(chest, whole, share * np.float32(0.55 + 0.4 * severity))
    chest.dense += share * np.float32(0.03 + 0.045 * severity)
    if chance.happens(0.5):
        boxes += _plaques(chest, side, severity, chance)
    return boxes


def _plaques(chest: Frontal, side: int, severity: float, chance: Chance) -> list[Box]:
    boxes = []
    for _ in range(1 + round(2 * severity)):
        x, y = lung_point(chest, side, chance.uniform(0.45, 0.8), chance.uniform(0.4, 0.8))
        wide, tall = chance.uniform(0.02, 0.04), chance.uniform(0.01, 0.018)
        box = chest.frame.box(x - 1.4 * wide, y - 1.4 * tall, x + 1.4 * wide, y + 1.4 * tall)
        if box.empty:
            continue
        at = box.slices
        dx, dy = (
            (chest.frame.x[at] - np.float32(x)) / np.float32(wide),
            (chest.frame.y[at] - np.float32(y)) / np.float32(tall),
        )
        field = 1 - dx * dx - dy * dy + 0.7 * texture(chance, dx.shape, 3)
        chest.dense[at] += smooth_step(field * 1.4) * np.float32(0.05 + 0.06 * severity)
        boxes.append(box)
    return boxes


def fracture(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """The ribs are broken already (`shape_pose`); this adds the oblique dark gap and the dense ends beside it.

    Air that the broken ends let into the chest wall (subcutaneous emphysema) streaks it dark and bright where severe.
    """
    boxes = _emphysema(chest, severity, chance) if severity >= 0.3 and chance.happens(0.8) else []
    for side, rib, place, step, _ in chest.pose.fractures:
        knots = chest.posterior_rib(side, rib)
        x = place * knots[-1][0]
        y = float(Curve(knots)(x)) + step / 2
        radius = 0.036 + 0.012 * severity
        box = chest.frame.box(side * x - radius, y - radius, side * x + radius, y + radius)
        if box.empty:
            continue
        at = box.slices
        lean = chance.uniform(0.2, 0.7) * chance.side()
        dx, dy = chest.frame.x[at] - np.float32(side * x), chest.frame.y[at] - np.float32(y)
        along, across = dx + np.float32(lean) * dy, dy - np.float32(0.3 * lean) * dx
        inside = hump(across / np.float32(0.02 + 0.006 * severity))
        ends = hump((np.abs(along) - np.float32(0.022)) / np.float32(0.017)) * inside
        gap = hump(along / np.float32(0.011 + 0.003 * severity)) * inside
        chest.dense[at] += ends * np.float32(0.28 + 0.22 * severity) - gap * np.float32(0.32 + 0.2 * severity)
        boxes.append(box)
    return boxes


def _emphysema(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Streaks of air between the muscles of the chest wall, outside the ribs of the broken side."""
    frame, side = chest.frame, chest.pose.fractures[0][0]
    top, bottom = chance.uniform(0.08, 0.2), chance.uniform(0.5, 0.85)
    box = frame.box(min(side * 0.2, side * 0.56), top, max(side * 0.2, side * 0.56), bottom)
    if box.empty:
        return []
    at = box.slices
    outward = frame.x[at] * side - chest.inner_at[at]
    wall = smooth_step((outward + 0.004) / 0.012) * smooth_step((chest.anatomy.wall + 0.05 - outward) / 0.03)
    tall = smooth_step((frame.y[at] - np.float32(top)) / 0.06) * smooth_step((np.float32(bottom) - frame.y[at]) / 0.12)
    streaks = texture(chance, outward.shape, 14) + np.float32(0.1)
    dark = wall * tall * streaks * np.float32(0.2 + 0.24 * severity)
    chest.dense[at] -= dark
    return [box]
