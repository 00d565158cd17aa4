"""Support devices on a frontal view."""

import numpy as np

from diagxnet.demo.canvas import Box, hump, smooth_step
from diagxnet.demo.chance import Chance
from diagxnet.demo.frontal import Frontal, square_distance
from diagxnet.demo.marks import joined, line, side_of


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
    return [line(chest, chest.lines, points, 0.0045, 0.48)]


def _tracheal_tube(chest: Frontal, chance: Chance) -> list[Box]:
    shift = 0.6 * chest.mediastinum_shift
    end = chance.uniform(0.24, 0.3)
    points = [(shift + 0.004, -0.04), (shift, 0.1), (shift - 0.004, end)]
    boxes = [line(chest, chest.lines, points, 0.0075, 0.28)]
    if chance.happens(0.7):
        stomach = [
            (shift + 0.012, -0.04),
            (shift + 0.012, 0.2),
            (shift + 0.02, 0.5),
            (0.05, 0.78),
            (0.13, 0.87),
            (0.17, 0.95),
        ]
        boxes.append(line(chest, chest.lines, stomach, 0.0045, 0.38))
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
        boxes.append(line(chest, chest.lines, points, 0.0045, 0.42))
    return boxes


def _sternal_wires(chest: Frontal, chance: Chance) -> list[Box]:
    shift, boxes = 0.5 * chest.mediastinum_shift, []
    for number in range(5 + chance.integer(0, 2)):
        x, y = shift + chance.uniform(-0.006, 0.006), 0.25 + 0.062 * number
        ring = [(x - 0.018, y), (x, y - 0.011), (x + 0.018, y + 0.002), (x + 0.003, y + 0.011), (x - 0.018, y)]
        boxes.append(line(chest, chest.lines, ring, 0.0028, 0.5))
    return joined(boxes)


def _chest_tube(chest: Frontal, chance: Chance) -> list[Box]:
    side = side_of(chance, chest.anatomy)
    points = [(side * 0.58, chance.uniform(0.6, 0.72)), (side * 0.42, 0.58), (side * 0.33, 0.42),
              (side * 0.2, chance.uniform(0.18, 0.28))]  # fmt: skip
    return [line(chest, chest.lines, points, 0.0075, 0.34)]


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
    return [box, line(chest, chest.lines, points, 0.0045, 0.44)]


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
    return [box, line(chest, chest.lines, [(x, y + tall), bent, away], 0.0045, 0.22)]


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
        boxes.append(line(chest, chest.lines, [(x, y), ((x + away[0]) / 2, y - 0.03), away], 0.003, 0.2))
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
        boxes.append(line(chest, chest.lines, points, 0.0028, 0.4))
        box = chest.frame.box(x - 0.016, y - 0.016, x + 0.016, y + 0.016)
        square = square_distance(chest, box, x, y, 0.016, 0.016)
        chest.dense[box.slices] += smooth_step((1 - square) * 3) * 0.1 + hump(square * 3) * 0.6
    return boxes
