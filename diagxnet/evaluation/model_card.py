"""models/MODEL_CARD.md, by the fields of Mitchell et al., "Model Cards for Model Reporting", FAT* 2019."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from diagxnet.evaluation.calibration import SPECIFICITY
from diagxnet.evaluation.comparison import LABELS, verdict
from diagxnet.evaluation.report import NAMES, RESEARCH_ONLY, counts_text, difference_text, flat, interval_text
from diagxnet.evaluation.results import Results
from diagxnet.evaluation.scored import MODELS
from diagxnet.files import write_text
from diagxnet.findings import KEYS


def write_model_card(path: Path, results: Results, audit: dict, params: dict, configs: dict[str, dict]) -> None:
    """Writes the card. audit: data/prepared/summary.json. params: params.yaml. configs: config.json by training."""
    sections = [
        "# Model card: stacking ensemble for fourteen findings on chest radiographs",
        RESEARCH_ONLY,
        *_details(params, configs),
        *_use(),
        *_factors(results),
        *_metrics(results),
        *_data(results, audit, params),
        *_analyses(results),
        *_considerations(results),
        "## Reference",
        "Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019, arXiv:1810.03993, whose fields these are.",
    ]
    write_text(path, "\n\n".join(sections) + "\n")


def _details(params: dict, configs: dict[str, dict]) -> list[str]:
    values = flat(params)
    base = [
        f"- {LABELS[name]}: `{configs[name].get('arch', name)}`, {values['data.image_size']} px, "
        f"pretrained: {values[f'{name}.pretrained']}"
        for name in ("densenet", "vit")
    ]
    lines = [
        *base,
        f"- Meta-learner: `{values['meta.arch']}`, hidden dimension {values['meta.hidden_dim']}, starts at "
        f"{'the mean of both' if values['meta.init'] == 'average' else 'random weights'}; it reads the "
        "logits of both base models and gives one logit a finding",
        "- Output: a logit for each finding; `calibration.json` beside this file turns it into a probability and holds "
        "the thresholds",
        "- Training: binary cross-entropy over known labels or a variant of it; every hyperparameter is in params.yaml "
        "and in plots/report.html",
        "- Version: the commit and dvc.lock that this file came with. Licence: MIT, the code; the weights also follow "
        "the terms of the data and of pretrained weights, where some were used",
    ]
    return ["## Model details", "\n".join(lines)]


def _use() -> list[str]:
    return [
        "## Intended use",
        "- Primary use: research into multi-label classification, stacking and calibration on chest radiographs, and "
        "comparison of training recipes on one data set\n"
        "- Primary users: researchers and machine learning engineers\n"
        "- Out of scope: diagnosis, triage or any decision about a patient; children; modalities other than "
        "radiography of the chest; findings beyond the fourteen; reading a high probability as a location or a cause",
    ]


def _factors(results: Results) -> list[str]:
    few = results.evaluation["few"]
    flagged = f" Few of one class on test, so take these as rough: {counts_text(few)}." if few else ""
    return [
        "## Factors",
        "Reported below by sex, age band and view (projection). Not known, and so not evaluated: ethnicity, scanner, "
        f"site, severity of disease, and whether a patient was in hospital.{flagged}",
    ]


def _metrics(results: Results) -> list[str]:
    return [
        "## Metrics",
        "AUROC and AUPRC (average precision; its chance level is the prevalence) for ranking; Brier score and expected "
        "calibration error (10 bins of equal width) for probabilities; sensitivity, specificity, precision and F1 at "
        f"thresholds fixed on val (Youden's J; sensitivity at {SPECIFICITY:.0%} specificity). Intervals are 95%, by "
        f"bootstrap over patients. The unit is the {results.unit}.",
    ]


def _data(results: Results, audit: dict, params: dict) -> list[str]:
    splits = audit["splits"]
    sizes = markdown_table(
        ("Split", "Images", "Studies", "Patients"),
        ((name, *(f"{own[what]:,}" for what in ("images", "studies", "patients"))) for name, own in splits.items()),
    )
    rules = ", ".join(f"{NAMES[key]}: {rule}" for key, rule in audit["rules"]["uncertain"].items())
    labels = markdown_table(
        ("Finding", *(f"{name}: positive / known" for name in splits)),
        (
            (
                NAMES[key],
                *(
                    _positive_of_known(own["findings"][key]["images"], audit["rules"]["blank"])
                    for own in splits.values()
                ),
            )
            for key in KEYS
        ),
    )
    root = flat(params)["data.root"]
    source = "drawn radiographs, not of patients" if root == "data/demo" else f"`{root}`"
    one_class = {name: results.evaluation["one_class"][name] for name in ("val", "test")}
    notes = [f"One class only on {name}: {counts_text(counts)}." for name, counts in one_class.items() if counts]
    return [
        "## Evaluation data",
        f"Source: {source}. The test split is `valid.csv` where the data set has one, else a share of patients. It was "
        "used once, after training, thresholds and calibration were fixed. " + " ".join(notes),
        "## Training data",
        f"Split by patient: no patient is in two splits. {_learning(flat(params))}; thresholds and calibration are "
        "fitted on val.",
        sizes,
        f"Label rules: blank is {audit['rules']['blank']}; uncertain in train and stack by finding ({rules}); "
        f"uncertain in val and test is masked. Views: {audit['rules']['views']}. Images left out because they could "
        f"not be read: {audit['dropped']['images']:,}.",
        labels,
    ]


def _learning(values: dict[str, object]) -> str:
    """Which model learns from what; values: params by dotted key."""
    if values["stack.method"] == "holdout":
        return "Base models learn on train and stop on val; the meta-learner learns on stack and stops on val"
    return (
        f"Crossfit over {values['stack.folds']} folds of the patients of train and stack (Wolpert 1992): so many base "
        "models of each kind, each trained without a fold and stopped on val; the meta-learner learns from the logits "
        "that each gives its own fold and stops on val; predictions are the mean over the folds"
    )


def _positive_of_known(counts: dict[str, int], blank: str) -> str:
    known = counts["positive"] + counts["negative"] + (counts["blank"] if blank == "negative" else 0)
    return f"{counts['positive']:,} / {known:,}"


def _analyses(results: Results) -> list[str]:
    evaluation = results.evaluation
    whole = markdown_table(
        ("Model", "AUROC (95% interval)", "AUPRC (95% interval)", "Brier", "ECE before, after calibration"),
        (
            (
                LABELS[model],
                interval_text(evaluation[model]["auroc"], "macro"),
                interval_text(evaluation[model]["auprc"], "macro"),
                f"{evaluation[model]['brier']['macro']:.3f}",
                f"{evaluation[model]['ece']['uncalibrated']['macro']:.3f}, {evaluation[model]['ece']['macro']:.3f}",
            )
            for model in MODELS
        ),
    )
    return [
        "## Quantitative analyses",
        f"Means over {evaluation['counts']['findings_scored']} findings on {evaluation['counts']['units']:,} "
        f"{'studies' if results.unit == 'study' else 'images'} of {evaluation['counts']['patients']:,} patients.",
        whole,
        verdict(evaluation["comparison"], "best_base"),
        verdict(evaluation["comparison"], "average"),
        "### By finding (ensemble)",
        _by_finding(evaluation),
        "### By group (ensemble)",
        _by_group(evaluation),
    ]


def _by_finding(evaluation: dict) -> str:
    own = evaluation["ensemble"]
    best = evaluation["comparison"]["ensemble_minus_best_base"]["auroc"]["per_finding"]

    def point(name: str, key: str) -> str:
        value = own["youden"][name]["per_finding"].get(key)
        return "no threshold" if value is None else f"{value:.3f}"

    rows = []
    for key, value in own["auroc"]["per_finding"].items():
        interval = own["auroc"]["ci"]["per_finding"][key]
        rows.append(
            (
                f"{NAMES[key]}{' *' * (key in evaluation['few'])}",
                f"{own['auprc']['prevalence']['per_finding'][key]:.3f}",
                f"{value:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})",
                difference_text(best[key]),
                f"{own['auprc']['per_finding'][key]:.3f}",
                point("sensitivity", key),
                point("specificity", key),
            )
        )
    header = ("Finding", "Prevalence", "AUROC (95% interval)", "Ensemble - best base model", "AUPRC")
    return markdown_table((*header, "Sensitivity", "Specificity"), rows)


def _by_group(evaluation: dict) -> str:
    rows = [
        (
            f"{attribute}: {group.replace('_', ' ')}",
            f"{entry['units']:,}",
            f"{entry['patients']:,}",
            entry["findings"],
            interval_text(entry["auroc"], "macro"),
            f"{entry['everyone']:.3f}",
        )
        for attribute, groups in evaluation["ensemble"]["subgroups"].items()
        for group, entry in groups.items()
    ]
    table = markdown_table(
        ("Group", "n", "Patients", "Findings scored", "AUROC (95% interval)", "Everyone, same findings"), rows
    )
    unscored = [
        f"{attribute}: {group.replace('_', ' ')} (n = {entry['units']:,})"
        for attribute, groups in evaluation["subgroups_too_small"].items()
        for group, entry in groups.items()
        if not entry["scored"]
    ]
    return f"{table}\n\nToo small to be scored: {', '.join(unscored)}." if unscored else table


def _considerations(results: Results) -> list[str]:
    return [
        "## Ethical considerations",
        "Where the data set's terms forbid sharing its images, do not share plots/: the report and the contact sheet "
        "show some. A model that is good on average can fail a group: see the analyses by group, and mind the groups "
        "that are too small to be scored. Shortcuts (support devices, projection, text on the film) can raise every "
        "figure here without any sign of disease being read.",
        "## Caveats and recommendations",
        "- Labels that a program read off reports carry its errors, and blank often means not mentioned; the figures "
        "measure agreement with those labels\n"
        "- One data set: expect lower figures and lost calibration elsewhere; calibrate and measure anew there\n"
        f"- The guide's success indicators: {results.evaluation['indicators']['met']} of "
        f"{results.evaluation['indicators']['of']} met; plots/report.html lists them\n"
        "- Do not choose between recipes by test figures: the comparison of two that differ by chance is won by one of "
        "them every time, and test is then no test any more",
    ]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, its first column to the left and the others to the right; cells lose their line breaks."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
