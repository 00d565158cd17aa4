"""metrics/summary.json: the rows that `dvc metrics diff` shows."""

from collections.abc import Mapping
from typing import Any

from diagxnet.statistics.comparison import models_of
from diagxnet.statistics.scored import COMBINED

MOST_ROWS = 40
"""What is shown by default is read on one screen."""


def summary(evaluation: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[str, Any]:
    """Numbers only, in at most MOST_ROWS rows, `val` first: runs are chosen by it, and test only reports.

    evaluation: content of metrics/evaluation.json. seconds: by training and for `stack_features`. Of each member there
    are as many of its rows as there is room for: AUROC and AUPRC on val, AUROC, AUPRC and the AUROC over five findings
    on test, and its seconds, which are in `total` in any case.
    """
    models = models_of(evaluation)
    members = models[: -len(COMBINED)]
    figures = {model: _figures(evaluation[model]) for model in models}
    figures["ensemble"]["test", "ece"] = evaluation["ensemble"]["ece"]["macro"]
    rest = _rest(evaluation)
    shared_seconds = {name: value for name, value in seconds.items() if name not in members}
    total = {"total": round(sum(seconds.values()), 2)}
    others = [*(figures[model] for model in COMBINED), shared_seconds, total, rest]
    room = (MOST_ROWS - sum(map(_rows, others))) // len(members)
    figures |= {member: dict(list(figures[member].items())[:room]) for member in members}
    whole = room > max(len(figures[member]) for member in members)
    return {
        **{split: _of_split(figures, split) for split in ("val", "test")},
        **{name: own for name, own in rest.items() if name != "counts"},
        "training_seconds": (dict(seconds) if whole else shared_seconds) | total,
        "counts": rest["counts"],
    }


def _figures(own: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """One model's figures by split and name, the most important first."""
    figures = {("val", name): value for name, value in own["val"].items()}
    figures |= {("test", name): own[name]["macro"] for name in ("auroc", "auprc")}
    return figures | ({("test", "auroc_chexpert5"): own["auroc"]["chexpert5"]} if "chexpert5" in own["auroc"] else {})


def _of_split(figures: Mapping[str, Mapping[tuple[str, str], float]], split: str) -> dict[str, dict[str, float]]:
    """{model: {name: value}} of one split, without the models that have none."""
    found = {model: {name: value for (of, name), value in own.items() if of == split} for model, own in figures.items()}
    return {model: own for model, own in found.items() if own}


def _rest(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What is of no single model."""
    rest: dict[str, Any] = {}
    for other in ("best_base", "average"):
        macro = evaluation["comparison"][f"ensemble_minus_{other}"]["auroc"]["macro"]
        rest[f"ensemble_minus_{other}"] = {
            "auroc": macro["difference"],
            "lower": macro["ci"]["lower"],
            "upper": macro["ci"]["upper"],
        }
    if "combination" in evaluation:
        rest["behind_on_val"] = evaluation["combination"]["behind_on_val"]
    rest["findings_better"] = evaluation["comparison"]["findings_better"]
    wanted = ("units", "patients", "findings_scored", "findings_flagged", "dropped_images")
    return rest | {"counts": {name: evaluation["counts"][name] for name in wanted}}


def _rows(value: Any) -> int:
    return sum(map(_rows, value.values())) if isinstance(value, Mapping) else 1
