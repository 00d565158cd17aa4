"""What a film shows beside anatomy and signs, and no report mentions: snaps of a gown, buttons, worn vertebrae.

Without it every bright spot would be a device, and counting bright spots would find them.
"""

import numpy as np

from diagxnet.demo.anatomy import Anatomy
from diagxnet.demo.canvas import hump, smooth_step
from diagxnet.demo.chance import Chance
from diagxnet.demo.frontal import Frontal, square_distance


def add_clutter(chest: Frontal, anatomy: Anatomy, worn: Chance, dressed: Chance) -> None:
    """Adds to a frontal `chest` the spurs of the patient's spine (`worn`) and what this film's clothes hold."""
    _osteophytes(chest, anatomy, worn)
    _snaps(chest, dressed)


def _osteophytes(chest: Frontal, anatomy: Anatomy, chance: Chance) -> None:
    """Bright spurs at the edges of vertebrae, more of them with age."""
    for _ in range(chance.integer(0, 2 + max(anatomy.age, 20) // 20)):
        x, y = chance.side() * chance.uniform(0.012, 0.042), chance.uniform(0.12, 0.85)
        wide, tall = chance.uniform(0.008, 0.02), chance.uniform(0.006, 0.011)
        _spot(chest, x, y, wide, tall, chance.uniform(0.1, 0.34), 0.0)


def _snaps(chest: Frontal, chance: Chance) -> None:
    """Metal snaps and buttons of a gown, in a row or anywhere, on two films of three."""
    if chance.happens(0.33):
        return
    radius, strength = chance.uniform(0.007, 0.014), chance.uniform(0.2, 0.5)
    hollow = 0.5 if chance.happens(0.4) else 0.0
    count = chance.integer(1, 5)
    if chance.happens(0.5):  # a row, down the front or over a shoulder
        x, y = chance.uniform(-0.25, 0.25), chance.uniform(0.1, 0.3)
        across, down = chance.uniform(-0.05, 0.05), chance.uniform(0.09, 0.16)
        places = [(x + number * across, y + number * down) for number in range(count)]
    else:
        places = [(chance.uniform(-0.42, 0.42), chance.uniform(0.08, 0.85)) for _ in range(count)]
    for x, y in places:
        _spot(chest, x, y, radius, radius, strength, hollow)


def _spot(chest: Frontal, x: float, y: float, wide: float, tall: float, strength: float, hollow: float) -> None:
    """An ellipse of half axes `wide` and `tall`; `hollow` (0 to 1) takes that share from its middle."""
    box = chest.frame.box(x - wide, y - tall, x + wide, y + tall)
    if box.empty:
        return
    square = square_distance(chest, box, x, y, wide, tall)
    solid = smooth_step((1 - square) * 2) * (1 - np.float32(hollow) * hump(square * 2))
    chest.dense[box.slices] += solid * np.float32(strength)
