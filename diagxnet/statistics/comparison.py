"""The ensemble against its parts: is stacking worth it?"""

from collections.abc import Mapping, Sequence
from typing import Any

from diagxnet.statistics.metrics import means, per_finding
from diagxnet.statistics.scored import COMBINED, Scored
from diagxnet.statistics.uncertainty import METRICS, Estimates, compare

ALIKE = "the two rank alike in every resample"
LABELS = {"densenet": "DenseNet", "vit": "ViT", "average": "Plain average", "ensemble": "Ensemble"}
LABELS |= {"meta": "Meta-learner"}


def label(name: str) -> str:
    """What people read for a model or training; a further member is called as its user named it."""
    return LABELS.get(name, name)


def models_of(evaluation: Mapping[str, Any]) -> tuple[str, ...]:
    """The models that metrics/evaluation.json, or another file of its form, has figures of: members, then COMBINED."""
    return tuple(name for name, own in evaluation.items() if isinstance(own, Mapping) and "auroc" in own)


def val_figures(val: Scored) -> dict[str, dict[str, float]]:
    """Macro AUROC and AUPRC of every model on val, what runs are chosen by; empty where no finding has both classes."""
    if not val.scorable().any():
        return {model: {} for model in val.models}
    return {
        model: {name: value["macro"] for name, value in _val_means(val, m).items() if "macro" in value}
        for m, model in enumerate(val.models)
    }


def _val_means(val: Scored, m: int) -> dict[str, dict]:
    own = val.of(val.models[m])
    return {name: means(per_finding(own, val.logits[m], metric)) for name, metric in METRICS.items()}


def best_base(members: Sequence[str], on_val: Mapping[str, Mapping[str, float]]) -> str:
    """The member with the highest macro AUROC on val; the first where some are equal or val cannot tell."""
    return max(members, key=lambda model: on_val[model].get("auroc", 0.0))


def comparison(estimates: Estimates, best: str) -> dict[str, object]:
    """The ensemble's paired differences from the `best` base model, the average and each base model, and verdicts.

    {"best_base", "ensemble_minus_best_base" | "ensemble_minus_average" | "ensemble_minus_MEMBER": {"auroc" |
    "auprc": see `compare`, "verdict": `verdict` of the macro AUROC}, "findings_compared": those with a verdict on their
    AUROC beside the best base model's, and of them "findings_better": by that verdict, "findings_ahead": by the AUROC
    alone, as half of them are where two models are equally good}.
    """
    others = {"best_base": best, "average": "average"} | {name: name for name in estimates if name not in COMBINED}
    result: dict[str, object] = {"best_base": best}
    for name, other in others.items():
        differences = {
            metric: compare(estimates["ensemble"][metric], estimates[other][metric]) for metric in ("auroc", "auprc")
        }
        result[f"ensemble_minus_{name}"] = differences | {"verdict": verdict(differences["auroc"]["macro"])}
    per_key = result["ensemble_minus_best_base"]["auroc"]["per_finding"].values()
    compared = [entry for entry in per_key if "verdict" in entry]
    result["findings_compared"] = len(compared)
    result["findings_better"] = sum(entry["verdict"] == "better" for entry in compared)
    result["findings_ahead"] = sum(entry["difference"] > 0 for entry in compared)
    return result


def verdict(difference: dict) -> str:
    """`better` or `worse` where the interval of a difference excludes 0, else `not distinguishable`."""
    if difference["ci"]["lower"] > 0:
        return "better"
    return "worse" if difference["ci"]["upper"] < 0 else "not distinguishable"


def model_table(evaluation: dict) -> str:
    """The models' macro figures as lines of text: on val AUROC and AUPRC, where there are any, and on test AUROC and
    AUPRC with 95% intervals."""
    on_val = [name for name in ("auroc", "auprc") if name in evaluation["ensemble"].get("val", ())]
    titles = "".join(f"{f'val {name.upper()}':9}  " for name in on_val)
    lines = [f"{'macro':14}  {titles}{'test AUROC (95% interval)':25}  test AUPRC (95% interval)"]
    for model in models_of(evaluation):
        own = evaluation[model]
        first = "".join(f"{own['val'][name]:<9.3f}  " for name in on_val)
        cells = []
        for metric in ("auroc", "auprc"):
            interval = own[metric]["ci"]["macro"]
            cells.append(f"{own[metric]['macro']:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})")
        lines.append(f"{label(model):14}  {first}{cells[0]:25}  {cells[1]}")
    return "\n".join(lines)


def verdict_sentence(comparison: dict, other: str) -> str:
    """One sentence on the ensemble's macro AUROC beside that of `other`: "best_base", "average" or a base model."""
    difference = comparison[f"ensemble_minus_{other}"]["auroc"]["macro"]
    members = sum(name.startswith("ensemble_minus_") for name in comparison) - len(("best_base", "average"))
    rank = {1: "the only base model", 2: "the better base model on val"}.get(members, "the best base model on val")
    names = {
        "average": "the plain average of the base models",
        "best_base": f"{label(comparison['best_base'])}, {rank}",
    }
    name = names.get(other, label(other))
    words = {
        "better": f"The ensemble is better than {name}",
        "worse": f"The ensemble is worse than {name}",
        "not distinguishable": f"The ensemble is not distinguishable from {name}, on this test set",
    }[verdict(difference)]
    if alike(difference):
        return f"{words}: {ALIKE}."
    interval = difference["ci"]
    return (
        f"{words}: macro AUROC {difference['difference']:+.4f} (95% interval over patients {interval['lower']:+.4f} to "
        f"{interval['upper']:+.4f}; one training), ahead in {difference['share_ahead']:.0%} of resamples."
    )


def alike(difference: dict) -> bool:
    """Whether two models are equal in every resample, where neither can be ahead."""
    return difference["difference"] == 0 and not any(difference["ci"].values())
