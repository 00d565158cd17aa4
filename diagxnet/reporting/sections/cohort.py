"""Who was studied: Table 1 by split, and the way from the rows read to the units scored."""

from collections.abc import Mapping
from typing import Any

from diagxnet.data.packed import titled
from diagxnet.reporting.page import Html, element, join, table
from diagxnet.reporting.section import Material, Section
from diagxnet.reporting.wording import starred
from diagxnet.statistics.cohort import losses

STYLE = """
.flow { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.flow > div { flex: 1 1 18rem; max-width: 30rem; }
.flow ol { list-style: none; margin: 0; padding: 0; }
.flow li { margin: 0; max-width: none; }
.flow li + li::before { content: ""; display: block; width: 0; height: 1rem; margin-left: 2rem;
  border-left: 2px solid #555; }
.flow .box { border: 1px solid #555; border-radius: .2rem; padding: .35rem .7rem; }
.flow .lost { margin: .4rem 0 0 2rem; padding: .2rem .7rem; border-left: 2px dashed #b25000; font-size: .9rem; }
@media print { .flow li { break-inside: avoid; } }
"""
VIEWS = {"frontal_ap": "frontal AP", "frontal_pa": "frontal PA"}


def table_one(cohort: Mapping[str, Mapping[str, Any]], evaluation: dict) -> Html:
    """Table 1. cohort: by split, see `statistics.cohort.cohort`."""
    splits = list(cohort.values())
    rows: list[tuple[object, ...]] = [
        (name.capitalize(), *(f"{own[name]:,}" for own in splits)) for name in ("images", "studies", "patients")
    ]
    rows.append(("Age in years, mean (SD)", *(_age(own["age"]) for own in splits)))
    rows.append(("Age unknown", *(_share(own["age"]["unknown"], own["patients"]) for own in splits)))
    for what, of, title in (("sex", "patients", "Sex"), ("view", "images", "View")):
        for value in sorted({value for own in splits for value in own[what]}):
            name = VIEWS.get(value, value)
            rows.append((f"{title}: {name}", *(_share(own[what].get(value, 0), own[of]) for own in splits)))
    for key in next(iter(splits))["findings"]:
        counts = (own["findings"][key] for own in splits)
        rows.append((starred(evaluation, key), *(_share(own["positive"], own["known"]) for own in counts)))
    caption = (
        "Table 1. Age and sex are of each patient's first image; a finding's share is of the images whose label is "
        "known, after the label rules. No patient is in two splits."
    )
    return table(("", *cohort), rows, caption=caption)


def _age(age: Mapping[str, Any]) -> str:
    if age["mean"] is None:
        return "none known"
    return f"{age['mean']:.1f}" + (f" ({age['deviation']:.1f})" if age["deviation"] is not None else "")


def _share(count: int, of: int) -> Html:
    share = f"{count / of:.1%}" if of else "none known"
    return join([f"{count:,}", element("small", share)])


def flow(material: Material) -> list[Html]:
    """The way from rows to units, a list for each table; nothing where no table of the pipeline was read."""
    summary = material.data_summary
    if "tables" not in summary:
        return []
    lanes = [_lane(name, own, material) for name, own in losses(summary).items()]
    caption = "From the rows read to the units scored, and what was lost on the way."
    return [element("p", caption, class_="caption"), element("div", *lanes, class_="flow")]


def _lane(name: str, own: Mapping[str, Any], material: Material) -> Html:
    reasons = [f"{count:,} unreadable: {reason}" for reason, count in own["unreadable"].items()]
    if own["not_wanted"]:
        reasons.append(f"{own['not_wanted']:,} {_not_wanted(material)}")
    splits, patients = own["in_use"], material.data_summary["splits"]
    used = "; ".join(
        f"{split} {count:,} of {patients[split]['patients']:,} patients" for split, count in splits.items()
    )
    steps = [
        _step(f"{own['read']:,} rows of {titled(name)}", reasons or ["none lost"]),
        _step(f"{sum(splits.values()):,} images in use: {used}", _unscored(material) if "test" in splits else ()),
    ]
    if "test" in splits:
        counts = material.results.evaluation["counts"]
        units = "studies" if material.results.unit == "study" else "images"
        scored = f"{counts['findings_scored']} findings scored on {counts['units']:,} test {units}"
        steps.append(_step(f"{scored} of {counts['patients']:,} patients", ()))
    return element("div", element("ol", *steps))


def _step(text: str, lost: list[str] | tuple[str, ...]) -> Html:
    notes = [element("div", "; ".join(lost), class_="lost")] if lost else []
    return element("li", element("div", text, class_="box"), *notes)


def _not_wanted(material: Material) -> str:
    rules, most = material.data_summary["rules"], material.params.get("data", {}).get("max_patients")
    views = [] if rules["views"] == "all" else [f"not {rules['views']}"]
    subset = [] if most is None else [f"of patients beyond data.max_patients ({most:,})"]
    shared = material.data_summary.get("duplicates", {}).get("patients_left_out")
    films = ["of patients who share films with a table nearer to test"] if shared else []
    return " or ".join([*views, *subset, *films])


def _unscored(material: Material) -> list[str]:
    """What of test is not scored, finding by finding."""
    evaluation = material.results.evaluation
    masked = evaluation["counts"]["masked"]
    most = max(masked.values())
    lost = [f"labels that are not known: {min(masked.values()):,} to {most:,} a finding"] if most else ["none lost"]
    if one_class := evaluation["one_class"]["test"]:
        lost.append(f"findings of one class: {', '.join(evaluation['findings'][key] for key in one_class)}")
    return lost


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    if not material.cohort:
        return []
    return [table_one(material.cohort, material.results.evaluation), *flow(material)]


SECTION = Section("Patients", content)
