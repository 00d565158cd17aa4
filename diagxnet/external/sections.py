"""What the report of an external validation says ahead of the usual sections: what was compared, and what was lost."""

from diagxnet.reporting.page import Html, element, table
from diagxnet.reporting.wording import difference_text
from diagxnet.statistics.comparison import label, models_of

METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "ece": "ECE",
    "excess": "Mean probability - prevalence",
}


def external_sections(evaluation: dict) -> list[tuple[str, list[Html]]]:
    """Sections of the page. evaluation: the whole output."""
    external, names = evaluation["external"], evaluation["findings"]
    compared = [*_overlap(external, evaluation["counts"], names), *_mapping(external, names), _guard(external)]
    sections = [("What was compared", compared)]
    if "gap" in external:
        sections.append(("Beside the ensemble's own test set", _gap(external["gap"], names)))
    return sections


def _overlap(external: dict, counts: dict, names: dict[str, str]) -> list[Html]:
    overlap = external["overlap"]
    found = overlap["findings"]
    rows = [
        (names[key], f"{labels:,}", f"{counts['positives'][key]:,}", f"{counts['negatives'][key]:,}")
        for key, labels in overlap["labels_compared"].items()
    ]
    caption = (
        f"{found['compared']} of {found['of']} findings are compared; this data set annotates {found['annotated']}."
    )
    absent = ", ".join(names[key] for key in overlap["not_annotated"]) or "none"
    one_class = ", ".join(names[key] for key in overlap["one_class"]) or "none"
    not_learned = ", ".join(names[key] for key in overlap["not_learned"]) or "none"
    return [
        table(("Finding", "Labels compared", "Positive", "Negative"), rows, caption=caption),
        element(
            "p",
            f"Not annotated here, so absent: {absent}. Annotated, but with one class only: {one_class}. "
            f"Annotated, but never learned by this ensemble: {not_learned}.",
        ),
    ]


def _mapping(external: dict, names: dict[str, str]) -> list[Html]:
    mapping = external.get("mapping")
    if mapping is None:
        return [element("p", "No mapping.json says how the labels came to be these findings.", class_="note")]
    rows = [(names[key], ", ".join(classes) or "none") for key, classes in mapping["findings"].items()]
    merged = "; ".join(f"{names[key]} is any of {', '.join(classes)}" for key, classes in mapping["merged"].items())
    lines = [f"Merged classes: {merged or 'none'}.", f"Classes not used: {', '.join(mapping['unused']) or 'none'}."]
    return [
        table(("Finding", f"Classes of {mapping['source']}"), rows, caption="Mapping of the labels.", text=[1]),
        element("ul", *(element("li", line) for line in (*lines, *mapping["notes"]))),
    ]


def _guard(external: dict) -> Html:
    guard = external["trained_on"]
    if not guard["checked"]:
        text = "Nobody could tell whether the ensemble was trained on some of these patients or images."
        return element("p", text, class_="note")
    patients, images = guard["known_patients"], guard["known_images"]
    text = f"Trained on before: {images:,} of these images by content; {patients:,} patients bear the name of one."
    return element("p", text, **({"class_": "note"} if patients or images else {}))


def _gap(gap: dict, names: dict[str, str]) -> list[Html]:
    if not gap["findings"]:
        return [element("p", "No finding can be scored in both.", class_="note")]
    header = ("", "Own test set", "Here", "Difference (95% interval)")
    means = [
        (f"{label(model)}: {name}", *_cells(gap[model][metric]["macro"]))
        for model in reversed(models_of(gap))
        for metric, name in METRICS.items()
        if "macro" in gap[model][metric]
    ]
    findings = [
        (f"{names[key]}: {METRICS[metric]}", *_cells(gap["ensemble"][metric]["per_finding"][key]))
        for key in gap["ensemble"]["auroc"]["per_finding"]
        for metric in ("auroc", "ece", "excess")
    ]
    caption = (
        f"Means over {gap['findings_in_means']} of {gap['findings']} findings that can be scored in both, without "
        "those with few of one class in either; each set is resampled by itself."
    )
    return [
        table(header, means, caption=caption),
        element("p", "ECE is above 0 by chance alone, and more so in a smaller set; the excess is not."),
        table(header, findings, caption="The ensemble by finding."),
    ]


def _cells(entry: dict) -> tuple[str, str, str]:
    return f"{entry['own']:.3f}", f"{entry['foreign']:.3f}", difference_text(entry)
