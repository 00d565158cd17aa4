"""plots/report.html: one page that says what was run, on what data, how good it is and how sure that is.

It carries no date, timing or commit: equal runs give equal pages.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from diagxnet.data.files import write_text
from diagxnet.data.findings import FINDINGS, KEYS
from diagxnet.reporting.curves import ENSEMBLE
from diagxnet.reporting.page import Html, element, figure, join, page, table
from diagxnet.reporting.parts import parts_section
from diagxnet.statistics.comparison import label, models_of, standing, verdict
from diagxnet.statistics.metrics import confusions
from diagxnet.statistics.results import Results
from diagxnet.statistics.subgroups import listed

NAMES = dict(zip(KEYS, FINDINGS, strict=True))
RESEARCH_ONLY = "For research only: not a medical device, not for decisions about patients."

GROUP_HEADER = ("Group", "n", "Patients", "Findings scored", "AUROC (95% interval)", "Everyone, same findings")

CAPTIONS = {
    "auroc_per_finding": "AUROC of each model by finding, with 95% intervals. The vertical line at 0.5 is chance.",
    "roc": "ROC curves on test. Each title gives n and the ensemble's AUROC with its 95% interval.",
    "precision_recall": "Precision and recall on test. The grey line is the prevalence, which a model without skill "
    "reaches; each title gives the ensemble's average precision with its 95% interval.",
    "reliability": "Reliability of the ensemble before and after calibration; larger marks hold more of the test "
    "set, and vertical lines are Wilson's 95% intervals of a bin.",
    "score_histograms": "The ensemble's calibrated probability with and without each finding.",
    "confusion": "The ensemble's calls at Youden's threshold, which was fixed on val.",
    "subgroups": "The ensemble's mean AUROC by group, beside everyone's over the same findings.",
    "learning_curves": "Learning curves; the dotted line marks the epoch whose weights were kept.",
    "contact_sheet": "Radiographs of the test set as the models see them.",
}
"""Figures of the report, in its order, with their captions."""


def write_report(
    path: Path,
    results: Results,
    audit: dict,
    params: dict,
    figures: Path,
    *,
    title: str = "Evaluation of the stacking ensemble",
    first: Sequence[tuple[str, Sequence[Html]]] = (),
) -> None:
    """Writes the report. audit: data/prepared/summary.json. params: params.yaml. figures: folder of the PNG files.

    first: sections (title, content) ahead of the usual ones.
    """
    evaluation = results.evaluation
    images = {name: figure((figures / f"{name}.png").read_bytes(), caption) for name, caption in CAPTIONS.items()}
    sections = [
        *first,
        ("Models", [models_table(evaluation, results.unit), *_comparisons(evaluation)]),
        *parts_section(evaluation),
        ("Success indicators", [_indicators(results.indicators)]),
        ("Findings", [*_findings(evaluation), images["auroc_per_finding"], images["roc"], images["precision_recall"]]),
        ("Thresholds", [*_thresholds(results), images["confusion"], images["score_histograms"]]),
        ("Calibration", [*_calibration(results), images["reliability"]]),
        ("Subgroups", [*_subgroups(evaluation), images["subgroups"]]),
        ("Training", [_histories(evaluation), images["learning_curves"]]),
        ("Data", [*_data(audit, evaluation), images["contact_sheet"]]),
        ("Params", [params_table(params)]),
        ("How to read this", [_reading()]),
    ]
    counts = evaluation["counts"]
    units = "studies" if results.unit == "study" else "images"
    introduction = [
        element(
            "p",
            f"Test set: {counts['units']:,} {units} of {counts['patients']:,} patients. Of {len(KEYS)} findings, "
            f"{counts['findings_scored']} can be scored; {counts['findings_flagged']} of them on few of one class.",
        ),
        element("p", verdict(evaluation["comparison"], "best_base"), class_="verdict"),
        element("p", RESEARCH_ONLY, class_="note"),
    ]
    write_text(path, page(title, introduction, sections))


def models_table(evaluation: dict, unit: str) -> Html:
    """Macro figures of the models, a row each; evaluation: content of metrics/evaluation.json."""
    header = ("Model", "AUROC (95% interval)", "Five findings", "AUPRC (95% interval)", "Brier", "ECE before, after")
    header += ("Sensitivity", "Specificity")
    rows = []
    models = models_of(evaluation)
    for model in models:
        own = evaluation[model]
        five = interval_text(own["auroc"], "chexpert5") if "chexpert5" in own["auroc"] else "none has both classes"
        sensitivity, specificity = (own["youden"][name].get("macro") for name in ("sensitivity", "specificity"))
        rows.append(
            (
                label(model),
                interval_text(own["auroc"], "macro"),
                five,
                interval_text(own["auprc"], "macro"),
                f"{own['brier']['macro']:.3f}",
                f"{own['ece']['uncalibrated']['macro']:.3f}, {own['ece']['macro']:.3f}",
                "none" if sensitivity is None else f"{sensitivity:.3f}",
                "none" if specificity is None else f"{specificity:.3f}",
            )
        )
    count = evaluation["counts"]["findings_scored"]
    prevalence = evaluation["ensemble"]["auprc"]["prevalence"]["macro"]
    caption = (
        f"Means over {count} findings, by {unit}. A model without skill has an AUPRC of {prevalence:.3f}. Sensitivity "
        "and specificity are those at Youden's threshold from val."
    )
    return table(header, rows, caption=caption, strong=[models.index("ensemble")])


def interval_text(metric: dict, name: str) -> str:
    """`0.857 (0.797 to 0.902)` of a mean ("macro", "chexpert5") of a metric in evaluation.json."""
    interval = metric["ci"][name]
    return f"{metric[name]:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})"


def difference_text(difference: dict) -> str:
    interval = difference["ci"]
    return f"{difference['difference']:+.3f} ({interval['lower']:+.3f} to {interval['upper']:+.3f})"


def params_table(params: Mapping[str, object]) -> Html:
    """params.yaml, a line each leaf."""
    return table(("Key", "Value"), flat(params).items(), text=[0, 1])


def flat(params: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """{"meta.hidden_dim": "256", ...}: values as YAML prints them."""
    leaves = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            names = {None: "null", True: "true", False: "false"}
            leaves[f"{prefix}{key}"] = names[value] if value is None or isinstance(value, bool) else str(value)
    return leaves


def _comparisons(evaluation: dict) -> list[Html]:
    comparison = evaluation["comparison"]
    best = label(comparison["best_base"])
    rows = []
    for other in ("best_base", "average"):
        name = f"best base model ({best})" if other == "best_base" else "plain average"
        for metric, called in (("auroc", "AUROC"), ("auprc", "AUPRC")):
            differences = comparison[f"ensemble_minus_{other}"][metric]
            for mean, over in (("macro", "all findings"), ("chexpert5", "five findings")):
                if mean in differences:
                    own = differences[mean]
                    share = f"{own['share_ahead']:.0%}"
                    rows.append((f"Ensemble - {name}", called, over, difference_text(own), share, standing(own)))
    header = ("Comparison", "Metric", "Mean of", "Difference (95% interval)", "Ahead in", "Verdict")
    caption = "Paired bootstrap over patients. The best base model was chosen on val."
    return [
        table(header, rows, caption=caption, text=[1, 2, 5]),
        element("p", verdict(comparison, "average")),
    ]


def _indicators(rows: list[dict]) -> Html:
    cells = [(row["indicator"], row["target"], row["found"], "yes" if row["met"] else "no") for row in rows]
    caption = f"{sum(row['met'] for row in rows)} of {len(rows)} of the optimization guide's indicators are met."
    return table(("Indicator", "Target", "Found", "Met"), cells, caption=caption, text=[0, 1, 2, 3])


def _findings(evaluation: dict) -> list[Html]:
    counts, comparison = evaluation["counts"], evaluation["comparison"]
    best = comparison["ensemble_minus_best_base"]["auroc"]["per_finding"]
    beside = models_of(evaluation)[:-1]
    rows, precision_rows = [], []
    for key, value in evaluation["ensemble"]["auroc"]["per_finding"].items():
        interval = evaluation["ensemble"]["auroc"]["ci"]["per_finding"][key]
        others = [f"{evaluation[model]['auroc']['per_finding'][key]:.3f}" for model in beside]
        rows.append(
            (
                _starred(evaluation, key),
                f"{counts['positives'][key] + counts['negatives'][key]:,}",
                f"{counts['positives'][key]:,}",
                *others,
                f"{value:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})",
                difference_text(best[key]),
                standing(best[key]),
            )
        )
        own = evaluation["ensemble"]["auprc"]
        interval = own["ci"]["per_finding"][key]
        precision_rows.append(
            (
                _starred(evaluation, key),
                f"{own['prevalence']['per_finding'][key]:.3f}",
                *(f"{evaluation[model]['auprc']['per_finding'][key]:.3f}" for model in beside),
                f"{own['per_finding'][key]:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})",
            )
        )
    names = [label(model) for model in beside]
    header = ("Finding", "n", "Positive", *names, "Ensemble (95% interval)", "Ensemble - best base", "Verdict")
    parts = [
        table(header, rows, caption="AUROC on test.", text=[len(header) - 1]),
        table(("Finding", "Prevalence", *names, "Ensemble (95% interval)"), precision_rows, caption="AUPRC on test."),
    ]
    if evaluation["few"]:
        parts.append(
            element(
                "p",
                f"* few of one class: {counts_text(evaluation['few'])}. Take their figures as rough.",
                class_="note",
            )
        )
    if evaluation["one_class"]["test"]:
        text = f"Not scored, because test has one class only: {counts_text(evaluation['one_class']['test'])}."
        parts.append(element("p", text, class_="note"))
    return parts


def _thresholds(results: Results) -> list[Html]:
    evaluation = results.evaluation
    own, calibration = evaluation["ensemble"], results.calibration["ensemble"]
    parts = []
    for rule, title in (("youden", "Youden's J"), ("specificity_90", "sensitivity at 90% specificity")):
        counts = confusions(results.test, results.calibrated[ENSEMBLE], calibration, rule)
        rows = [
            (
                _starred(evaluation, key),
                f"{calibration[key].thresholds[rule]:.3f}",
                *(
                    f"{own[rule][name]['per_finding'][key]:.3f}"
                    for name in ("sensitivity", "specificity", "precision", "f1")
                ),
                *(
                    f"{counts[key][name]:,}"
                    for name in ("true_positive", "false_positive", "false_negative", "true_negative")
                ),
            )
            for key in counts
        ]
        header = ("Finding", "Threshold", "Sensitivity", "Specificity", "Precision", "F1", "TP", "FP", "FN", "TN")
        caption = f"The ensemble on test at the threshold of {title}, fixed on val."
        parts.append(table(header, rows, caption=caption))
    if evaluation["one_class"]["val"]:
        text = f"No threshold, because val has one class only: {counts_text(evaluation['one_class']['val'])}."
        parts.append(element("p", text, class_="note"))
    return parts


def _calibration(results: Results) -> list[Html]:
    own = results.evaluation["ensemble"]
    words = {
        "platt": "slope and intercept",
        "flat": "no better than chance on val",
        "intercept": "intercept only: few on val",
        "none": "not known on val",
    }
    rows = []
    for key in own["ece"]["per_finding"]:
        fitted = results.calibration["ensemble"][key]
        rows.append(
            (
                _starred(results.evaluation, key),
                f"{fitted.positives:,} of {fitted.positives + fitted.negatives:,}",
                f"{fitted.slope:.3f}",
                f"{fitted.intercept:+.3f}",
                f"{own['ece']['uncalibrated']['per_finding'][key]:.3f}",
                f"{own['ece']['per_finding'][key]:.3f}",
                f"{own['brier']['uncalibrated']['per_finding'][key]:.3f}",
                f"{own['brier']['per_finding'][key]:.3f}",
                words[fitted.fit],
            )
        )
    header = (
        "Finding",
        "Positive on val",
        "Slope",
        "Intercept",
        "ECE before",
        "ECE after",
        "Brier before",
        "Brier after",
        "Fit",
    )
    caption = "Platt's calibration of the ensemble, fitted on val and measured on test."
    return [table(header, rows, caption=caption, text=[len(header) - 1])]


def _subgroups(evaluation: dict) -> list[Html]:
    groups = listed(evaluation, "ensemble")
    caption = (
        "The ensemble on test: the mean over the findings with enough of both classes in the group, beside that of "
        "everyone over the same findings."
    )
    parts = [table(GROUP_HEADER, group_rows(evaluation), caption=caption)]
    for attribute in dict.fromkeys(attribute for attribute, *_ in groups):
        own = [each[1:] for each in groups if each[0] == attribute]
        header = ("Finding", *(f"{group.replace('_', ' ')} (n = {(e or few)['units']:,})" for group, e, few in own))
        findings = evaluation["ensemble"]["auroc"]["per_finding"]
        rows = [(_starred(evaluation, key), *(_group_cell(key, e, few) for _, e, few in own)) for key in findings]
        parts.append(table(header, rows, caption=f"AUROC of the ensemble by finding and {attribute}."))
    return parts


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


def _histories(evaluation: dict) -> Html:
    rows = [
        (
            label(training),
            own["epochs_run"],
            own["best_epoch"],
            f"{own['first_train_loss']:.4f} to {own['last_train_loss']:.4f}",
            f"{own['first_val_loss']:.4f} to {own['best_val_loss']:.4f}",
            f"{own['gap']:+.4f}",
        )
        for training, own in evaluation["histories"].items()
    ]
    header = (
        "Training",
        "Epochs",
        "Best",
        "Training loss, first to last",
        "Val loss, first to best",
        "Gap at the best epoch",
    )
    return table(header, rows)


def _data(audit: dict, evaluation: dict) -> list[Html]:
    splits = audit["splits"]
    sizes = [
        (name, *(f"{own[what]:,}" for what in ("images", "studies", "patients", "contradictions")))
        for name, own in splits.items()
    ]
    header = ("Split", "Images", "Studies", "Patients", "Contradict themselves")
    parts = [table(header, sizes, caption="Images in use. No patient is in two splits.")]
    names = ("positive", "negative", "uncertain", "blank")
    rows = [
        (
            NAMES[key],
            *("/".join(f"{own['findings'][key]['images'][name]:,}" for name in names) for own in splits.values()),
        )
        for key in KEYS
    ]
    parts.append(
        table(("Finding", *splits), rows, caption="Labels as read, by image: positive/negative/uncertain/blank.")
    )
    rules = ", ".join(f"{NAMES[key]} {rule}" for key, rule in audit["rules"]["uncertain"].items())
    learned = f"Uncertain labels in train and stack: {rules}. " if rules else ""
    parts.append(
        element(
            "p",
            f"Blank labels: {audit['rules']['blank']}. {learned}In val and test "
            f"an uncertain label is masked. Views in use: {audit['rules']['views']}.",
        )
    )
    notes = [f"Dropped images: {audit['dropped']['images']:,}"]
    notes += [f"{each['table']}: {each['path']}: {each['reason']}" for each in audit["dropped_images"]]
    notes += audit["warnings"]
    parts.append(element("ul", *(element("li", note) for note in notes)))
    return parts


def _reading() -> Html:
    lines = (
        "Every figure is measured on test, which no training, stopping, threshold or calibration has seen.",
        "Intervals are meant to hold the true value in 95 of 100 test sets like this one: a bootstrap over patients "
        "(all images of a patient are drawn together), on the logit scale, with Student's quantile for the number of "
        "patients of the rarer class.",
        "Differences are paired: both models are scored on the same resamples. Where the interval holds 0, the two are "
        "not distinguishable on this test set, however the numbers look.",
        "AUROC 0.5 and AUPRC equal to the prevalence are what guessing reaches.",
        "Brier score and ECE (10 bins of equal width) are 0 at best. Probabilities are calibrated on val.",
        "Test labels come with the data set; where they were read off reports by a program, the figures measure "
        "agreement with that program, not with the patient.",
    )
    return element("ul", *(element("li", line) for line in lines))


def _starred(evaluation: dict, key: str) -> str:
    return f"{NAMES[key]} *" if key in evaluation["few"] else NAMES[key]


def counts_text(counts: dict[str, dict[str, int]]) -> str:
    """`Fracture (0 positive, 223 negative), ...` of counts by finding key."""
    return ", ".join(
        f"{NAMES[key]} ({own['positives']:,} positive, {own['negatives']:,} negative)" for key, own in counts.items()
    )
