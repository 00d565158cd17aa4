"""What a study shows and what its report says of it: prevalence, co-occurrence, uncertainty, silence.

Prevalence follows Irvin et al. 2019 (arXiv:1901.07031), table 1, with two departures: no finding is positive in less
than about one study in twenty, so that six hundred images can teach it, and a positive child always makes its parent
positive (figure 1 there), which raises Enlarged Cardiomediastinum and Consolidation above the published shares.
"""

from dataclasses import dataclass

from diagxnet.data.chexpert import CHEXPERT, PARENTS
from diagxnet.demo.chance import Chance

NONE, FAINT, CLEAR = 0, 1, 2

SHARES = {
    "enlarged_cardiomediastinum": (0.050, 0.054),
    "cardiomegaly": (0.125, 0.035),
    "lung_opacity": (0.010, 0.020),
    "lung_lesion": (0.085, 0.006),
    "edema": (0.260, 0.062),
    "consolidation": (0.040, 0.090),
    "pneumonia": (0.068, 0.055),
    "atelectasis": (0.156, 0.130),
    "pneumothorax": (0.093, 0.014),
    "pleural_effusion": (0.400, 0.050),
    "pleural_other": (0.085, 0.009),
    "fracture": (0.085, 0.004),
    "support_devices": (0.564, 0.005),
}
"""Shares of studies that show each sign clearly and faintly; lung_opacity is the opacity that nothing else explains."""

KINDS = ("healthy", "heart", "intensive", "infection", "other")
KIND_SHARES = {"train": (0.089, 0.30, 0.27, 0.12, 0.221), "valid": (0.13, 0.25, 0.22, 0.15, 0.25)}
RELATIVE = {
    "enlarged_cardiomediastinum": (0, 1.0, 1.3, 0.6, 1.2),
    "cardiomegaly": (0, 2.4, 0.7, 0.4, 0.3),
    "lung_opacity": (0, 0.4, 1.0, 1.6, 1.4),
    "lung_lesion": (0, 0.3, 0.3, 0.8, 3.0),
    "edema": (0, 2.2, 1.0, 0.5, 0.15),
    "consolidation": (0, 0.5, 1.0, 3.5, 0.8),
    "pneumonia": (0, 0.4, 0.7, 5.0, 0.6),
    "atelectasis": (0, 0.8, 1.9, 1.0, 0.6),
    "pneumothorax": (0, 0.15, 2.3, 0.3, 1.1),
    "pleural_effusion": (0, 1.15, 1.35, 1.1, 0.6),
    "pleural_other": (0, 0.4, 0.5, 1.0, 2.6),
    "fracture": (0, 0.5, 0.9, 0.4, 2.2),
    "support_devices": (0.75, 0.95, 1.3, 0.95, 0.8),
}
"""How much more often a sign shows in each kind of study: diseases keep company, which gives the co-occurrence."""

DENIED = {
    "enlarged_cardiomediastinum": 0.11,
    "cardiomegaly": 0.06,
    "lung_opacity": 0.06,
    "lung_lesion": 0.006,
    "edema": 0.14,
    "consolidation": 0.16,
    "pneumonia": 0.014,
    "atelectasis": 0.008,
    "pneumothorax": 0.28,
    "pleural_effusion": 0.29,
    "pleural_other": 0.002,
    "fracture": 0.012,
    "support_devices": 0.06,
}
"""Shares of reports without a finding that say so (0.0); the others leave it blank. From the release's train.csv."""

LEFTOVER = (("lung_opacity", CLEAR), ("atelectasis", FAINT), ("consolidation", FAINT), ("pneumonia", FAINT))
LEFTOVER_SHARES = (0.35, 0.27, 0.25, 0.13)
"""What a patient who is not healthy shows where chance gave nothing: an opacity, or the hint of a child of it."""
UNMENTIONED = 0.2
"""Share of faint signs that the report passes over."""
ENRICHED = ("lung_lesion", "pneumonia", "pneumothorax", "pleural_other", "fracture", "consolidation", "atelectasis",
            "cardiomegaly", "enlarged_cardiomediastinum", "edema")  # fmt: skip
"""Findings that valid.csv shows more often than train.csv, in turn, so that two hundred images can measure each."""


@dataclass(frozen=True)
class Sign:
    """One sign of a study: how strong (0 to 1), and the study in which it first showed, which fixes where."""

    severity: float
    origin: int


@dataclass(frozen=True)
class View:
    """One row of the table."""

    name: str
    """`frontal` or `lateral`."""
    projection: str
    """`AP`, `PA`, or empty for a lateral view."""


@dataclass(frozen=True)
class Study:
    number: int
    signs: dict[str, Sign]
    labels: dict[str, str]
    """CheXpert's text per finding key: `1.0`, `0.0`, `-1.0` or empty."""
    views: tuple[View, ...]


def plan_studies(seed: int, patient: int, share: str) -> list[Study]:
    """The studies of one patient, in order of time, from (seed, patient) alone; `share` is `train` or `valid`."""
    chance = Chance(seed, patient, 2)
    count = 1 + chance.pick(0.64, 0.24, 0.12)
    kind = chance.pick(*KIND_SHARES[share])
    signs: dict[str, Sign] = {}
    studies = []
    for number in range(1, count + 1):
        signs = _signs(chance, kind, number, signs, share, patient)
        labels = _certain(signs) if share == "valid" else _reported(chance, signs)
        studies.append(Study(number, signs, labels, _views(chance, share, signs)))
    return studies


def _signs(
    chance: Chance, kind: int, number: int, before: dict[str, Sign], share: str, patient: int
) -> dict[str, Sign]:
    signs = {}
    for key in SHARES:
        kept = number > 1 and chance.happens(0.6)
        state = _state(chance, key, kind)
        severity = _severity(chance, state)
        if kept and key in before:
            signs[key] = Sign(min(max(before[key].severity + chance.uniform(-0.1, 0.1), 0.08), 1.0), before[key].origin)
        elif not kept and state != NONE:
            signs[key] = Sign(severity, number)
    sick = KINDS[kind] != "healthy"
    forced = ENRICHED[patient % len(ENRICHED)]
    severity = _severity(chance, CLEAR)
    if share == "valid" and sick and chance.happens(0.8) and forced not in signs:
        signs[forced] = Sign(severity, number)
    if sick and not any(key != "support_devices" for key in signs):
        key, state = LEFTOVER[chance.pick(*LEFTOVER_SHARES)]
        signs[key] = Sign(_severity(chance, state), number)
    return {key: signs[key] for key in SHARES if key in signs}


def _state(chance: Chance, key: str, kind: int) -> int:
    clear, faint = SHARES[key]
    mean = sum(share * relative for share, relative in zip(KIND_SHARES["train"], RELATIVE[key], strict=True))
    factor = RELATIVE[key][kind] / mean
    clear = min(clear * factor, 0.95)
    return (CLEAR, FAINT, NONE)[chance.pick(clear, min(faint * factor, 1 - clear), max(1 - clear - faint * factor, 0))]


def _severity(chance: Chance, state: int) -> float:
    even = chance.uniform()
    return 0.1 + 0.14 * even if state == FAINT else 0.34 + 0.66 * even


def is_clear(sign: Sign) -> bool:
    return sign.severity >= 0.28


def _reported(chance: Chance, signs: dict[str, Sign]) -> dict[str, str]:
    """Labels as mined from a report: the hierarchy holds, faint is uncertain or blank, most absences are blank."""
    labels = {}
    for key in SHARES:
        spoken, denied = chance.happens(1 - UNMENTIONED), chance.happens(DENIED[key])
        if key not in signs:
            labels[key] = "0.0" if denied else ""
        elif is_clear(signs[key]):
            labels[key] = "1.0"
        else:
            labels[key] = "-1.0" if spoken else ""
    _raise_parents(labels)
    labels["no_finding"] = "" if any(key != "support_devices" for key in signs) else "1.0"
    return {key: labels[key] for key in CHEXPERT.keys}


def _certain(signs: dict[str, Sign]) -> dict[str, str]:
    """Labels as radiologists agree on them: present or absent, what is hardly visible being absent."""
    labels = {key: "1.0" if key in signs and signs[key].severity >= 0.17 else "0.0" for key in SHARES}
    _raise_parents(labels)
    found = any(value == "1.0" for key, value in labels.items() if key != "support_devices")
    return {key: labels.get(key, "0.0" if found else "1.0") for key in CHEXPERT.keys}


def _raise_parents(labels: dict[str, str]) -> None:
    for child in ("pneumonia", *PARENTS):  # pneumonia first: its parent consolidation has a parent itself
        parent = PARENTS[child]
        if labels[child] == "1.0":
            labels[parent] = "1.0"
        elif labels[child] == "-1.0" and labels[parent] == "0.0":
            labels[parent] = ""  # no report denies what it suspects


def _views(chance: Chance, share: str, signs: dict[str, Sign]) -> tuple[View, ...]:
    """Portable AP films have no lateral view; most upright PA films have one. With devices AP is the rule."""
    upright = chance.happens(0.2 if "support_devices" in signs else 0.235)
    accompanied = chance.happens(0.72)
    frontal = View("frontal", "PA" if upright else "AP")
    return (frontal, View("lateral", "")) if upright and accompanied else (frontal,)
