"""CheXpert's fourteen findings, and what is known of them beyond their names.

Source: Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert
Comparison", AAAI 2019, arXiv:1901.07031: table 1 (the findings), figure 1 (their hierarchy),
section 4 (the five that the competition scores).
"""

from collections.abc import Iterable

from diagxnet.data.findings import Findings

CHEXPERT = Findings(
    (
        "No Finding",
        "Enlarged Cardiomediastinum",
        "Cardiomegaly",
        "Lung Opacity",
        "Lung Lesion",
        "Edema",
        "Consolidation",
        "Pneumonia",
        "Atelectasis",
        "Pneumothorax",
        "Pleural Effusion",
        "Pleural Other",
        "Fracture",
        "Support Devices",
    )
)
"""In CheXpert's order."""

CHEXPERT5 = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
"""Keys of the five findings that the CheXpert competition scores."""

PARENTS = {
    "cardiomegaly": "enlarged_cardiomediastinum",
    "lung_lesion": "lung_opacity",
    "edema": "lung_opacity",
    "consolidation": "lung_opacity",
    "pneumonia": "consolidation",
    "atelectasis": "lung_opacity",
}
"""CheXpert's hierarchy: a positive child makes its parent positive (Irvin et al. 2019, figure 1)."""


def five_of(keys: Iterable[str]) -> list[str]:
    """Those of the five among `keys`, where all of these are CheXpert's; else none."""
    keys = list(keys)
    return [key for key in keys if key in CHEXPERT5] if set(keys) <= set(CHEXPERT.keys) else []
