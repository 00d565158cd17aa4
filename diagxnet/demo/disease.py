"""What disease does to the pose before it is drawn."""

from dataclasses import replace

from diagxnet.demo.anatomy import Anatomy, Pose
from diagxnet.demo.chance import Chance
from diagxnet.demo.marks import side_of


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
    side = side_of(chance, anatomy)
    if severity < 0.3:
        return pose
    domes = dict(pose.domes)
    domes[side] -= 0.01 + 0.025 * severity
    return replace(pose, domes=domes, pulled=pose.pulled + side * 0.014 * severity)


def _breaks(severity: float, chance: Chance, anatomy: Anatomy) -> list[tuple[int, int, float, float, float]]:
    side = side_of(chance, anatomy)
    first, count = chance.integer(3, 5), 3 + round(2.2 * severity)
    place = chance.uniform(0.5, 0.88)
    step = (0.016 + 0.016 * severity) * chance.side()
    return [
        (side, rib, place + chance.uniform(-0.03, 0.03), step * chance.uniform(0.8, 1.2), 0.011 + 0.012 * severity)
        for rib in range(first, min(first + count, 10))
    ]
