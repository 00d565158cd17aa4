"""The signs on a frontal view, one function each: it draws the sign and returns the boxes around it.

A sign gets its severity (0 to 1), its own random stream and the side that the patient's disease prefers, so that
it can be left out without moving another.
"""

from collections.abc import Callable

from diagxnet.demo.canvas import Box
from diagxnet.demo.chance import Chance
from diagxnet.demo.devices import support_devices
from diagxnet.demo.frontal import Frontal
from diagxnet.demo.lungs import atelectasis, consolidation, edema, lung_lesion, lung_opacity, pneumonia
from diagxnet.demo.pleura import fracture, pleural_effusion, pleural_other, pneumothorax


def cardiomegaly(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    return [chest.frame.box(*chest.heart_box)]


def enlarged_cardiomediastinum(chest: Frontal, severity: float, chance: Chance) -> list[Box]:
    return [chest.frame.box(*chest.upper_box)]


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
