"""The ensemble against its parts: is stacking worth it?"""

from diagxnet.data.members import FIRST as BASE_MODELS
from diagxnet.statistics.metrics import auroc, means, per_finding
from diagxnet.statistics.scored import MODELS, Scored
from diagxnet.statistics.uncertainty import Estimates, compare

LABELS = {"densenet": "DenseNet", "vit": "ViT", "average": "Plain average", "ensemble": "Ensemble"}
"""Names of the models, for people."""


def val_auroc(val: Scored) -> dict[str, float]:
    """Macro AUROC of every model on val."""
    macros = {model: means(per_finding(val, val.logits[m], auroc)) for m, model in enumerate(MODELS)}
    return {model: result["macro"] for model, result in macros.items() if "macro" in result}


def best_base(val_macros: dict[str, float]) -> str:
    """The base model with the higher macro AUROC on val; the first where they are equal or val cannot tell."""
    return max(BASE_MODELS, key=lambda model: val_macros.get(model, 0.0))


def comparison(estimates: Estimates, best: str) -> dict[str, object]:
    """The ensemble's paired differences from the `best` base model, the average and each base model, and verdicts.

    {"best_base", "ensemble_minus_best_base" | "ensemble_minus_average" | "ensemble_minus_densenet" |
    "ensemble_minus_vit": {"auroc" | "auprc": see `compare`, "verdict": `standing` of the macro AUROC},
    "findings_compared", "findings_better": findings whose AUROC is above the best base model's}.
    """
    others = {"best_base": best, "average": "average"} | {model: model for model in BASE_MODELS}
    result: dict[str, object] = {"best_base": best}
    for name, other in others.items():
        differences = {
            metric: compare(estimates["ensemble"][metric], estimates[other][metric]) for metric in ("auroc", "auprc")
        }
        result[f"ensemble_minus_{name}"] = differences | {"verdict": standing(differences["auroc"]["macro"])}
    per_key = result["ensemble_minus_best_base"]["auroc"]["per_finding"]
    result["findings_compared"] = len(per_key)
    result["findings_better"] = sum(entry["difference"] > 0 for entry in per_key.values())
    return result


def standing(difference: dict) -> str:
    """`better` or `worse` where the interval of a difference excludes 0, else `not distinguishable`."""
    if difference["ci"]["lower"] > 0:
        return "better"
    return "worse" if difference["ci"]["upper"] < 0 else "not distinguishable"


def model_table(evaluation: dict) -> str:
    """The models' macro figures on test as lines of text: AUROC and AUPRC with 95% intervals, calibration error."""
    lines = [f"{'macro, on test':14}  {'AUROC (95% interval)':23}  {'AUPRC (95% interval)':23}  ECE"]
    for model in MODELS:
        own = evaluation[model]
        cells = []
        for metric in ("auroc", "auprc"):
            interval = own[metric]["ci"]["macro"]
            cells.append(f"{own[metric]['macro']:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})")
        lines.append(f"{LABELS[model]:14}  {cells[0]:23}  {cells[1]:23}  {own['ece']['macro']:.3f}")
    return "\n".join(lines)


def verdict(comparison: dict, other: str) -> str:
    """One sentence on the ensemble's macro AUROC beside that of `other`: "best_base", "average" or a base model."""
    difference = comparison[f"ensemble_minus_{other}"]["auroc"]["macro"]
    names = LABELS | {
        "average": "the plain average of the base models",
        "best_base": f"{LABELS[comparison['best_base']]}, the better base model on val",
    }
    words = {
        "better": f"The ensemble is better than {names[other]}",
        "worse": f"The ensemble is worse than {names[other]}",
        "not distinguishable": f"The ensemble is not distinguishable from {names[other]}, on this test set",
    }[standing(difference)]
    interval = difference["ci"]
    return (
        f"{words}: macro AUROC {difference['difference']:+.4f} (95% interval {interval['lower']:+.4f} to "
        f"{interval['upper']:+.4f}), ahead in {difference['share_ahead']:.0%} of resamples of patients."
    )
