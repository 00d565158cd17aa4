"""How the report, the model card and the pages beside them write names, figures and params."""

from collections.abc import Mapping, Sequence
from typing import Any

from diagxnet.data.hierarchy import CONDITIONAL
from diagxnet.statistics.comparison import alike, label

REFERENCE = (
    "Calibration and thresholds are fitted on val and judged on test. Where a table of its own is the test set, these "
    "are two reference standards: in CheXpert, val's labels were read off reports by a program (a blank as data.blank "
    "says; not so where data.test makes valid.csv val), and test's are of radiologists who saw the image. What is "
    "amiss is then amiss with the labels as well as with the model"
)
"""Calibrated to what."""

IN_THE_LARGE, SLOPE = "Calibration in the large (0 at best)", "Calibration slope (1 at best)"

ON_VAL = (
    "Choose runs by the figures on val. They are somewhat too good, as each training kept the epoch of the least val "
    "loss; what else of the ensemble is fitted to val, weights and factor, leaves the image's patient out."
)
RESEARCH_ONLY = "For research only: not a medical device, not for decisions about patients."


def hierarchy_text(rules: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """What `rules` of data/prepared/summary.json say of a hierarchy, as a sentence with a space before it; nothing
    where there is none."""
    if "hierarchy" not in rules:
        return ""
    pairs = ", ".join(f"{titles[child]} in {titles[parent]}" for child, parent in rules["parents"].items())
    said = f" In train and stack a positive finding makes the one that includes it positive ({pairs})."
    if rules["hierarchy"] == CONDITIONAL:
        said += " Base models learn it where that one is positive, and it is never more probable than that one."
    return said


def interval_text(metric: dict, name: str) -> str:
    """`0.857 (0.797 to 0.902)` of a mean ("macro", "chexpert5") of a metric in evaluation.json; `none` where it has
    none."""
    if name not in metric["ci"]:
        return "none"
    return _with_ends(metric[name], metric["ci"][name])


def single_text(metric: dict, key: str) -> str:
    """The same of a finding; `none` where it has no interval."""
    if key not in metric["per_finding"]:
        return "none"
    return _with_ends(metric["per_finding"][key], metric["ci"]["per_finding"][key])


def _with_ends(value: float, interval: dict[str, float]) -> str:
    """With three decimals, or where an end is beyond 100, as of a slope of very few labels, without any."""
    figures = value, interval["lower"], interval["upper"]
    value, lower, upper = (f"{each:,.{0 if max(map(abs, figures)) > 100 else 3}f}" for each in figures)
    return f"{value} ({lower} to {upper})"


def difference_text(difference: dict) -> str:
    interval = difference["ci"]
    return f"{difference['difference']:+.3f} ({interval['lower']:+.3f} to {interval['upper']:+.3f})"


PROBE = "Without the image"
"""What the tables call the shortcut probe."""


def probe_text(evaluation: dict) -> str:
    """What the shortcut probe is, and whether the ensemble sees more. evaluation: of a run, which has one."""
    probe = evaluation["probe"]
    compared = probe["ensemble_minus_shortcuts"]["auroc"]
    words = {key: own["verdict"] for key, own in compared["per_finding"].items() if "verdict" in own}
    others = [evaluation["findings"][key] for key, word in words.items() if word != "better"]
    rest = f"; not shown to be on {', '.join(others)}" if others else ""
    return (
        f"{PROBE}: a logistic regression each finding on {probe['features']}, fitted to {probe['images']:,} "
        "images of train and stack; what it predicts, a model may have learned from who is X-rayed how. The ensemble's "
        f"macro AUROC minus that: {difference_text(compared['macro'])}. It is better on {len(words) - len(others)} of "
        f"{len(words)} findings, by Holm for all at once{rest}."
    )


def ahead_text(difference: dict) -> str:
    """In how many resamples the first of two models is strictly ahead."""
    return "none: alike" if alike(difference) else f"{difference['share_ahead']:.0%}"


def counts_text(evaluation: dict, counts: dict[str, dict[str, int]]) -> str:
    """`Fracture (0 positive, 223 negative), ...` of counts by finding key. evaluation: here and below, content of
    metrics/evaluation.json, which holds the findings' names."""
    return ", ".join(
        f"{evaluation['findings'][key]} ({own['positives']:,} positive, {own['negatives']:,} negative)"
        for key, own in counts.items()
    )


def lacks_text(evaluation: dict) -> str:
    """A sentence on each member whose table of predictions lacks findings; empty where none does."""
    names = evaluation["findings"]
    return "".join(
        f" {label(model)} says nothing of {', '.join(names[key] for key in keys)}: its means, and what is compared "
        "with it, are over the others, and it is not taken for the best base model."
        for model, keys in evaluation.get("lacks", {}).items()
    )


def means_text(evaluation: dict) -> str:
    """What the means of evaluation.json are over, and what is left out of them."""
    counts, few = evaluation["counts"], evaluation["few"]
    text = f"Means over {counts['findings_in_means']} of {counts['findings_scored']} findings"
    if not few:
        text = f"{text}."
    elif len(few) == counts["findings_scored"]:
        text = f"{text}, all with few positives or few negatives: take them as rough."
    else:
        text = f"{text}; left out of means and verdicts, with few positives or few negatives: "
        text += f"{counts_text(evaluation, few)}."
    return text + lacks_text(evaluation)


def verdicts_text(first: str, second: str, per_finding: dict[str, dict]) -> str:
    """On how many findings `first` is better than `second`, and what that means. per_finding: entries of `compare`."""
    words = [entry["verdict"] for entry in per_finding.values() if "verdict" in entry]
    return (
        f"{first} is better than {second} on {words.count('better')} of {len(words)} findings and worse on "
        f"{words.count('worse')}. Verdicts are for all findings at once (Holm 1979); an interval is for its finding "
        "alone, and among several one or another leaves out 0 by chance."
    )


def not_learned_text(evaluation: dict, keys: Sequence[str]) -> str:
    """A sentence on the findings that were not learned, of which there is one at least."""
    names = ", ".join(evaluation["findings"][key] for key in keys)
    return f"Not learned, for no image of train has a known label: {names}. Predictions leave them empty."


def starred(evaluation: dict, key: str) -> str:
    name = evaluation["findings"][key]
    return f"{name} *" if key in evaluation["few"] else name


def flat(params: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """{"meta.hidden_dim": "256", ...}: values as YAML prints them."""
    leaves = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            leaves[f"{prefix}{key}"] = f"[{', '.join(map(str, value))}]"
        else:
            names = {None: "null", True: "true", False: "false"}
            leaves[f"{prefix}{key}"] = names[value] if value is None or isinstance(value, bool) else str(value)
    return leaves
