"""The signs on a frontal view, one function each: it draws the sign and returns the boxes around it.

A sign gets its severity (0 to 1), its own random stream and the side that the patient's disease prefers, so that
it can be left out without moving another.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from diagxnet.demo.anatomy import SIDES, Anatomy, Pose
from diagxnet.demo.canvas import Box, Curve, ellipse_root, hump, smooth_step, texture
from diagxnet.demo.chance import Chance
from diagxnet.demo.frontal import CAVITY, Frontal, square_distance
from diagxnet.demo.paths import smooth_path

VISIBLE = 0.06
"""Share of the chest's air that a sign must replace at a pixel to count for its box."""


# Shape: what changes the pose before it is drawn ------------------------------------------------------------------


def shape_pose(pose: Pose, anatomy: Anatomy, severities: dict[str, float], chances: dict[str, Chance]) -> Pose:
    """The pose with the organs that disease enlarges, lifts, pulls or breaks."""
    if "cardiomegaly" in severities:
        severity = severities["cardiomegaly"]
        pose = replace(pose, heart=max(0.494 + 0.098 * severity, pose.heart))
    else:
        pose = replace(pose, heart=min(pose.heart, 0.497))
    if "enlarged_cardiomediastinum" in severities:
        pose = replace(pose, mediastinum=pose.mediastinum * (1.2 + 0.75 * severities["enlarged_cardiomediastinum"]))
    if "atelectasis" in severities:
        pose = _lose_volume(pose, anatomy, severities["atelectasis"], chances["atelectasis"])
    if "fracture" in severities:
        pose = replace(pose, fractures=_breaks(severities["fracture"], chances["fracture"], anatomy))
    return pose


def _lose_volume(pose: Pose, anatomy: Anatomy, severity: float, chance: Chance) -> Pose:
    """Collapse draws the diaphragm up and the mediastinum over; slight cases only show a plate."""
    side = _side(chance, anatomy)
    if severity < 0.3:
        return pose
    domes = dict(pose.domes)
    domes[side] -= 0.01 + 0.025 * severity
    return replace(pose, domes=domes, pulled=pose.pulled + side * 0.014 * severity)


def _breaks(severity: float, chance: Chance, anatomy: Anatomy) -> list[tuple[int, int, float, float, float]]:
    side = _side(chance, anatomy)
    first, count = chance.integer(3, 5), 3 + round(2.2 * severity)
    place = chance.uniform(0.5, 0.88)
    step = (0.016 + 0.016 * severity) * chance.side()
    return [
        (side, rib, place + chance.uniform(-0.03, 0.03), step * chance.uniform(0.8, 1.2), 0.011 + 0.012 * severity)
        for rib in range(first, min(first + count, 10))
    ]


def _side(chance: Chance, anatomy: Anatomy) -> int:
    return anatomy.prone_side if chance.happens(0.7) else -anatomy.prone_side


# Helpers ------------------------------------------------------------------------------------------------------------


def _place(chest: Frontal, side: int, across: float, down: float) -> tuple[float, float]:
    """A point in a lung: `across` from the mediastinum (0) to the wall (1), `down` from apex (0) to dome (1)."""
    apex = chest.anatomy.apex
    y = apex + down * (chest.pose.domes[side] - apex)
    border = (chest.right_border if side < 0 else chest.left_border)(y)
    medial = float(border) + side * chest.mediastinum_shift
    return side * (medial + across * (float(chest.inner(y)) - medial)), y


def _fill(chest: Frontal, box: Box, share: np.ndarray) -> list[Box]:
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


def _cloud(
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
    return _fill(chest, box, smooth_step(field / 1.1) * chest.side_of[side][at] * np.float32(strength))


def _joined(boxes: list[Box]) -> list[Box]:
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


def _line(chest: Frontal, strokes, points: list[tuple[float, float]], radius: float, strength: float) -> Box:
    """A smooth line through points ordered along it; returns the box around it."""
    x, y = smooth_path(points)
    strokes.add(x, y, radius, strength)
    return chest.frame.box(
        float(x.min()) - radius, float(y.min()) - radius, float(x.max()) + radius, float(y.max()) + radius
    )


# Signs --------------------------------------------------------------------------------------------------------------


def cardiomegaly(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    return [chest.frame.box(*chest.heart_box)]


def enlarged_cardiomediastinum(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    return [chest.frame.box(*chest.upper_box)]


def edema(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Haze around both hila that spares the periphery, wide upper vessels, septal (Kerley B) lines at the bases."""
    frame = chest.frame
    boxes = []
    mottle = texture(chance, chest.air.shape, 6)
    lean = chance.uniform(-0.18, 0.18)
    for side in SIDES:
        x, y = _place(chest, side, 0.28, 0.6)
        dx = (frame.x - np.float32(x)) / np.float32(0.21)
        dy = (frame.y - np.float32(y)) / np.float32(0.27)
        haze = hump(np.sqrt(dx * dx + dy * dy) * np.float32(0.8)) * (1 + 0.45 * mottle)
        strength = (0.07 + 0.30 * severity) * (1 + lean * side)
        whole = Box(0, 0, frame.width, frame.height)
        boxes += _fill(chest, whole, np.clip(haze, 0, 1.2) * chest.side_of[side] * np.float32(strength))
        _kerley(chest, side, severity, chance)
    chest.vessel_share *= np.float32(1 + 0.35 * severity)
    return boxes


def _kerley(chest: Frontal, side: int, severity: float, chance: Chance) -> None:
    for _ in range(4 + round(10 * severity)):
        x, y = _place(chest, side, chance.uniform(0.86, 0.95), chance.uniform(0.68, 1.02))
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
    x, y = _place(chest, side, across + chance.uniform(-0.08, 0.08), down + chance.uniform(-0.04, 0.04))
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
    boxes = _fill(chest, box, share * chest.side_of[side][at] * np.float32(0.42 + 0.54 * severity))
    _air_bronchogram(chest, side, x, y, wide, tall, severity, chance)
    return boxes


def _air_bronchogram(chest: Frontal, side, x, y, wide, tall, severity, chance: Chance) -> None:
    start_x, start_y = x - side * 0.75 * wide, y - 0.35 * tall
    for _ in range(4):
        end_x, end_y = x + side * wide * chance.uniform(0.1, 0.6), y + tall * chance.uniform(-0.6, 0.6)
        middle = ((start_x + end_x) / 2, (start_y + end_y) / 2 + 0.012 * chance.side())
        _line(chest, chest.lines, [(start_x, start_y), middle, (end_x, end_y)], 0.0045, -(0.03 + 0.06 * severity))


def pneumonia(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Patches of different size and density in one zone, mostly a lower one, that run together."""
    side = _side(chance, chest.anatomy)
    across, down = chance.uniform(0.35, 0.65), chance.uniform(0.62, 0.85) if chance.happens(0.75) else 0.3
    boxes = []
    for _ in range(4 + round(6 * severity)):
        x, y = _place(chest, side, across + chance.uniform(-0.3, 0.3), min(down + chance.uniform(-0.17, 0.17), 0.97))
        size = chance.uniform(0.03, 0.07) * (0.75 + 0.5 * severity)
        boxes += _cloud(chest, chance, side, x, y, size, size * chance.uniform(0.7, 1.2), 0.27 + 0.36 * severity, 1.0)
    return _joined(boxes)


def atelectasis(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Plates across a lower zone; where severe, a wedge behind the lifted diaphragm as well."""
    side = _side(chance, chest.anatomy)
    boxes = []
    for _ in range(2 + chance.integer(0, 1) + (severity > 0.6)):
        x, y = _place(chest, side, chance.uniform(0.3, 0.65), chance.uniform(0.42, 0.93))
        half, slope = chance.uniform(0.08, 0.125) * (0.8 + 0.4 * severity), chance.uniform(-0.5, 0.35) * side
        thick = chance.uniform(0.011, 0.017) * (0.8 + 0.6 * severity)
        boxes += _plate(chest, side, x, y, half, slope, thick, 0.52 + 0.45 * severity)
    if severity >= 0.6:
        x, y = _place(chest, side, 0.3, 0.98)
        boxes += _cloud(chest, chance, side, x, y, 0.12, 0.06, 0.3 + 0.4 * severity, 0.25)
    return boxes


def _plate(chest: Frontal, side: int, x, y, half, slope, thick, strength) -> list[Box]:
    frame = chest.frame
    tall = abs(slope) * half + 3 * thick
    box = frame.box(x - half, y - tall, x + half, y + tall)
    at = box.slices
    along = (frame.x[at] - np.float32(x)) / np.float32(half)
    off = (frame.y[at] - np.float32(y) - np.float32(slope * half) * along) / np.float32(thick)
    share = hump(off / 1.6) * smooth_step((1 - np.abs(along)) * 1.4) * np.float32(strength)
    return _fill(chest, box, share * chest.side_of[side][at])


def lung_opacity(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """A haze that no other sign explains: one or two wide clouds anywhere."""
    boxes = []
    for _ in range(1 + chance.integer(0, 1)):
        side = chance.side()
        x, y = _place(chest, side, chance.uniform(0.25, 0.75), chance.uniform(0.25, 0.9))
        size = chance.uniform(0.07, 0.12)
        boxes += _cloud(chest, chance, side, x, y, size, size * chance.uniform(0.7, 1.3), 0.14 + 0.32 * severity, 0.7)
    return boxes


def lung_lesion(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """A mass, or one to three nodules: round, well-defined."""
    boxes = []
    mass = chance.happens(0.75)
    for _ in range(1 if mass else 1 + chance.integer(1, 3)):
        x, y = _place(chest, chance.side(), chance.uniform(0.2, 0.85), chance.uniform(0.15, 0.9))
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
    return _fill(chest, box, smooth_step(inside * 2.5) * (0.6 + 0.4 * ellipse_root(inside)) * np.float32(strength))


def pneumothorax(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Air between wall and lung: darker, without markings, inside it the thin line of the pleura and a smaller lung."""
    frame, side = chest.frame, _side(chance, chest.anatomy)
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
    return _fill(chest, whole, outside * np.float32(-0.27))


def pleural_effusion(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """Fluid at the base: it blunts the angle, hides the dome and climbs along the wall (the meniscus)."""
    first = _side(chance, chest.anatomy)
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
    return _fill(chest, box, share[box.slices] * np.float32(min(0.9 + 0.3 * severity, 1.0)))


def pleural_other(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """A thick, lumpy rind along the wall or over the apex, at times with plaques of lime seen face on."""
    frame, side = chest.frame, _side(chance, chest.anatomy)
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
    boxes = _fill(chest, whole, share * np.float32(0.55 + 0.4 * severity))
    chest.dense += share * np.float32(0.03 + 0.045 * severity)
    if chance.happens(0.5):
        boxes += _plaques(chest, side, severity, chance)
    return boxes


def _plaques(chest: Frontal, side: int, severity: float, chance: Chance) -> list[Box]:
    boxes = []
    for _ in range(1 + round(2 * severity)):
        x, y = _place(chest, side, chance.uniform(0.45, 0.8), chance.uniform(0.4, 0.8))
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


# Devices ------------------------------------------------------------------------------------------------------------


def support_devices(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    """One to four of: lines, tubes, a pacemaker, sternal wires, electrodes."""
    if severity < 0.28:
        return _electrodes(chest, chance, 1)
    chosen = []
    makers = (_central_line, _tracheal_tube, _pacemaker, _sternal_wires, _chest_tube, _port, _pads, _monitor)
    first = chance.pick(2.4, 1.2, 1.5, 1.3, 1.4, 1.6, 0.3, 0.4)
    chosen.append(first)
    for other, probability in enumerate((0.25, 0.15, 0.1, 0.12, 0.1, 0.1, 0.03, 0.05)):
        if chance.happens(probability * severity * 1.6) and other not in chosen:
            chosen.append(other)
    boxes = []
    for index in chosen:
        boxes += makers[index](chest, chance)
    if chance.happens(0.95):
        boxes += _electrodes(chest, chance, chance.integer(4, 6))
    return boxes


def _central_line(chest: Frontal, chance: Chance) -> list[Box]:
    """A catheter through a jugular or subclavian vein, or from the arm, to the superior vena cava."""
    tip = (-0.035 + chest.mediastinum_shift + chance.uniform(-0.01, 0.01), chance.uniform(0.36, 0.45))
    side = -1 if chance.happens(0.7) else 1
    route = chance.pick(2, 2, 2)
    if route == 0:
        points = [(side * 0.085, -0.03), (side * 0.075, 0.08), (side * 0.045, 0.2), (-0.04, 0.29), tip]
    elif route == 1:
        points = [(side * 0.3, 0.2), (side * 0.2, 0.165), (side * 0.1, 0.17), (-0.035, 0.24), tip]
    else:
        points = [(side * 0.6, 0.42), (side * 0.5, 0.27), (side * 0.36, 0.19), (side * 0.16, 0.16), (-0.035, 0.23), tip]
    return [_line(chest, chest.lines, points, 0.0045, 0.48)]


def _tracheal_tube(chest: Frontal, chance: Chance) -> list[Box]:
    shift = 0.6 * chest.mediastinum_shift
    end = chance.uniform(0.24, 0.3)
    points = [(shift + 0.004, -0.04), (shift, 0.1), (shift - 0.004, end)]
    boxes = [_line(chest, chest.lines, points, 0.0075, 0.28)]
    if chance.happens(0.7):
        stomach = [
            (shift + 0.012, -0.04),
            (shift + 0.012, 0.2),
            (shift + 0.02, 0.5),
            (0.05, 0.78),
            (0.13, 0.87),
            (0.17, 0.95),
        ]
        boxes.append(_line(chest, chest.lines, stomach, 0.0045, 0.38))
    return boxes


def _pacemaker(chest: Frontal, chance: Chance) -> list[Box]:
    """A generator under the clavicle, mostly the left one, with one or two leads to the heart."""
    frame, side = chest.frame, 1 if chance.happens(0.65) else -1
    x0, y0 = side * chance.uniform(0.27, 0.34), chance.uniform(0.2, 0.27)
    wide, tall = chance.uniform(0.036, 0.048), chance.uniform(0.032, 0.042)
    box = frame.box(x0 - wide, y0 - tall, x0 + wide, y0 + tall)
    if box.empty:
        return []
    at = box.slices
    dx, dy = (frame.x[at] - np.float32(x0)) / np.float32(wide), (frame.y[at] - np.float32(y0)) / np.float32(tall)
    dx, dy = dx * dx, dy * dy
    case = smooth_step((1 - dx * dx - dy * dy) * 6)
    chest.dense[at] += case * (0.4 + 0.15 * hump((np.sqrt(dx + dy) - 0.5) / 0.3))
    boxes = [box]
    shift, (_, top, left, bottom) = chest.mediastinum_shift, chest.heart_box
    tips = [(0.45 * left, bottom - 0.06), (-0.05 + shift, top + 0.08)]
    for tip in tips[: 1 + chance.happens(0.6)]:
        points = [(x0 - side * 0.02, y0 - 0.03), (side * 0.2, 0.17), (side * 0.08, 0.19), (-0.03 + shift, 0.28),
                  (-0.045 + shift, top + 0.1), tip]  # fmt: skip
        boxes.append(_line(chest, chest.lines, points, 0.0045, 0.42))
    return boxes


def _sternal_wires(chest: Frontal, chance: Chance) -> list[Box]:
    shift, boxes = 0.5 * chest.mediastinum_shift, []
    for number in range(5 + chance.integer(0, 2)):
        x, y = shift + chance.uniform(-0.006, 0.006), 0.25 + 0.062 * number
        ring = [(x - 0.018, y), (x, y - 0.011), (x + 0.018, y + 0.002), (x + 0.003, y + 0.011), (x - 0.018, y)]
        boxes.append(_line(chest, chest.lines, ring, 0.0028, 0.5))
    return _joined(boxes)


def _chest_tube(chest: Frontal, chance: Chance) -> list[Box]:
    side = _side(chance, chest.anatomy)
    points = [(side * 0.58, chance.uniform(0.6, 0.72)), (side * 0.42, 0.58), (side * 0.33, 0.42),
              (side * 0.2, chance.uniform(0.18, 0.28))]  # fmt: skip
    return [_line(chest, chest.lines, points, 0.0075, 0.34)]


def _port(chest: Frontal, chance: Chance) -> list[Box]:
    """The chamber of an implanted port on the upper chest, with its catheter to the superior vena cava."""
    side = -1 if chance.happens(0.6) else 1
    x, y, radius = side * chance.uniform(0.18, 0.3), chance.uniform(0.2, 0.33), 0.022
    box = chest.frame.box(x - radius, y - radius, x + radius, y + radius)
    if box.empty:
        return []
    distance = np.sqrt(square_distance(chest, box, x, y, radius, radius))
    rim = smooth_step((1 - distance) / 0.2) * (0.18 + 0.32 * smooth_step((distance - 0.35) / 0.2))
    chest.dense[box.slices] += rim
    tip = (-0.035 + chest.mediastinum_shift, chance.uniform(0.36, 0.44))
    points = [(x, y), (x - 0.04 * side, y - 0.05), (side * 0.1, 0.165), (-0.035, 0.24), tip]
    return [box, _line(chest, chest.lines, points, 0.0045, 0.44)]


def _monitor(chest: Frontal, chance: Chance) -> list[Box]:
    """The box of a telemetry monitor lying on the patient, anywhere, with its thick cable."""
    x, y = chance.uniform(-0.36, 0.36), chance.uniform(0.18, 0.75)
    wide, tall = chance.uniform(0.03, 0.045), chance.uniform(0.022, 0.034)
    box = chest.frame.box(x - wide, y - tall, x + wide, y + tall)
    if box.empty:
        return []
    at = box.slices
    dx, dy = (
        (chest.frame.x[at] - np.float32(x)) / np.float32(wide),
        (chest.frame.y[at] - np.float32(y)) / np.float32(tall),
    )
    outer = np.maximum(np.abs(dx), np.abs(dy))
    cells = hump((np.abs(dx) - 0.4) / 0.3) * smooth_step((0.75 - np.abs(dy)) / 0.1)
    chest.dense[at] += smooth_step((1 - outer) / 0.08) * (
        0.14 + 0.16 * smooth_step((outer - 0.82) / 0.06) + 0.4 * cells
    )
    away = (0.62 if x > 0 else -0.62, y + chance.uniform(-0.2, 0.3))
    bent = ((x + away[0]) / 2, y + chance.uniform(-0.1, 0.1))
    return [box, _line(chest, chest.lines, [(x, y + tall), bent, away], 0.0045, 0.22)]


def _pads(chest: Frontal, chance: Chance) -> list[Box]:
    """Defibrillator pads: one under the right clavicle, one over the apex."""
    boxes = []
    for x, y in ((-0.2, 0.3), (0.3, 0.68)):
        x, y = x + chance.uniform(-0.04, 0.04), y + chance.uniform(-0.04, 0.04)
        wide, tall = 0.07, 0.09
        box = chest.frame.box(x - wide, y - tall, x + wide, y + tall)
        if box.empty:
            continue
        square = square_distance(chest, box, x, y, wide, tall)
        chest.dense[box.slices] += smooth_step((1 - square) * 6) * 0.06 + hump((np.sqrt(square) - 0.85) / 0.12) * 0.12
        boxes.append(box)
        away = (0.62 if x > 0 else -0.62, y + chance.uniform(-0.05, 0.2))
        boxes.append(_line(chest, chest.lines, [(x, y), ((x + away[0]) / 2, y - 0.03), away], 0.003, 0.2))
    return boxes


def _electrodes(chest: Frontal, chance: Chance, count: int) -> list[Box]:
    """Stickers with a snap and a wire that leaves the film."""
    boxes = []
    for _ in range(count):
        x, y = chance.uniform(-0.36, 0.36), chance.uniform(0.2, 0.72)
        away = 0.62 if x > 0 else -0.62
        points = [
            (x, y),
            (x + 0.25 * (away - x), y + chance.uniform(-0.08, 0.12)),
            (away, y + chance.uniform(-0.1, 0.3)),
        ]
        boxes.append(_line(chest, chest.lines, points, 0.0028, 0.4))
        box = chest.frame.box(x - 0.016, y - 0.016, x + 0.016, y + 0.016)
        square = square_distance(chest, box, x, y, 0.016, 0.016)
        chest.dense[box.slices] += smooth_step((1 - square) * 3) * 0.1 + hump(square * 3) * 0.6
    return boxes


Painter = Callable[[Frontal, float, Chance], list[Box]]

FRONTAL_SIGNS: dict[str, Painter] = {
    "enlarged_cardiomediastinum": enlarged_cardiomediastinum,
    "cardiomegaly": cardiomegaly,
    "lung_opacity": lung_opacity,
    "lung_lesion": lung_lesion,
    "edema": edema,
    "consolidation": consolidation,
    "pneumonia": pneumonia,
    "atelectasis": atelectasis,
    "pneumothorax": pneumothorax,
    "pleural_effusion": pleural_effusion,
    "pleural_other": pleural_other,
    "fracture": fracture,
    "support_devices": support_devices,
}
"""In the order in which they are drawn."""
