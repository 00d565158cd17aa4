"""The lateral view, and the signs on it. The patient faces the film's left: sternum left, spine right."""

from collections.abc import Callable

import numpy as np

from diagxnet.demo.anatomy import Anatomy, Pose
from diagxnet.demo.canvas import Box, Curve, Frame, Strokes, ellipse_root, hump, mottle, smooth_step, texture
from diagxnet.demo.chance import Chance
from diagxnet.demo.paths import dense_path, smooth_path

CAVITY = 1.0
"""Depth of the chest cavity from side to side, in units of the body's depth from front to back."""
FRONT = ((0.0, 0.0), (0.12, -0.03), (0.18, -0.10), (0.26, -0.17), (0.4, -0.235), (0.55, -0.27), (0.7, -0.285),
         (0.85, -0.27), (1.0, -0.25))  # fmt: skip
BACK = ((0.0, 0.10), (0.12, 0.15), (0.2, 0.22), (0.3, 0.265), (0.45, 0.295), (0.6, 0.30), (0.75, 0.28), (0.9, 0.245),
        (1.0, 0.22))  # fmt: skip
"""Inner outlines of the chest, by height."""


class Lateral:
    """The lateral projection of one patient while signs are drawn on it; see `Frontal` for the attributes."""

    def __init__(self, frame: Frame, anatomy: Anatomy, pose: Pose, chance: Chance) -> None:
        self.frame, self.anatomy, self.pose = frame, anatomy, pose
        self.grain = mottle(chance, frame.x.shape)
        size = anatomy.thorax / 0.4
        self.front = Curve([(y, x * size) for y, x in FRONT])
        self.back = Curve([(y, x * size) for y, x in BACK])
        self.front_at, self.back_at = self.front.at(frame.at_y), self.back.at(frame.at_y)
        self.heart = self._heart_shape()
        self.domes = {-1: self._dome(pose.domes[-1], 0.0), 1: self._dome(pose.domes[1] + 0.012, 0.012)}
        self.body = self._body()
        self.air = self._air()
        self.opacity, self.dense = frame.zeros(), frame.zeros()
        self.vessel_share = np.ones_like(self.air)
        self.vessels, self.lines = Strokes(frame), Strokes(frame)
        self._spine()
        self._sternum()
        self._ribs(chance)
        self._airways()
        self._hila(chance)
        self._bubble(chance)

    def _heart_shape(self) -> tuple[float, float, float, float]:
        """Centre x, y and half axes."""
        dome, excess = min(self.pose.domes.values()), self.pose.heart - 0.45
        wide, tall = 0.185 + 0.34 * excess, 0.19 + 0.22 * excess
        return float(self.front(dome - 0.1)) + 0.02 + wide * 0.5, dome - 0.055 - 0.05 * excess, wide, tall

    def _dome(self, height: float, shift: float) -> Curve:
        front, back = float(self.front(height)), float(self.back(height))
        span = back - front
        form = ((0.0, 0.055), (0.2, 0.012), (0.42, 0.0), (0.62, 0.03), (0.8, 0.09), (0.93, 0.155), (1.02, 0.21))
        return Curve([(front + part * span + shift, height + drop) for part, drop in form])

    def _body(self) -> np.ndarray:
        frame, wall = self.frame, self.anatomy.wall
        y = frame.y
        skin = np.float32(0.03 + 0.35 * wall)
        neck = smooth_step((0.16 - y) / 0.14)
        front = self.front_at - skin - 0.01 * neck
        back = self.back_at + skin + np.float32(0.045)
        middle, half = (front + back) / 2, (back - front) / 2
        across = (frame.x - middle) / half
        square = across * across
        depth = Curve(
            [(-0.1, 0.75), (0.06, 1.0), (0.14, 1.62), (0.2, 1.58), (0.3, 1.42), (0.5, 1.3), (0.7, 1.3), (1.0, 1.42)]
        ).at(frame.at_y)
        body = ellipse_root(1 - square * square) * depth
        breast = self.anatomy.breast
        if breast > 0:
            reach, low = 0.03 + 0.4 * breast, 0.56 + 0.6 * breast
            dx = (frame.x - front) / np.float32(reach)
            dy = (y - np.float32(low)) / np.float32(0.13 + 0.3 * breast)
            body = body + ellipse_root(1 - dx * dx - dy * dy) * np.float32(0.2)
        return np.maximum(body, self._arm())

    def _arm(self) -> np.ndarray:
        """Raised arms, at the upper corner in front."""
        frame = self.frame
        across = (frame.y - 0.1 - 0.55 * (frame.x + 0.1)) / np.float32(0.09)
        return ellipse_root(1 - across * across) * smooth_step((0.05 - frame.x) / 0.05) * np.float32(0.5)

    def _air(self) -> np.ndarray:
        frame = self.frame
        middle, half = (self.front_at + self.back_at) / 2, (self.back_at - self.front_at) / 2
        across = (frame.x - middle) / half
        square = across * across
        air = ellipse_root(1 - square * square) * np.float32(CAVITY)
        air *= smooth_step((frame.y - np.float32(self.anatomy.apex)) / np.float32(0.16))
        x0, y0, wide, tall = self.heart
        dx, dy = (frame.x - np.float32(x0)) / np.float32(wide), (frame.y - np.float32(y0)) / np.float32(tall)
        dx = dx + 0.35 * dy
        inside = 1 - dx * dx - dy * dy
        air *= 1 - smooth_step(inside / 0.3 + 0.2) * (0.2 + 0.5 * ellipse_root(inside))
        stem = (frame.x - (-0.02 + 0.1 * (frame.y - 0.2))) / np.float32(0.085)
        air *= 1 - 0.35 * hump(stem) * smooth_step((0.62 - frame.y) / 0.3)
        for side in (-1, 1):
            below = frame.y - self.domes[side].at(frame.at_x)
            air *= 1 - 0.5 * smooth_step(below / np.float32(0.009) + 0.5)
        deepest = np.maximum(self.domes[-1].at(frame.at_x), self.domes[1].at(frame.at_x))
        return air * smooth_step((deepest + np.float32(0.02) - frame.y) / np.float32(0.03))

    def _spine(self) -> None:
        frame, anatomy = self.frame, self.anatomy
        spacing = np.float32(anatomy.rib_spacing * 0.98)
        middle = self.back_at - 0.055
        x, phase = frame.x - middle, frame.y / spacing
        phase = phase - np.floor(phase)
        disc = hump((phase - 0.5) / 0.15)
        body = smooth_step((0.043 + 0.006 * (1 - disc) - np.abs(x)) / np.float32(0.008) + 0.5)
        rim = hump((np.abs(x) - 0.041) / 0.009) + hump((np.abs(phase - 0.5) - 0.15) / 0.08) * body
        fade = 1 - 0.45 * smooth_step((frame.y - 0.3) / 0.5)
        self.dense += (body * (0.75 - 0.4 * disc) + 0.25 * rim) * fade * np.float32(anatomy.bone * 1.8)
        arch = hump((x - 0.085) / 0.03) * (0.6 - 0.5 * disc)
        self.dense += arch * np.float32(anatomy.bone * 0.8)

    def _sternum(self) -> None:
        heights = np.linspace(0.19, 0.55, 100)[None]
        x = self.front(heights) - 0.012
        self.lines.add(x, heights, 0.012, 0.09)
        self.lines.add(x - 0.01, heights, 0.002, 0.05)

    def _ribs(self, chance: Chance) -> None:
        """Both sides' ribs, slightly apart: from the spine down and forward."""
        anatomy = self.anatomy
        for shift in (0.0, chance.uniform(0.006, 0.02)):
            for rib in range(1, 11):
                y = 0.1 + anatomy.rib_spacing * (rib - 1) + shift
                drop = 0.16 + 0.016 * rib
                back = float(self.back(y)) + 0.012
                reach = 0.62 - 0.028 * abs(rib - 5)
                front = back - reach * (back - float(self.front(min(y + drop, 0.9)))) * 1.1
                points = [(back - 0.05, y), (back, y + 0.03), (back - 0.25 * (back - front), y + 0.5 * drop),
                          (back - 0.6 * (back - front), y + 0.9 * drop), (front, y + drop)]  # fmt: skip
                x, heights = smooth_path(points, steps=50)
                self.lines.add(x, heights - 0.007, 0.0028, 0.035 * anatomy.bone / 0.13)
                self.lines.add(x, heights + 0.007, 0.0028, 0.035 * anatomy.bone / 0.13)
                self.lines.add(x, heights, 0.0075, 0.03 * anatomy.bone / 0.13)

    def _airways(self) -> None:
        x, y = dense_path(np.array([0.0, 0.02, 0.05]), np.array([-0.02, 0.18, 0.37]))
        self.lines.add(x, y, 0.017, -0.13)
        for y0 in (0.36, 0.4):
            x, y = smooth_path([(0.045, y0), (0.055, y0 + 0.012), (0.065, y0), (0.055, y0 - 0.012), (0.045, y0)])
            self.lines.add(x, y, 0.0045, -0.06)

    def _hila(self, chance: Chance) -> None:
        anatomy = self.anatomy
        arch = [(0.0, 0.42), (-0.03, 0.34), (0.0, 0.275), (0.07, 0.28), (0.125, 0.36), (0.16, 0.55), (0.17, 0.78)]
        x, y = smooth_path(arch)
        self.lines.add(x, y, 0.02, 2.2 * anatomy.aorta)
        for side in (-1, 1):
            tree = anatomy.vessels[side]
            x = 0.06 + (np.abs(tree.x) - 0.2) * 0.8
            turned = np.where(np.arange(len(x))[:, None] % 2 == 0, x, 0.1 - x)
            self.vessels.add(turned, tree.y + 0.01, tree.radius * anatomy.markings, tree.radius * 7)
        box = self.frame.box(-0.02, 0.33, 0.13, 0.5)
        at = box.slices
        dx, dy = (self.frame.x[at] - 0.05) / 0.07, (self.frame.y[at] - 0.41) / 0.07
        self.dense[at] += hump(np.sqrt(dx * dx + dy * dy)) * np.float32(0.11)

    def _bubble(self, chance: Chance) -> None:
        size = self.anatomy.bubble
        x0, y0 = chance.uniform(-0.08, 0.08), self.pose.domes[1] + 0.085
        box = self.frame.box(x0 - 0.1, y0 - 0.05, x0 + 0.1, y0 + 0.05)
        at = box.slices
        dx, dy = (self.frame.x[at] - np.float32(x0)) / 0.08, (self.frame.y[at] - np.float32(y0)) / 0.035
        self.dense[at] -= smooth_step((1 - dx * dx - dy * dy) * 1.5) * np.float32(0.22 * size)

    def thickness(self) -> np.ndarray:
        """Water-equivalent thickness along each ray, [height, width] float32, scaled to a frontal view's."""
        lung = self.air / np.float32(CAVITY)
        tissue = self.opacity * self.air * np.float32(self.pose.lung)
        air = self.air * (np.float32(self.pose.lung) + self.grain * np.float32(0.03))
        vessels = self.vessels.render() * lung * (1 - 0.6 * np.clip(self.opacity, 0, 1)) * self.vessel_share
        total = self.body - air + tissue + self.dense + vessels + self.lines.render()
        return total * np.float32(0.78)


# Signs --------------------------------------------------------------------------------------------------------------


def _cloud(chest: Lateral, chance: Chance, x, y, wide, tall, strength, ragged) -> list[Box]:
    box = chest.frame.box(x - 1.4 * wide, y - 1.4 * tall, x + 1.4 * wide, y + 1.4 * tall)
    if box.empty:
        return []
    at = box.slices
    dx, dy = (
        (chest.frame.x[at] - np.float32(x)) / np.float32(wide),
        (chest.frame.y[at] - np.float32(y)) / np.float32(tall),
    )
    share = smooth_step((1 - dx * dx - dy * dy + np.float32(ragged) * texture(chance, dx.shape, 3)) / 0.8)
    share = share * np.float32(strength)
    chest.opacity[at] = 1 - (1 - chest.opacity[at]) * (1 - share)
    return [box]


def _place(chest: Lateral, forward: float, down: float) -> tuple[float, float]:
    """A point in the lungs: `forward` from the spine (0) to the sternum (1), `down` from apex to dome."""
    apex = chest.anatomy.apex + 0.06
    y = apex + down * (chest.pose.domes[-1] - apex)
    front, back = float(chest.front(y)), float(chest.back(y)) - 0.08
    return back + forward * (front - back), y


def cardiomegaly(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    x, y, wide, tall = chest.heart
    return [chest.frame.box(x - wide, y - tall, x + wide, y + tall)]


def enlarged_cardiomediastinum(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    return _cloud(chest, chance, -0.05, 0.27, 0.1, 0.12, 0.2 + 0.3 * severity, 0.2)


def edema(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    chest.vessel_share *= np.float32(1 + 0.5 * severity)
    return _cloud(chest, chance, 0.04, 0.45, 0.24, 0.26, 0.1 + 0.32 * severity, 0.6)


def lung_opacity(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    x, y = _place(chest, chance.uniform(0.2, 0.8), chance.uniform(0.3, 0.9))
    return _cloud(chest, chance, x, y, chance.uniform(0.06, 0.1), 0.09, 0.12 + 0.25 * severity, 0.7)


def consolidation(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    x, y = _place(chest, chance.uniform(0.15, 0.8), chance.uniform(0.35, 0.9))
    return _cloud(chest, chance, x, y, 0.1, 0.09, 0.25 + 0.4 * severity, 0.35)


def pneumonia(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    boxes, forward, down = [], chance.uniform(0.2, 0.7), chance.uniform(0.6, 0.85)
    for _ in range(4 + round(5 * severity)):
        x, y = _place(chest, forward + chance.uniform(-0.15, 0.15), min(down + chance.uniform(-0.15, 0.15), 0.98))
        size = chance.uniform(0.022, 0.05)
        boxes += _cloud(chest, chance, x, y, size, size, 0.15 + 0.35 * severity, 0.6)
    return boxes


def atelectasis(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    x, y = _place(chest, chance.uniform(0.2, 0.6), chance.uniform(0.7, 0.95))
    return _cloud(chest, chance, x, y, 0.1 + 0.04 * severity, 0.014 + 0.012 * severity, 0.25 + 0.4 * severity, 0.1)


def lung_lesion(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    x, y = _place(chest, chance.uniform(0.1, 0.85), chance.uniform(0.2, 0.9))
    size = 0.02 + 0.03 * severity
    return _cloud(chest, chance, x, y, size, size, 0.25 + 0.4 * severity, 0.15)


def pneumothorax(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    """Air behind the sternum and over the apex, and the pleural line."""
    frame = chest.frame
    heights = np.linspace(0.16, 0.6, 100)
    gap = 0.03 + 0.06 * severity
    x = chest.front(heights) + gap
    chest.lines.add(x, heights, 0.0028, 0.04 + 0.03 * severity)
    outside = smooth_step((chest.front_at + np.float32(gap) - frame.x) / np.float32(0.006)) * smooth_step(
        (0.62 - frame.y) / 0.1
    )
    chest.vessel_share *= 1 - outside
    chest.opacity -= outside * np.float32(0.12)
    return [frame.box(float(x.min()) - gap, 0.16, float(x.max()), 0.6)]


def pleural_effusion(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    """The angle behind fills first; the surface climbs along the back and the front."""
    frame, dome = chest.frame, chest.pose.domes[-1]
    level = dome + 0.17 - 0.3 * severity
    front, back = float(chest.front(dome)), float(chest.back(dome))
    span = back - front
    knots = [(front, level - 0.03), (front + 0.2 * span, level + 0.03), (front + 0.7 * span, level + 0.03),
             (front + 0.85 * span, level - 0.01), (back, level - 0.1)]  # fmt: skip
    surface = Curve(knots).at(frame.at_x)
    share = smooth_step((frame.y - surface) / np.float32(0.035)) * np.float32(0.55 + 0.3 * severity)
    chest.opacity = 1 - (1 - chest.opacity) * (1 - share)
    box = frame.box_of(share * chest.air > 0.05)
    return [box] if box else []


def pleural_other(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    """A rind along the back."""
    frame = chest.frame
    top, bottom, thick = chance.uniform(0.25, 0.4), chance.uniform(0.6, 0.78), 0.02 + 0.035 * severity
    inward = chest.back_at - frame.x
    share = smooth_step((np.float32(thick) - inward) / np.float32(0.008) + 0.5)
    share = share * smooth_step((frame.y - np.float32(top)) / 0.05) * smooth_step((np.float32(bottom) - frame.y) / 0.05)
    chest.dense += share * (chest.air > 0) * np.float32(0.08 + 0.1 * severity)
    box = frame.box_of(share * chest.air > 0.02)
    return [box] if box else []


def fracture(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    """Callus over some ribs."""
    boxes, x0, y0 = [], chance.uniform(0.0, 0.15), chance.uniform(0.35, 0.5)
    for number in range(1 + round(2.6 * severity)):
        x, y, size = x0 - 0.01 * number, y0 + chest.anatomy.rib_spacing * number, 0.014 + 0.01 * severity
        box = chest.frame.box(x - size, y - size, x + size, y + size)
        if box.empty:
            continue
        at = box.slices
        dx, dy = (
            (chest.frame.x[at] - np.float32(x)) / np.float32(size),
            (chest.frame.y[at] - np.float32(y)) / np.float32(size),
        )
        chest.dense[at] += hump((np.sqrt(dx * dx + dy * dy) - 0.5) / 0.45) * np.float32(0.05 + 0.09 * severity)
        boxes.append(box)
    return boxes


def support_devices(chest: Lateral, severity: float, chance: Chance) -> list[Box]:
    """A pacemaker with its lead, sternal wires or a central line, seen from the side."""
    kind = chance.pick(2, 2, 2) if severity >= 0.28 else 2
    if kind == 0:
        return _pacemaker(chest)
    if kind == 1:
        return _sternal_wires(chest)
    x, y = smooth_path([(-0.06, 0.05), (-0.03, 0.18), (-0.02, 0.3), (-0.01, chance.uniform(0.38, 0.46))])
    chest.lines.add(x, y, 0.003, 0.18)
    return [chest.frame.box(-0.065, 0.05, -0.005, 0.46)]


def _pacemaker(chest: Lateral) -> list[Box]:
    x0, y0 = float(chest.front(0.24)) + 0.01, 0.23
    x, y = dense_path(np.array([x0 - 0.006, x0 + 0.006]), np.array([y0 - 0.04, y0 + 0.04]))
    chest.lines.add(x, y, 0.009, 0.5)
    heart_x, heart_y, wide, tall = chest.heart
    x, y = smooth_path([(x0, y0 - 0.04), (x0 + 0.08, 0.17), (-0.02, 0.26), (-0.01, 0.42),
                        (heart_x - 0.4 * wide, heart_y + 0.6 * tall)])  # fmt: skip
    chest.lines.add(x, y, 0.0028, 0.22)
    return [chest.frame.box(x0 - 0.02, y0 - 0.05, x0 + 0.02, y0 + 0.05)]


def _sternal_wires(chest: Lateral) -> list[Box]:
    boxes = []
    for y0 in np.linspace(0.24, 0.52, 6).tolist():
        x0 = float(chest.front(y0)) - 0.012
        x, y = smooth_path([(x0 - 0.012, y0), (x0, y0 - 0.008), (x0 + 0.012, y0), (x0, y0 + 0.008), (x0 - 0.012, y0)])
        chest.lines.add(x, y, 0.0022, 0.32)
        boxes.append(chest.frame.box(x0 - 0.015, y0 - 0.012, x0 + 0.015, y0 + 0.012))
    return boxes


Painter = Callable[[Lateral, float, Chance], list[Box]]

LATERAL_SIGNS: dict[str, Painter] = {
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
