"""The frontal view: thicknesses of air, water and bone along each ray, part by part."""

import numpy as np

from diagxnet.demo.anatomy import RIBS, SIDES, Anatomy, Pose
from diagxnet.demo.canvas import Box, Curve, Frame, Strokes, ellipse_root, hump, mottle, smooth_step, texture
from diagxnet.demo.chance import Chance
from diagxnet.demo.paths import dense_path

CAVITY = 0.74
"""Depth of the chest cavity, in units of the body's."""
INNER = ((0.0, 0.16), (0.09, 0.34), (0.15, 0.55), (0.22, 0.71), (0.32, 0.84), (0.46, 0.94), (0.6, 0.99), (0.72, 1.0),
         (0.85, 0.97), (1.0, 0.93))  # fmt: skip
"""Half the inner width of the rib cage over its widest, by height."""


class Frontal:
    """The frontal projection of one patient while signs are drawn on it.

    `air`: depth of air, [height, width]; `opacity`: the share of it that fluid or cells replace; `dense`: what is added
    outside the lungs' air (bone, devices); `vessels`: those of the lungs, which vanish where `opacity` hides them;
    `lines`: everything else that is thin.
    """

    def __init__(self, frame: Frame, anatomy: Anatomy, pose: Pose, chance: Chance) -> None:
        self.frame, self.anatomy, self.pose = frame, anatomy, pose
        self.grain = mottle(chance, frame.x.shape)
        self._outlines()
        self.body = self._body()
        self.side_of = {side: (frame.x - self.midline) * side > 0 for side in SIDES}
        self.air = self._air()
        self.opacity = frame.zeros()
        self.vessel_share = np.ones_like(self.air)
        self.dense = frame.zeros()
        self.vessels, self.lines = Strokes(frame), Strokes(frame)
        self._trachea()
        self._ribs()
        self._spine()
        self._clavicles()
        self._shoulders()
        self._breasts()
        self._bubble(chance)
        self._pulmonary_vessels()

    # Outlines -------------------------------------------------------------------------------------------------------

    def _outlines(self) -> None:
        frame, anatomy, pose = self.frame, self.anatomy, self.pose
        self.inner = Curve([(y, anatomy.thorax * part) for y, part in INNER])
        self.spine_line = Curve([(0.0, 0.0), (0.3, anatomy.spine_curve), (0.65, -anatomy.spine_curve), (1.0, 0.0)])
        self.midline = self.spine_line.at(frame.at_y)
        self.inner_at = self.inner.at(frame.at_y)
        shift = 0.022 * pose.turn + pose.pulled
        dome = min(pose.domes.values())
        width = 2 * anatomy.thorax * pose.heart
        tilt = anatomy.heart_tilt
        left = width * (0.655 + 0.03 * tilt)
        right = width - left
        upper, knob = pose.mediastinum, anatomy.aorta
        top = dome - 0.30 - 0.03 * (1 - tilt)
        self.right_border = Curve([
            (0.0, 0.075), (0.12, 0.052), (0.2, upper * 0.84), (top - 0.02, upper * 0.9), (top + 0.06, upper * 0.95),
            (top + 0.12, right * 0.86), (top + 0.2, right), (dome, right * 0.9), (dome + 0.08, right * 0.72),
        ])  # fmt: skip
        self.left_border = Curve([
            (0.0, 0.075), (0.12, 0.056), (0.2, upper * 0.86), (0.265, upper + 0.1 * knob), (0.305, upper + knob),
            (0.35, upper * 0.86 + 0.1 * knob), (top + 0.03, upper * 1.0), (top + 0.09, upper + 0.24 * (left - upper)),
            (top + 0.17, upper + 0.68 * (left - upper)), (dome - 0.05 + 0.02 * tilt, left),
            (dome + 0.04, left * 0.93), (dome + 0.1, left * 0.6),
        ])  # fmt: skip
        self.mediastinum_shift = shift
        self.heart_box = (-right + shift, top + 0.08, left + shift, dome + 0.05)
        self.upper_box = (-upper * 1.1 + shift, 0.14, upper + knob + shift, top + 0.1)
        self.domes = {side: self._dome(side) for side in SIDES}

    def _dome(self, side: int) -> Curve:
        height, wide = self.pose.domes[side], self.anatomy.thorax
        form = ((0.0, 0.035), (0.2, 0.008), (0.42, 0.0), (0.62, 0.012), (0.8, 0.05), (0.93, 0.098), (1.02, 0.145))
        knots = [(side * part * wide, height + drop) for part, drop in form]
        return Curve(knots if side > 0 else knots[::-1])

    def _body(self) -> np.ndarray:
        frame, anatomy = self.frame, self.anatomy
        outer = anatomy.thorax + anatomy.wall
        trunk = Curve([
            (-0.1, 0.12), (0.0, 0.125), (0.045, 0.15), (0.085, 0.30), (0.12, 0.44), (0.17, outer * 1.08),
            (0.3, outer * 1.1), (0.42, outer * 1.02), (0.55, outer * 0.99), (0.75, outer), (1.0, outer * 1.03),
        ]).at(frame.at_y)  # fmt: skip
        across = frame.x / trunk
        square = across * across
        depth = Curve([(-0.1, 0.6), (0.05, 0.6), (0.12, 0.56), (0.25, 0.9), (0.5, 1.0), (0.8, 1.05), (1.0, 1.08)])
        body = ellipse_root(1 - square * square) * depth.at(frame.at_y)
        for side in SIDES:
            box = frame.box(side * 0.54 - 0.2, 0.05, side * 0.54 + 0.2, 1.15)
            body[box.slices] = np.maximum(body[box.slices], self._arm(side, box))
        return body

    def _arm(self, side: int, box: Box) -> np.ndarray:
        frame, anatomy = self.frame, self.anatomy
        at, reach = box.slices, self.pose.arms
        middle = Curve([(0.1, 0.47), (0.2, 0.5 + 0.2 * anatomy.wall), (0.5, reach), (1.0, reach + 0.06)])
        half = Curve([(0.08, 0.03), (0.13, 0.085), (0.25, 0.1), (0.5, 0.075 + 0.3 * anatomy.wall), (1.0, 0.075)])
        across = (frame.x[at] * side - middle.at(frame.at_y[at])) / half.at(frame.at_y[at])
        fade = smooth_step((frame.y[at] - 0.07) / 0.06)
        bone = across + 0.1
        shaft = smooth_step((0.24 - np.abs(bone)) / 0.06) * (0.6 + 9 * bone * bone)
        fade *= ellipse_root(1 - across * across) * np.float32(0.42) + shaft * np.float32(0.07)
        return fade

    # Air ------------------------------------------------------------------------------------------------------------

    def _air(self) -> np.ndarray:
        frame = self.frame
        across = frame.x / self.inner_at
        square = across * across
        air = ellipse_root(1 - square * square) * np.float32(CAVITY)
        air *= self._below_apex()
        air *= 1 - self._mediastinum()
        air *= self._above_diaphragm()
        return air

    def _below_apex(self) -> np.ndarray:
        frame, apex = self.frame, self.anatomy.apex
        form = ((0.02, 0.12), (0.06, 0.055), (0.11, 0.012), (0.16, 0.0), (0.22, 0.022), (0.3, 0.09), (0.4, 0.24))
        knots = [(-x, apex + drop) for x, drop in form[::-1]] + [(x, apex + drop) for x, drop in form]
        depth = (frame.y - Curve(knots).at(frame.at_x)) / np.float32(0.14)
        return smooth_step(depth * 12) * (0.35 + 0.65 * np.minimum(ellipse_root(depth), 1))

    def _mediastinum(self) -> np.ndarray:
        """The share of the ray through the chest that heart and great vessels take: an edge, then a round body."""
        frame = self.frame
        x = frame.x - self.midline - np.float32(self.mediastinum_shift)
        border = np.where(x < 0, self.right_border.at(frame.at_y), self.left_border.at(frame.at_y))
        inward = border - np.abs(x)
        edge = smooth_step(inward / np.float32(0.009) + 0.5)
        chord = ellipse_root(np.minimum(inward / border, 1) * (2 - np.minimum(inward / border, 1)))
        return np.minimum(edge * (0.6 + 0.4 * chord), np.float32(0.97))

    def _above_diaphragm(self) -> np.ndarray:
        frame = self.frame
        dome = np.where(frame.x < 0, self.domes[-1].at(frame.at_x), self.domes[1].at(frame.at_x))
        below = frame.y - dome
        edge = 1 - smooth_step(below / np.float32(0.008) + 0.5)
        recess = np.maximum(1 - below / np.float32(0.16), 0)
        return edge + (1 - edge) * np.float32(0.16) * recess * recess

    # Bones ----------------------------------------------------------------------------------------------------------

    def _ribs(self) -> None:
        for side in SIDES:
            for rib in RIBS:
                self._posterior_rib(side, rib)
                if rib <= 7:
                    self._anterior_rib(side, rib)

    def rib_height(self, side: int, rib: int) -> float:
        """Height of the head of a rib at the spine."""
        anatomy = self.anatomy
        return 0.118 + anatomy.rib_spacing * (rib - 1) + float(anatomy.rib_jitter[(side + 1) // 2, rib])

    def posterior_rib(self, side: int, rib: int) -> list[tuple[float, float]]:
        """Knots of the centre line by distance from the midline: out and up a little, then down along the wall."""
        start, slope = self.rib_height(side, rib), self.anatomy.rib_slope
        wide = float(self.inner(start + 0.07 * slope)) + 0.012
        sag = (0.35 + 0.065 * rib) * slope
        form = ((0.08, 0.006), (0.3, -0.006 + 0.01 * sag), (0.55, 0.03 * sag), (0.78, 0.08 * sag), (0.92, 0.125 * sag),
                (1.0, 0.165 * sag))  # fmt: skip
        return [(part * wide, start + drop) for part, drop in form]

    def anterior_rib(self, side: int, rib: int) -> list[tuple[float, float]]:
        """From the wall inwards and down, to where the rib turns into cartilage, which casts no shadow."""
        outer_x, outer_y = self.posterior_rib(side, rib)[-1]
        spacing = self.anatomy.rib_spacing
        drop = spacing * (1.5 + 0.16 * rib) * self.anatomy.rib_slope
        inner_x = 0.1 + 0.018 * rib
        span = outer_x - inner_x
        return [
            (inner_x, outer_y + drop), (inner_x + 0.3 * span, outer_y + 0.86 * drop),
            (inner_x + 0.6 * span, outer_y + 0.58 * drop), (inner_x + 0.85 * span, outer_y + 0.26 * drop),
            (outer_x, outer_y - 0.01),
        ]  # fmt: skip

    def _posterior_rib(self, side: int, rib: int) -> None:
        knots = self.posterior_rib(side, rib)
        half = self.anatomy.rib_width * (0.85 if rib == 1 else 1.0)
        self._bar(side, knots, half, 0.85, self._breaks(side, rib))

    def _anterior_rib(self, side: int, rib: int) -> None:
        knots = self.anterior_rib(side, rib)
        self._bar(side, knots, self.anatomy.rib_width * 1.18, 0.55, [], fade=0.06)

    def _breaks(self, side: int, rib: int) -> list[tuple[float, float, float]]:
        return [(place, step, gap) for s, r, place, step, gap in self.pose.fractures if (s, r) == (side, rib)]

    def _bar(self, side: int, knots, half: float, strength: float, breaks, fade: float = 0.02) -> None:
        """A flat bone along a curve, brighter at its cortex, added in the box that it covers."""
        frame = self.frame
        low, high = knots[0][0], knots[-1][0]
        heights = [y for _, y in knots]
        reach = half * 4 + 0.02
        sides = sorted((side * low, side * high))
        box = frame.box(sides[0], min(heights) - reach, sides[1], max(heights) + reach)
        if box.empty:
            return
        at = box.slices
        curve = Curve([(side * x, y) for x, y in knots][::side], sides[0] - 0.05, sides[1] + 0.05)
        index, outward = frame.at_x[at], frame.x[at] * side
        middle = curve.at(index)
        share = np.float32(1)
        for place, step, gap in breaks:
            past = outward - np.float32(place * high)
            middle = middle + smooth_step(past / np.float32(0.006) + 0.5) * np.float32(step)
            share = share * (1 - 0.95 * hump(past / np.float32(max(gap, 1e-3))))
        across = (frame.y[at] - middle) * curve.shortening(index) / np.float32(half)
        inside = np.maximum(1 - across * across, 0)
        body = smooth_step(inside * 2.2) * (1 - 0.42 * inside)
        ends = smooth_step((outward - low) / np.float32(fade)) * smooth_step(
            (high + 0.004 - outward) / np.float32(0.008)
        )
        self.dense[at] += body * ends * share * np.float32(self.anatomy.bone * strength)

    def _spine(self) -> None:
        frame, anatomy = self.frame, self.anatomy
        box = frame.box(-0.09, -0.05, 0.09, 1.05)
        at = box.slices
        x, y = frame.x[at] - self.midline[at], frame.y[at]
        spacing = np.float32(anatomy.rib_spacing)
        phase = (y - np.float32(0.118)) / spacing
        phase = phase - np.floor(phase)
        disc = hump((phase - 0.5) / 0.16)
        half = 0.036 + 0.006 * (1 - disc)
        column = smooth_step((half - np.abs(x)) / np.float32(0.008) + 0.5)
        pedicles = hump((np.abs(x) - 0.024) / np.float32(0.009)) * hump((phase - 0.05) / 0.2)
        process = hump(x / np.float32(0.008)) * hump((phase - 0.3) / 0.35)
        bone = column * (0.75 - 0.3 * disc) + 0.35 * pedicles + 0.3 * process
        self.dense[at] += bone * np.float32(anatomy.bone * 0.9)

    def _clavicles(self) -> None:
        lift, turn = self.anatomy.clavicle, self.pose.turn
        high = -0.025 if self.pose.projection == "AP" else 0.0
        for side in SIDES:
            middle = 0.03 + 0.022 * turn * side
            start = 0.192 + 0.01 * side * turn
            knots = [
                (middle, start), (middle + 0.05, start - 0.012), (0.2, 0.158 + lift + high),
                (0.31, 0.118 + lift + high),
                (0.4, 0.088 + lift + high), (0.46, 0.085 + lift + high),
            ]  # fmt: skip
            self._bar(side, knots, self.anatomy.rib_width * 1.25, 1.15, [])

    def _shoulders(self) -> None:
        """Scapula with its spine, and the head of the humerus."""
        out = 0.0 if self.pose.projection == "PA" else -0.045
        for side in SIDES:
            medial = np.array([[0.345, 0.36, 0.385, 0.405, 0.425], [0.17, 0.25, 0.34, 0.42, 0.475]])
            lateral = np.array([[0.475, 0.455, 0.44, 0.43, 0.425], [0.19, 0.28, 0.36, 0.43, 0.475]])
            spine = np.array([[0.36, 0.4, 0.44, 0.48, 0.51], [0.215, 0.185, 0.155, 0.13, 0.115]])
            for line, strength in ((medial, 0.035), (lateral, 0.05), (spine, 0.05)):
                x, y = dense_path(line[0] + out, line[1])
                self.lines.add(side * x, y, 0.006, strength * self.anatomy.bone / 0.1)
            self._blade(side, medial, lateral, out)
            box = self.frame.box(side * 0.515 - 0.06, 0.1, side * 0.515 + 0.06, 0.24)
            at = box.slices
            dx, dy = (self.frame.x[at] - side * 0.515) / 0.044, (self.frame.y[at] - 0.165) / 0.047
            self.dense[at] += ellipse_root(1 - dx * dx - dy * dy) * np.float32(0.09)

    def _blade(self, side: int, medial: np.ndarray, lateral: np.ndarray, out: float) -> None:
        box = self.frame.box(min(side * 0.3, side * 0.5), 0.16, max(side * 0.3, side * 0.5), 0.49)
        at = box.slices
        x = self.frame.x[at] * side
        inner = Curve([(y, x + out) for x, y in medial.T]).at(self.frame.at_y[at])
        outer = Curve([(y, x + out) for x, y in lateral.T]).at(self.frame.at_y[at])
        inside = smooth_step((x - inner) / 0.006) * smooth_step((outer - x) / 0.006)
        tall = smooth_step((self.frame.y[at] - 0.165) / 0.02) * smooth_step((0.475 - self.frame.y[at]) / 0.01)
        self.dense[at] += inside * tall * np.float32(0.03)

    # Soft tissue and air outside the lungs --------------------------------------------------------------------------

    def _trachea(self) -> None:
        frame = self.frame
        shift = self.mediastinum_shift * 0.6
        box = frame.box(-0.14, -0.05, 0.14, 0.46)
        at = box.slices
        x, y = frame.x[at] - self.midline[at], frame.y[at]
        centre = np.float32(shift) - 0.006 * smooth_step((y - 0.2) / 0.1)
        wide = np.float32(0.017)
        tube = ellipse_root(1 - ((x - centre) / wide) * ((x - centre) / wide)) * smooth_step((0.35 - y) / 0.03)
        for side, slope in ((-1, 0.62), (1, 0.95)):
            line = np.float32(shift - 0.006) + side * np.float32(slope) * (y - np.float32(0.325))
            across = (x - line) / np.float32(0.014)
            tube = np.maximum(
                tube,
                0.75
                * ellipse_root(1 - across * across)
                * smooth_step((y - 0.32) / 0.02)
                * smooth_step((0.41 - y) / 0.04),
            )
        self.dense[at] -= np.float32(0.115) * tube

    def _breasts(self) -> None:
        anatomy, frame = self.anatomy, self.frame
        size = anatomy.breast
        if size <= 0 and not anatomy.female:
            return
        for side in SIDES:
            radius = 0.13 + 0.5 * size
            x0, y0 = side * (0.235 + 0.3 * size), 0.56 + 0.6 * size
            box = frame.box(x0 - radius, y0 - radius * 1.3, x0 + radius, y0 + radius)
            at = box.slices
            dx, dy = (frame.x[at] - x0) / np.float32(radius), (frame.y[at] - y0) / np.float32(radius)
            dy = np.where(dy < 0, dy * np.float32(0.8), dy)
            inside = np.maximum(1 - dx * dx - dy * dy, 0)
            self.dense[at] += np.sqrt(inside) * smooth_step((dy + 1) / 1.6) * np.float32(1.3 * size)

    def _bubble(self, chance: Chance) -> None:
        """Gas in the stomach under the left dome and, on many films, in the colon."""
        frame, size = self.frame, self.anatomy.bubble * chance.uniform(0.5, 1)
        if size < 0.15:
            return
        x0, y0 = chance.uniform(0.12, 0.2), self.pose.domes[1] + 0.045 + 0.02 * size
        wide, tall = 0.05 + 0.05 * size, 0.022 + 0.025 * size
        box = frame.box(x0 - wide, y0 - tall, x0 + wide, y0 + tall)
        at = box.slices
        dx, dy = (frame.x[at] - np.float32(x0)) / np.float32(wide), (frame.y[at] - np.float32(y0)) / np.float32(tall)
        wobble = texture(chance, dx.shape, 2) * np.float32(0.25) if not box.empty else 0
        self.dense[at] -= smooth_step((1 - dx * dx - dy * dy + wobble) * 1.5) * np.float32(0.05 + 0.1 * size)

    def _hilum(self, side: int) -> None:
        """The soft density of bronchi, arteries and nodes at the root of a lung; the left one is higher."""
        x0 = side * 0.085 + self.mediastinum_shift * 0.7
        y0 = (0.415 if side < 0 else 0.39) * self.pose.domes[side] / 0.77
        wide, tall = 0.055, 0.085
        box = self.frame.box(x0 - wide, y0 - tall, x0 + wide, y0 + tall)
        at = box.slices
        dx, dy = self.frame.x[at] - np.float32(x0), (self.frame.y[at] - np.float32(y0)) / np.float32(tall)
        dx = (dx - side * 0.02 * dy) / np.float32(wide)
        self.dense[at] += hump(np.sqrt(dx * dx + dy * dy)) * self.air[at] * np.float32(0.11)

    def _pulmonary_vessels(self) -> None:
        for side in SIDES:
            self._hilum(side)
            tree = self.anatomy.vessels[side]
            scale = self.pose.domes[side] / 0.77
            radius = tree.radius * self.anatomy.markings
            self.vessels.add(tree.x + self.mediastinum_shift * 0.7, tree.y * scale, radius, radius * 8.5)

    # The sum --------------------------------------------------------------------------------------------------------

    def thickness(self) -> np.ndarray:
        """Water-equivalent thickness along each ray, [height, width] float32; the body's depth is about 1."""
        lung = self.air / np.float32(CAVITY)
        tissue = self.opacity * self.air * np.float32(self.pose.lung)
        air = self.air * (np.float32(self.pose.lung) + self.grain * np.float32(0.05))
        vessels = self.vessels.render() * lung * (1 - 0.6 * np.clip(self.opacity, 0, 1)) * self.vessel_share
        return self.body - air + tissue + self.dense + vessels + self.lines.render()


def square_distance(chest: Frontal, box: Box, x: float, y: float, wide: float, tall: float) -> np.ndarray:
    """Squared distance from (x, y) at the pixels of `box`, in units of the half axes: 1 on an ellipse's edge."""
    at = box.slices
    dx = (chest.frame.x[at] - np.float32(x)) / np.float32(wide)
    dy = (chest.frame.y[at] - np.float32(y)) / np.float32(tall)
    return dx * dx + dy * dy
