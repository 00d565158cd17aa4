"""One study view from plan to pixels."""

import numpy as np

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.demo.anatomy import Anatomy, Pose, draw_pose
from diagxnet.demo.canvas import Box, Frame
from diagxnet.demo.chance import Chance
from diagxnet.demo.clutter import add_clutter
from diagxnet.demo.disease import shape_pose
from diagxnet.demo.film import expose
from diagxnet.demo.frontal import Frontal
from diagxnet.demo.labels import Sign, View
from diagxnet.demo.lateral import LATERAL_SIGNS, Lateral
from diagxnet.demo.signs import FRONTAL_SIGNS


def render_view(
    seed: int, patient: int, study: int, anatomy: Anatomy, signs: dict[str, Sign], view: View, size: int
) -> tuple[np.ndarray, list[tuple[str, Box]]]:
    """The film of one view, uint8 [size, width], and the box of each sign drawn on it, by finding key.

    Pose, organs, detector and every sign have random streams of their own, so leaving a sign out of `signs` moves
    nothing else.
    """
    pose_chance, organs, detector = (Chance(seed, patient, 3, study, view.name == "lateral", part) for part in range(3))
    projection = view.projection or "PA"
    pose = draw_pose(anatomy, projection, pose_chance)
    severities = {key: sign.severity for key, sign in signs.items()}
    pose = shape_pose(pose, anatomy, severities, sign_chances(seed, patient, signs))
    chest = _chest(view, anatomy, pose, size, organs)
    painters = FRONTAL_SIGNS if view.name == "frontal" else LATERAL_SIGNS
    chances = sign_chances(seed, patient, signs)
    boxes = []
    if isinstance(chest, Frontal):
        add_clutter(chest, anatomy, Chance(seed, patient, 5), Chance(seed, patient, 3, study, 0, 3))
    for key, painter in painters.items():
        if key in signs:
            boxes += [(key, box) for box in painter(chest, severities[key], chances[key]) if not box.empty]
    return expose(chest.thickness(), chest.frame, view.name, projection, detector), boxes


def sign_chances(seed: int, patient: int, signs: dict[str, Sign]) -> dict[str, Chance]:
    """A stream for each sign; a sign that stays from study to study keeps its stream, and so its place."""
    return {key: Chance(seed, patient, 4, sign.origin, CHEXPERT.keys.index(key)) for key, sign in signs.items()}


def _chest(view: View, anatomy: Anatomy, pose: Pose, size: int, chance: Chance) -> Frontal | Lateral:
    if view.name == "frontal":
        frame = Frame(size, pose.degrees, pose.zoom, pose.shift_x, pose.shift_y)
        return Frontal(frame, anatomy, pose, chance)
    frame = Frame(size, 0.7 * pose.degrees, pose.zoom, pose.shift_x, pose.shift_y)
    return Lateral(frame, anatomy, pose, chance)
