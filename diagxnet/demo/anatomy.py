"""Who is on the film: the body that stays the same from study to study, and how it is posed for one exposure."""

from dataclasses import dataclass, field

import numpy as np

from diagxnet.demo.chance import Chance, sine_cosine

SIDES = (-1, 1)
RIBS = range(1, 11)


@dataclass(frozen=True)
class Vessels:
    """Points of the pulmonary vessels of one lung: x, y in patient coordinates, radius, all [branches, points]."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray


@dataclass(frozen=True)
class Anatomy:
    """One patient. Lengths are in units of the film's height."""

    female: bool
    age: int
    thorax: float
    """Half the inner width of the rib cage at its widest."""
    wall: float
    """Thickness of the soft tissue outside it."""
    apex: float
    """Height of the top of the lungs."""
    base: float
    """Height of the right dome of the diaphragm at full inspiration."""
    right_higher: float
    heart: float
    """Cardiothoracic ratio without disease."""
    heart_tilt: float
    """0 for an upright heart, 1 for a lying one."""
    mediastinum: float
    aorta: float
    """Prominence of the aortic knob; it grows with age."""
    spine_curve: float
    rib_spacing: float
    rib_slope: float
    rib_width: float
    bone: float
    """Thickness of bone; it falls with age, and is less in women."""
    breast: float
    markings: float
    """Prominence of the pulmonary vessels."""
    bubble: float
    clavicle: float
    rib_jitter: np.ndarray
    """[2, 11] shifts of single ribs."""
    vessels: dict[int, Vessels]
    prone_side: int
    """The side on which this patient's diseases prefer to show."""


def draw_anatomy(seed: int, patient: int) -> Anatomy:
    """The patient numbered `patient`: sex, age and build, from (seed, patient) alone."""
    chance = Chance(seed, patient, 1)
    female = chance.happens(0.41)
    age = int(min(max(np.rint(chance.normal(60, 17)), 18), 90))
    heavy = chance.normal()
    thorax = 0.405 + 0.016 * chance.normal() - (0.018 if female else 0.0)
    base = 0.765 + 0.022 * chance.normal()
    return Anatomy(
        female=female,
        age=age,
        thorax=thorax,
        wall=min(max(0.06 + 0.018 * heavy, 0.03), 0.13),
        apex=0.105 + 0.015 * chance.normal(),
        base=base,
        right_higher=0.022 + 0.012 * chance.uniform(-1, 1),
        heart=0.425 + 0.024 * chance.normal() + 0.0006 * (age - 60),
        heart_tilt=min(max(0.45 + 0.2 * heavy + 0.1 * chance.normal(), 0), 1),
        mediastinum=0.062 + 0.004 * chance.normal() + 0.0001 * (age - 60),
        aorta=max(0.018 + 0.00028 * (age - 40) + 0.004 * chance.normal(), 0.01),
        spine_curve=0.008 * chance.normal(),
        rib_spacing=(base - 0.13) / 9.6 * (1 + 0.03 * chance.normal()),
        rib_slope=1 + 0.18 * chance.normal(),
        rib_width=0.0105 * (1 + 0.1 * chance.normal()) * (0.92 if female else 1.0),
        bone=(0.145 - 0.0008 * max(age - 50, 0)) * (0.9 if female else 1.0) * (1 + 0.12 * chance.normal()),
        breast=max(0.09 + 0.04 * heavy + 0.02 * chance.normal(), 0.03) if female else 0.0,
        markings=1 + 0.22 * chance.normal(),
        bubble=chance.uniform(0, 1),
        clavicle=0.015 * chance.normal(),
        rib_jitter=chance.uniforms(-0.006, 0.006, 2, 11),
        vessels={side: vessel_tree(chance, side) for side in SIDES},
        prone_side=chance.side(),
    )


@dataclass(frozen=True)
class Pose:
    """One exposure of a patient: the projection, and the organs' shape on it. Signs change it before it is drawn."""

    projection: str
    """`AP` or `PA`."""
    degrees: float
    zoom: float
    shift_x: float
    shift_y: float
    turn: float
    """Rotation about the long axis, which shifts the mediastinum sideways; -1 to 1."""
    heart: float
    mediastinum: float
    domes: dict[int, float]
    """Heights of the domes of the diaphragm."""
    arms: float
    lung: float
    """Share of air in the lungs, which falls as they are less inflated."""
    pulled: float = 0.0
    """Shift of the mediastinum by disease, in units of the film's height."""
    fractures: list[tuple[int, int, float, float, float]] = field(default_factory=list)
    """Side, rib, place along it (0 at the spine, 1 at the wall), step and gap."""


def draw_pose(anatomy: Anatomy, projection: str, chance: Chance) -> Pose:
    """An exposure: on AP films (portable, supine) the heart is larger and the diaphragm higher than on PA films."""
    supine = projection == "AP"
    lift = chance.uniform(0.015, 0.085) if supine else chance.uniform(-0.01, 0.02)
    right = anatomy.base - lift
    return Pose(
        projection=projection,
        degrees=chance.normal(0, 2.4 if supine else 1.2),
        zoom=chance.uniform(0.9, 1.05) if supine else chance.uniform(0.88, 1.02),
        shift_x=chance.normal(0, 0.036 if supine else 0.02),
        shift_y=chance.normal(0.005, 0.028),
        turn=chance.normal(0, 0.45 if supine else 0.18),
        heart=anatomy.heart + (0.03 if supine else 0.0) + 0.2 * max(lift, 0),
        mediastinum=anatomy.mediastinum * (1.12 if supine else 1.0),
        domes={-1: right, 1: right + anatomy.right_higher},
        arms=chance.uniform(0.45, 0.66),
        lung=chance.uniform(0.68, 0.80) - 0.4 * max(lift, 0),
    )


def vessel_tree(chance: Chance, side: int) -> Vessels:
    """Arteries and veins of one lung: from the hilum three generations, each thinner, bending towards the wall."""
    hilum_x, hilum_y = 0.075 * side, 0.405 if side < 0 else 0.385
    stems = 13
    degrees = np.linspace(-74, 82, stems) + chance.uniforms(-13, 13, stems)
    x = hilum_x + chance.uniforms(-0.016, 0.022, stems) * side
    y = hilum_y + degrees * 0.0007 + chance.uniforms(-0.02, 0.02, stems)
    down = degrees / 90
    length = (0.15 + 0.055 * down) * chance.uniforms(0.7, 1.25, stems)
    radius = (0.0072 + 0.0034 * down) * chance.uniforms(0.7, 1.35, stems)
    branches = []
    for generation in range(4):
        points = _arc(chance, side, x, y, degrees, length)
        taper = np.linspace(1, 0.62, points[0].shape[1])
        branches.append((*points, radius[:, None] * taper))
        if generation == 3:
            break
        children = 3 if generation == 0 else 2
        x, y, degrees, length, radius = _children(chance, points, degrees, length, radius, children)
    return Vessels(*(np.concatenate([branch[part] for branch in branches]) for part in range(3)))


def _arc(chance: Chance, side: int, x: np.ndarray, y: np.ndarray, degrees: np.ndarray, length: np.ndarray):
    steps = 22
    bend = chance.uniforms(-30, 30, len(x))
    along = np.linspace(0, 1, steps)
    turned = degrees[:, None] + bend[:, None] * along[None, :]
    sine, cosine = sine_cosine(turned)
    step = length[:, None] / (steps - 1)
    path_x = x[:, None] + side * np.cumsum(cosine * step, axis=1)
    path_y = y[:, None] + np.cumsum(sine * step, axis=1)
    return path_x, path_y


def _children(chance: Chance, points, degrees, length, radius, children: int):
    path_x, path_y = points
    count, steps = path_x.shape
    rows = np.repeat(np.arange(count), children)
    at = np.tile(np.linspace(0.45, 1, children), count) * (steps - 1)
    at = np.minimum(at.astype(np.int64), steps - 1)
    fork = np.tile(np.linspace(-28, 28, children), count) * chance.uniforms(0.6, 1.5, len(rows))
    return (
        path_x[rows, at],
        path_y[rows, at],
        degrees[rows] + fork + chance.uniforms(-12, 12, len(rows)),
        length[rows] * chance.uniforms(0.5, 0.75, len(rows)),
        radius[rows] * 0.68,
    )
