"""What the ensemble is made of: how much of each member and of the network is in it, for report, card and metrics."""

from collections.abc import Collection, Mapping
from typing import Any

from diagxnet.reporting.page import Html, element, table
from diagxnet.reporting.section import Material, Section
from diagxnet.statistics.comparison import label


def parts_of(combination: Mapping[str, Any], unknown: Collection[str]) -> dict[str, Any]:
    """`combination` of evaluation.json, from that of models/meta/config.json: numbers alone, without what is not there.
    unknown: keys of the findings that were not learned.

    {"weights": {member: {finding: w}}, "factor": of the network's correction,
     "val": {"minus_best_member" | "minus_average": AUROC, "..._error": its error}, "behind_on_val": of how many it is
     behind by more than the error}
    """
    parts: dict[str, Any] = {}
    if combination["core"]:
        parts["weights"] = {
            name: {key: weight for key, weight in own.items() if key not in unknown}
            for name, own in combination["core"]["weights"].items()
        }
    if combination["correction"]:
        parts["factor"] = combination["correction"]["factor"]
    parts["val"] = {}
    for place, own in combination["on_val"].items():
        parts["val"] |= {f"minus_{place}": own["auroc"], f"minus_{place}_error": own["error"]}
    parts["behind_on_val"] = sum(own["behind"] for own in combination["on_val"].values())
    return parts


def parts_text(parts: Mapping[str, Any]) -> str:
    """A sentence or two on `parts_of`."""
    if "weights" not in parts:
        return "The ensemble is what the network makes of the members' logits."
    shares = [
        f"{label(name)} {_mean(own):.2f} ({min(own.values()):.2f} to {max(own.values()):.2f})"
        for name, own in parts["weights"].items()
    ]
    text = f"The ensemble is a weighted mean of the members' logits: {', '.join(shares)}, mean and range over findings."
    if "factor" in parts:
        text += f" The network's correction is in it with factor {parts['factor']:.1f}" + (
            "." if parts["factor"] else ": it did not help on val."
        )
    return text


def parts_content(parts: Mapping[str, Any], names: Mapping[str, str]) -> list[Html]:
    """What the report says of `parts_of`. names: of the findings, by key."""
    lines = [element("p", parts_text(parts))]
    if "weights" in parts:
        weights = parts["weights"]
        rows = [(names[key], *(f"{own[key]:.2f}" for own in weights.values())) for key in next(iter(weights.values()))]
        lines.append(table(("Weight", *map(label, weights)), rows, caption="Weight of each member, by finding."))
    val = parts["val"]
    if val:
        texts = [
            f"{val[f'minus_{place}']:+.4f} (error {val[f'minus_{place}_error']:.4f}) against {name}"
            for place, name in (("best_member", "the best member"), ("average", "the plain average"))
        ]
        behind = "It is behind by more than the error. " if parts["behind_on_val"] else ""
        text = f"{behind}Macro AUROC on val, by fits without the patient: {', '.join(texts)}."
        lines.append(element("p", text, class_="note"))
    return lines


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    """Nothing for an evaluation that does not know the parts, as another hospital's."""
    evaluation = material.results.evaluation
    return parts_content(evaluation["combination"], evaluation["findings"]) if "combination" in evaluation else []


SECTION = Section("What the ensemble is made of", content)
