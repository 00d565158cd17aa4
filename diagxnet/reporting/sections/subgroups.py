"""The ensemble's figures by sex, age band, view and further columns, and each group beside the rest."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from diagxnet.reporting.drawing import DPI, handle, population
from diagxnet.reporting.page import Html, element, join, table
from diagxnet.reporting.section import Drawing, Material, Section
from diagxnet.reporting.wording import difference_text, interval_text, starred
from diagxnet.statistics.subgroups import listed

MEASURES = {
    "sensitivity": "True positive rate",
    "false_positive_rate": "False positive rate",
    "in_the_large": "Calibration in the large",
    "auroc": "AUROC",
}
"""Of `disparity.MEASURES`, what a table calls each."""

GAPS = (
    "A group minus the rest of test, in the mean over the findings with enough of both classes in either; rates are at "
    "Youden's threshold from val. Where the true positive rate is lower, more of the group's sick are missed; so are "
    "they where the false positive rate of No Finding is higher (underdiagnosis: Seyyed-Kalantari et al. 2021). "
    "Verdicts are for all groups and measures of an attribute at once (Holm 1979); intervals are each for itself. A "
    "small group that is not distinguishable may differ all the same."
)

GROUP_HEADER = ("Group", "n", "Patients", "Findings scored", "AUROC (95% interval)", "Everyone, same findings")


def subgroup_parts(evaluation: dict) -> list[Html]:
    """The section's tables; evaluation: content of metrics/evaluation.json."""
    groups = listed(evaluation, "ensemble")
    caption = (
        "The ensemble on test: the mean over the findings with enough of both classes in the group, beside that of "
        "everyone over the same findings."
    )
    parts = [table(GROUP_HEADER, group_rows(evaluation), caption=caption)]
    for attribute in dict.fromkeys(attribute for attribute, *_ in groups):
        own = [each[1:] for each in groups if each[0] == attribute]
        header = (
            "Finding",
            *(f"{group.replace('_', ' ')} (n = {(entry or too_small)['units']:,})" for group, entry, too_small in own),
        )
        findings = evaluation["ensemble"]["auroc"]["per_finding"]
        rows = [
            (starred(evaluation, key), *(_group_cell(key, entry, too_small) for _, entry, too_small in own))
            for key in findings
        ]
        parts.append(table(header, rows, caption=f"AUROC of the ensemble by finding and {attribute}."))
    return [*parts, *_gaps(evaluation, groups)]


def _gaps(evaluation: dict, groups: list[tuple[str, str, dict, dict]]) -> list[Html]:
    """Each group minus the rest, a row each, and by finding; groups: as `listed` gives them."""
    compared = [(attribute, group, entry) for attribute, group, entry, _ in groups if "minus_rest" in entry]
    if not compared:
        return []
    header = ("Group", *(f"{name}: {what}" for name in MEASURES.values() for what in ("here", "minus the rest")))
    rows = [
        (
            f"{attribute}: {group.replace('_', ' ')}",
            *(cell for name in MEASURES for cell in _gap_cells(entry, name)),
        )
        for attribute, group, entry in compared
    ]
    parts = [table(header, rows, caption=GAPS)]
    for attribute in dict.fromkeys(attribute for attribute, *_ in compared):
        own = [(group, entry) for of, group, entry in compared if of == attribute]
        parts.append(_rates_by_finding(evaluation["findings"], attribute, own))
    return parts


def _gap_cells(entry: dict, name: str) -> tuple[object, object]:
    """The figure in the group, with its interval, and what it differs by from the rest, with its verdict."""
    if name not in entry["minus_rest"]:
        return "none", "none"
    figure, difference = entry[name], entry["minus_rest"][name]["macro"]
    here, gap = figure["ci"]["macro"], difference["ci"]
    sure = difference["verdict"] in ("higher", "lower")
    word = element("strong", difference["verdict"]) if sure else difference["verdict"]
    return (
        join([f"{figure['macro']:.3f}", element("small", f"{here['lower']:.2f} to {here['upper']:.2f}")]),
        join(
            [
                f"{difference['difference']:+.3f}",
                element("small", f"{gap['lower']:+.2f} to {gap['upper']:+.2f}"),
                element("small", word),
            ]
        ),
    )


def _rates_by_finding(names_of: Mapping[str, str], attribute: str, own: list[tuple[str, dict]]) -> Html:
    """True and false positive rate of each finding in the groups of one attribute, and what they differ by from the
    rest. own: (group, entry)."""
    names = ("sensitivity", "false_positive_rate")
    scored = [entry[name]["per_finding"] for _, entry in own for name in names if name in entry]
    keys = [key for key in names_of if any(key in each for each in scored)]
    header = ("Finding", *(f"{group.replace('_', ' ')}: {short}" for group, _ in own for short in ("TPR", "FPR")))
    rows = [(names_of[key], *(_rate_cell(entry, name, key) for _, entry in own for name in names)) for key in keys]
    caption = f"True (TPR) and false positive rate (FPR) by finding and {attribute}, below it minus the rest."
    return table(header, rows, caption=caption)


def _rate_cell(entry: dict, name: str, key: str) -> object:
    if key not in entry.get(name, {}).get("per_finding", {}):
        return "too few"
    difference = entry["minus_rest"].get(name, {}).get("per_finding", {}).get(key)
    below = "rest too few" if difference is None else difference_text(difference)
    return join([f"{entry[name]['per_finding'][key]:.3f}", element("small", below)])


def group_rows(evaluation: dict) -> list[tuple[object, ...]]:
    """The ensemble's macro AUROC in each group, a row each, under GROUP_HEADER."""
    return [
        (
            f"{attribute}: {group.replace('_', ' ')}",
            f"{(entry or too_small)['units']:,}",
            f"{(entry or too_small)['patients']:,}",
            entry.get("findings", 0),
            interval_text(entry["auroc"], "macro") if entry else "too small to be scored",
            f"{entry['everyone']:.3f}" if entry else "",
        )
        for attribute, group, entry, too_small in listed(evaluation, "ensemble")
    ]


def _group_cell(key: str, entry: dict, too_small: dict) -> Html:
    """AUROC of one finding in one group, and its positives; the positives alone where there are too few."""
    if key in entry.get("positives", {}):
        interval = entry["auroc"]["ci"]["per_finding"][key]
        text = f"{entry['auroc']['per_finding'][key]:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})"
        positives, negatives = entry["positives"][key], entry["negatives"][key]
    else:
        text = "too few"
        positives, negatives = (too_small["findings"][key][name] for name in ("positives", "negatives"))
    return join([text, element("small", f"{positives:,} of {positives + negatives:,} positive")])


def subgroup_intervals(material: Material) -> Figure:
    """The ensemble's macro AUROC by group with its interval, beside that of everyone over the same findings.

    A group in which no finding can be scored has a line as well, which says so.
    """
    results = material.results
    groups = listed(results.evaluation, "ensemble")
    figure = Figure(figsize=(9, 1.5 + 0.36 * len(groups)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    labels = []
    for row, (attribute, group, entry, too_small) in enumerate(groups):
        count = entry.get("findings", 0)
        scored = f"{count} finding{'s' * (count != 1)}" if entry else "too small to be scored"
        size = f"n = {(entry or too_small)['units']:,}; {scored}"
        labels.append(f"{attribute}: {group.replace('_', ' ')} ({size})")
        if entry:
            value, interval = entry["auroc"]["macro"], entry["auroc"]["ci"]["macro"]
            axes.plot([interval["lower"], interval["upper"]], [row, row], color="black", linewidth=1.4)
            axes.plot(value, row, "o", color="black", markersize=5)
            axes.plot(entry["everyone"], row, "D", color="#D55E00", markersize=7, markerfacecolor="none")
    axes.set_yticks(range(len(groups)), labels)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean AUROC over the findings with enough of both classes in the group")
    axes.set_title(population(results).partition(";")[0], loc="left")
    handles = [
        handle("the group, with 95% interval", color="black", marker="o"),
        handle("everyone, same findings", color="#D55E00", marker="D", markerfacecolor="none", linestyle="none"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    return [*subgroup_parts(material.results.evaluation), *figures.values()]


SECTION = Section(
    "Subgroups",
    content,
    {
        "subgroups": Drawing(
            subgroup_intervals, "The ensemble's mean AUROC by group, beside everyone's over the same findings."
        )
    },
)
