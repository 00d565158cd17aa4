"""The fourteen findings of CheXpert, in its order, with the key that params and metrics use for each.

Source: Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert
Comparison", AAAI 2019, arXiv:1901.07031: table 1 (the findings), figure 1 (their hierarchy),
section 4 (the five that the competition scores).
"""

FINDINGS = (
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
"""Column names of the label table, in CheXpert's order; every array with a findings axis follows it."""

KEYS = tuple(finding.lower().replace(" ", "_") for finding in FINDINGS)
"""The same in snake case, as keys of params.yaml and of the metrics (`pleural_effusion`)."""

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

PATHOLOGIES = tuple(key for key in KEYS if key not in ("no_finding", "support_devices"))
"""Keys of the findings that contradict a positive No Finding."""
