"""The page on tables of predictions: one file that needs no network."""

from pathlib import Path

from diagxnet.data.files import write_text
from diagxnet.reporting.drawing import render
from diagxnet.reporting.page import Html, element, figure, page, table
from diagxnet.reporting.wording import RESEARCH_ONLY, difference_text, interval_text, single_text
from diagxnet.statistics.comparison import verdict
from diagxnet.tables.figures import auroc, name_of, roc
from diagxnet.tables.measure import ENSEMBLE, Judged

VERDICTS = {"better": "stack better", "worse": "stack worse"}
READER_VERDICTS = {"better": "reader better", "worse": "reader worse"}


def write_page(path: Path, judged: Judged) -> None:
    """Writes the page; equal figures give equal bytes."""
    sections = [("Models", _models(judged))]
    if judged.evaluation["readers"]:
        sections.append(("Readers", _readers(judged)))
    sections += [
        ("Findings", _findings(judged)),
        ("What the stack is made of", _parts(judged)),
        ("The tables", [element("ul", *(element("li", note) for note in judged.evaluation["notes"]))]),
        ("How to read it", _reading(judged)),
    ]
    write_text(path, page("Predictions judged and stacked", _introduction(judged), sections))


def sentences(judged: Judged) -> list[str]:
    """What was found, in a sentence each: the stack beside the best member and both means, the readers beside it."""
    comparison, found = judged.evaluation["comparison"], []
    best = comparison["best_member"]
    for other, words in (
        (best, f"{best}, the best member in these data"),
        ("probability_mean", "the mean of probabilities"),
        ("rank_mean", "the mean of ranks"),
    ):
        difference = comparison[f"ensemble_minus_{other}"]["auroc"]["macro"]
        text = {"better": "better than", "worse": "worse than"}.get(verdict(difference), "not distinguishable from")
        found.append(f"The stack is {text} {words}: macro AUROC {_signed(difference)}.")
    for name, own in judged.evaluation["readers"].items():
        beside = own["at_his_specificity"][ENSEMBLE]["reader_minus_model"]
        text = {"better": "more sensitive than", "worse": "less sensitive than"}
        text = text.get(beside["verdict"], "not distinguishable in sensitivity from")
        middle = {"difference": beside["macro"], "ci": beside["ci"]["macro"]}
        found.append(
            f"{name} is {text} the stack at the reader's own specificity, {own['specificity']['macro']:.3f}: "
            f"{_signed(middle)}."
        )
    return found


def _signed(difference: dict) -> str:
    ends = difference["ci"]
    return f"{difference['difference']:+.4f} (95% interval {ends['lower']:+.4f} to {ends['upper']:+.4f})"


def _introduction(judged: Judged) -> list[Html]:
    counts, settings = judged.evaluation["counts"], judged.evaluation["settings"]
    return [
        element(
            "p",
            f"{counts['units']:,} rows of {counts['patients']:,} patients, {counts['members']} members, "
            f"{counts['findings_scored']} of {len(judged.aligned.findings)} findings scored, "
            f"{counts['findings_in_means']} in means. The stack's figures are out of fold: patients are dealt "
            f"{settings['repeats']} times into {settings['folds']} folds, and each row is scored by stacks that never "
            "saw its patient.",
        ),
        *(element("p", sentence, class_="verdict") for sentence in sentences(judged)),
        element("p", RESEARCH_ONLY, class_="note"),
    ]


def _models(judged: Judged) -> list[Html]:
    rows, operating = [], []
    for model in judged.scored.models:
        own = judged.evaluation[model]
        row = [name_of(model), interval_text(own["auroc"], "macro"), interval_text(own["auprc"], "macro")]
        if model == ENSEMBLE:
            row += ["", ""]
        else:
            beside = judged.evaluation["comparison"][f"ensemble_minus_{model}"]
            row += [difference_text(beside["auroc"]["macro"]), VERDICTS.get(beside["verdict"], beside["verdict"])]
        rows.append((*row, f"{own['brier']['macro']:.3f}", f"{own['ece']['macro']:.3f}"))
        pairs = [own[rule][name] for rule in ("youden", "specificity_90") for name in ("sensitivity", "specificity")]
        operating.append((name_of(model), *(interval_text(each, "macro") for each in pairs)))
    header = (
        "Model",
        "AUROC (95% interval)",
        "AUPRC (95% interval)",
        "Stack - model, AUROC",
        "Verdict",
        "Brier",
        "ECE",
    )
    strong = [judged.scored.models.index(ENSEMBLE)]
    rate = judged.evaluation[ENSEMBLE]["auprc"]["prevalence"]["macro"]
    caption = f"Means over findings. A model without skill has an AUPRC of {rate:.3f}. Differences are paired."
    titles = ("Model", "Youden: sensitivity", "specificity", "90% specific: sensitivity", "specificity")
    text = "Calls at thresholds that the patients of the other folds fixed; so is the calibration behind Brier and ECE."
    return [
        table(header, rows, caption=caption, text=[4], strong=strong),
        figure(render(auroc, judged), "Macro AUROC of each model, with 95% intervals."),
        table(titles, operating, caption=text, strong=strong),
    ]


def _readers(judged: Judged) -> list[Html]:
    readers = judged.evaluation["readers"]
    rows, single = [], []
    for name, own in readers.items():
        beside = own["at_his_specificity"][ENSEMBLE]
        minus = beside["reader_minus_model"]
        middle = {"difference": minus["macro"], "ci": minus["ci"]["macro"]}
        rows.append(
            (
                name,
                f"{own['units']:,}",
                interval_text(own["sensitivity"], "macro"),
                interval_text(own["specificity"], "macro"),
                interval_text(beside["sensitivity"], "macro"),
                difference_text(middle),
                READER_VERDICTS.get(minus["verdict"], minus["verdict"]),
            )
        )
        for key in own["sensitivity"]["per_finding"]:
            middle = {"difference": minus["per_finding"][key], "ci": minus["ci"]["per_finding"][key]}
            single.append(
                (
                    f"{name}: {judged.aligned.findings.titles[key]}",
                    single_text(own["sensitivity"], key),
                    single_text(own["specificity"], key),
                    single_text(beside["sensitivity"], key),
                    difference_text(middle),
                )
            )
    header = ("Reader", "Rows", "Sensitivity", "Specificity", "Stack's sensitivity there", "Reader - stack", "Verdict")
    caption = "Each reader beside the stack at the reader's own specificity, finding by finding; means over findings."
    titles = ("Reader and finding", "Sensitivity", "Specificity", "Stack's sensitivity there", "Reader - stack")
    return [
        table(header, rows, caption=caption, text=[6]),
        _roc(judged),
        table(titles, single, caption="By finding."),
        _beside_others(judged),
    ]


def _beside_others(judged: Judged) -> Html:
    readers, rows = judged.evaluation["readers"], []
    for model in judged.scored.models:
        cells = []
        for own in readers.values():
            minus = own["at_his_specificity"][model]["reader_minus_model"]
            cells.append(difference_text({"difference": minus["macro"], "ci": minus["ci"]["macro"]}))
        rows.append((name_of(model), *cells))
    caption = "Reader minus model in sensitivity, at the reader's own specificity; means over findings."
    return table(("Model", *readers), rows, caption=caption, strong=[judged.scored.models.index(ENSEMBLE)])


def _roc(judged: Judged) -> Html:
    caption = (
        "ROC curves; the stack's is out of fold. A reader is a point, with 95% intervals of both rates. A point below "
        "the black curve is less sensitive than the stack at the same specificity."
    )
    return figure(render(roc, judged), caption)


def _findings(judged: Judged) -> list[Html]:
    rows = []
    counts, own = judged.evaluation["counts"], judged.evaluation[ENSEMBLE]["auroc"]
    beside = judged.evaluation["comparison"]["ensemble_minus_rank_mean"]["auroc"]["per_finding"]
    others = judged.scored.models[:-1]
    few = False
    for key in own["per_finding"]:
        star = "" if key in judged.headline else " *"
        few = few or bool(star)
        rows.append(
            (
                f"{judged.aligned.findings.titles[key]}{star}",
                f"{counts['positives'][key] + counts['negatives'][key]:,}",
                f"{counts['positives'][key]:,}",
                *(
                    f"{judged.evaluation[model]['auroc']['per_finding'][key]:.3f}"
                    for model in judged.scored.models[:-1]
                ),
                single_text(own, key),
                difference_text(beside[key]),
                beside[key].get("verdict", "too few"),
            )
        )
    header = ("Finding", "n", "Positive", *map(name_of, others))
    header += ("Stack (95% interval)", "Stack - mean of ranks", "Verdict")
    parts = [table(header, rows, caption="AUROC by finding.", text=[len(header) - 1])]
    if few:
        parts.append(element("p", "* few of one class: left out of means and verdicts.", class_="note"))
    return parts if judged.evaluation["readers"] else [*parts, _roc(judged)]


def _parts(judged: Judged) -> list[Html]:
    own, titles = judged.evaluation["stack"], judged.aligned.findings.titles
    rows = [
        (name, f"{sum(weights.values()) / len(weights):.2f}", *(f"{weights[key]:.2f}" for key in titles))
        for name, weights in own["weights"].items()
    ]
    parts = [
        table(
            ("Member", "Mean", *titles.values()),
            rows,
            caption="Weights of the members' ranks in the stack of all rows; of one finding they add up to 1.",
        )
    ]
    if len(titles) > 1:
        rows = [(titles[key], *(f"{taken[other]:+.2f}" for other in titles)) for key, taken in own["across"].items()]
        caption = "What a finding (row) takes from the log odds of each finding (column), on top of its own."
        parts.append(table(("", *titles.values()), rows, caption=caption))
    repeats = [sum(each[key] for key in judged.headline) / len(judged.headline) for each in own["auroc_by_repeat"]]
    text = f"Macro AUROC of single deals into folds: {min(repeats):.4f} to {max(repeats):.4f}."
    return [*parts, element("p", text)]


def _reading(judged: Judged) -> list[Html]:
    settings = judged.evaluation["settings"]
    return [
        element(
            "ul",
            element(
                "li",
                f"Intervals are of {settings['bootstrap']:,} resamples of patients, the same for all. Each holds for "
                "its figure alone: among many, one or another is wrong by chance.",
            ),
            element(
                "li",
                "The stack learns from the labels, and each row is scored by stacks without its patient. The two means "
                "learn nothing. The best member was found in the same rows, and so looks a little better than it is.",
            ),
            element("li", "A finding with one class is not scored; one with few of a class is left out of means."),
            element("li", "Where equal scores must be split to reach a reader's specificity, chance splits them."),
            element("li", "Nothing here says how the models do on other patients than these."),
        )
    ]
