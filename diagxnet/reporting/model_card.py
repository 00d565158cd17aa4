"""models/MODEL_CARD.md, by the fields of Mitchell et al., "Model Cards for Model Reporting", FAT* 2019."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diagxnet.data.chexpert import five_of
from diagxnet.data.files import write_text
from diagxnet.data.members import GIVEN
from diagxnet.ensemble.calibration import SPECIFICITY, not_learned
from diagxnet.reporting.section import Material
from diagxnet.reporting.sections.parts import parts_text
from diagxnet.reporting.sections.subgroups import GROUP_HEADER, group_rows
from diagxnet.reporting.wording import (
    IN_THE_LARGE,
    ON_VAL,
    REFERENCE,
    RESEARCH_ONLY,
    SLOPE,
    counts_text,
    difference_text,
    flat,
    hierarchy_text,
    interval_text,
    means_text,
    not_learned_text,
    single_text,
    starred,
    verdicts_text,
)
from diagxnet.statistics.comparison import label, models_of, verdict_sentence
from diagxnet.statistics.results import Results

SOURCES = {
    "densenet": "DenseNet: Huang et al. 2017, arXiv:1608.06993",
    "vit": "ViT: Dosovitskiy et al. 2021, arXiv:2010.11929",
    "resnet": "ResNet: He et al. 2016, arXiv:1512.03385",
    "convnext": "ConvNeXt: Liu et al. 2022, arXiv:2201.03545",
    "swin": "Swin Transformer: Liu et al. 2021, arXiv:2103.14030",
    "efficientnet": "EfficientNet: Tan and Le 2019, arXiv:1905.11946",
}
"""By what the names of timm's architectures begin with; others have the source that timm's documentation gives."""


def write_model_card(path: Path, material: Material, configs: dict[str, dict]) -> None:
    """Writes the card. configs: config.json by member."""
    results, values = material.results, flat(material.params)
    sections = [
        f"# Model card: stacking ensemble for {_findings(results)} on chest radiographs",
        RESEARCH_ONLY,
        *_details(values, configs, results),
        *_use(results),
        *_factors(results),
        *_metrics(results),
        *_data(results, material.data_summary, values),
        *_analyses(results),
        *_considerations(results),
        "## Reference",
        "Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019, arXiv:1810.03993, whose fields these are.",
    ]
    write_text(path, "\n\n".join(sections) + "\n")


def _fields(title: str, fields: dict[str, str]) -> list[str]:
    """A section: its heading and its fields, each a line of a list that opens with the field's name."""
    return [f"## {title}", "\n".join(f"- **{name}**: {text}" for name, text in fields.items())]


def _details(values: dict[str, str], configs: dict[str, dict], results: Results) -> list[str]:
    unknown = not_learned(results.calibration)
    base = [
        f"{label(name)} (a table of predictions that others made, `{config[GIVEN]}`)"
        if GIVEN in config
        else f"{label(name)} (`{config['arch']}`{_published(config)}, pretrained: {flat(config)['pretrained']})"
        for name, config in configs.items()
    ]
    archs = [config["arch"] for config in configs.values() if GIVEN not in config]
    families = [family for family in SOURCES if any(arch.startswith(family) for arch in archs)]
    return _fields(
        "Model details",
        {
            "Developed by": "whoever ran this pipeline; a program cannot know it, so say it where this card is shared",
            "Date and version": "those of the commit whose dvc.lock lists these weights; none is in this file, so that "
            "equal runs give equal files",
            "Type": f"stacking ensemble of {listed_words(base)} on grey images of {values['data.image_size']} px; a "
            f"meta-learner (`{values['meta.arch']}`, hidden dimension {values['meta.hidden_dim']}) reads their "
            f"logits and gives one for each of {_findings(results)}, which calibration.json beside this file turns "
            f"into a probability and a call. {parts_text(results.evaluation['combination'])}"
            + (f" {not_learned_text(results.evaluation, unknown)}" if unknown else ""),
            "Training algorithm": f"{values['train.loss']} loss over known labels, {values['train.optimizer']}, early "
            "stopping on val; every hyperparameter is in params.yaml and in plots/report.html",
            "Fairness constraints": "none",
            "Resources": "".join(f"{SOURCES[family]}; " for family in families)
            + "stacking: Wolpert 1992"
            + ("; data and labels: Irvin et al. 2019, arXiv:1901.07031" if five_of(results.test.keys) else ""),
            "Citation": "the repository's address and the commit",
            "Licence": "MIT, the code; the weights also follow the terms of the data and of pretrained weights, where "
            "some were used",
            "Questions": "the issues of the repository",
        },
    )


def _published(config: dict) -> str:
    """Where an architecture with arguments of its own is from; nothing where timm's own is meant."""
    return f" as built in `{config['published']}`" if "published" in config else ""


def _findings(results: Results) -> str:
    """`14 findings`, `1 finding`."""
    count = len(results.test.findings)
    return f"{count} finding{'s' * (count != 1)}"


def listed_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _use(results: Results) -> list[str]:
    return _fields(
        "Intended use",
        {
            "Primary uses": "research into multi-label classification, stacking and calibration on chest radiographs, "
            "and comparison of training recipes on one data set",
            "Primary users": "researchers and machine learning engineers",
            "Out of scope": "diagnosis, triage or any decision about a patient; children; modalities other than "
            "radiography of the chest; findings beyond these; reading a high probability as a location or a "
            "cause",
        },
    )


def _factors(results: Results) -> list[str]:
    counts = results.evaluation["few"]
    flagged = (
        f". Few of one class on test, so take these as rough: {counts_text(results.evaluation, counts)}"
        if counts
        else ""
    )
    return _fields(
        "Factors",
        {
            "Relevant factors": "age, sex, ethnicity; projection and position; scanner and site; support devices in "
            "the image; severity of disease, and whether a patient was in hospital",
            "Evaluation factors": f"{_attributes(results)}, which the tables hold. The others are not known, and so "
            f"not evaluated{flagged}",
        },
    )


def _metrics(results: Results) -> list[str]:
    return _fields(
        "Metrics",
        {
            "Performance measures": "AUROC and AUPRC (average precision; its chance level is the prevalence) for "
            "ranking; Brier score, calibration in the large and calibration slope for probabilities; "
            f"sensitivity, specificity, precision and F1 for calls. The unit is the {results.unit}",
            "Decision thresholds": "fixed on val for each finding: Youden's J, and the highest sensitivity at "
            f"{SPECIFICITY:.0%} specificity",
            "Reference standards": REFERENCE,
            "Variation": "95% intervals by bootstrap over patients, paired for differences. They are of one training: "
            "another seed gives other weights",
        },
    )


def _data(results: Results, data_summary: Mapping[str, Any], values: dict[str, str]) -> list[str]:
    splits = data_summary["splits"]
    sizes = markdown_table(
        ("Split", "Images", "Studies", "Patients"),
        ((name, *(f"{own[what]:,}" for what in ("images", "studies", "patients"))) for name, own in splits.items()),
    )
    names = results.test.findings.titles
    rules = ", ".join(f"{names[key]}: {rule}" for key, rule in data_summary["rules"]["uncertain"].items())
    labels = markdown_table(
        ("Finding", *(f"{name}: positive / known" for name in splits)),
        (
            (
                names[key],
                *(
                    _positive_of_known(own["findings"][key]["images"], data_summary["rules"]["blank"])
                    if key not in data_summary["not_annotated"][name]
                    else "not annotated"
                    for name, own in splits.items()
                ),
            )
            for key in names
        ),
    )
    root = values["data.root"]
    source = "drawn radiographs, not of patients" if root == "data/demo" else f"`{root}`"
    one_class = {name: results.evaluation["one_class"][name] for name in ("val", "test")}
    notes = [
        f". One class only on {name}: {counts_text(results.evaluation, counts)}"
        for name, counts in one_class.items()
        if counts
    ]
    return [
        *_fields(
            "Evaluation data",
            {
                "Datasets": f"{source}, the test split: the table of data.test, or `valid.csv`, where there "
                f"is one, else a share of patients{''.join(notes)}",
                "Motivation": "patients of the same source whom no training, stopping, threshold or calibration has "
                "seen. How often runs were compared by its figures, no program can know; those on val are there to "
                "choose by",
                "Preprocessing": f"decoded to grey, resized to {values['data.image_size']} px (crop: "
                f"{values['data.crop']}), normalised as models/*/config.json says; no augmentation. Uncertain labels "
                "are masked. Views: "
                f"{data_summary['rules']['views']}. Images left out because they could not be read: "
                f"{data_summary['dropped']['images']:,}",
            },
        ),
        "## Training data",
        f"Split by patient: no patient is in two splits. {_learning(values)}; thresholds and calibration are fitted on "
        "val.",
        sizes,
        f"Label rules: blank is {data_summary['rules']['blank']}, but masked where a finding is blank in all of its "
        f"table; uncertain in train and stack by finding ({rules}); uncertain in val and test is masked."
        + hierarchy_text(data_summary["rules"], names),
        labels,
    ]


def _learning(values: dict[str, object]) -> str:
    """Which model learns from what; values: params by dotted key."""
    if values["stack.method"] == "holdout":
        return (
            "Base models learn on train and stop on val; the members' weights are fitted to stack and val, the "
            "network learns on stack and stops on val, and val tells how much of it counts"
        )
    return (
        f"Crossfit over {values['stack.folds']} folds of the patients of train and stack (Wolpert 1992): so many base "
        "models of each kind, each trained without a fold and stopped on val; the members' weights are fitted to val; "
        "the network learns from the logits that each gives its own fold and stops on val, which tells how much of it "
        "counts; predictions are the mean over the folds"
    )


def _positive_of_known(counts: dict[str, int], blank: str) -> str:
    known = counts["positive"] + counts["negative"] + (counts["blank"] if blank == "negative" else 0)
    return f"{counts['positive']:,} / {known:,}"


def _analyses(results: Results) -> list[str]:
    evaluation = results.evaluation
    on_val = ("AUROC", "AUPRC") if evaluation["ensemble"]["val"] else ()
    on_test = ("AUROC (95% interval)", "AUPRC (95% interval)", "Brier", IN_THE_LARGE, SLOPE)
    whole = markdown_table(
        ("Model", *(f"{name} on val" for name in on_val), *on_test),
        (
            (
                label(model),
                *(f"{evaluation[model]['val'][name.lower()]:.3f}" for name in on_val),
                interval_text(evaluation[model]["auroc"], "macro"),
                interval_text(evaluation[model]["auprc"], "macro"),
                f"{evaluation[model]['brier']['macro']:.3f}",
                interval_text(evaluation[model]["calibration"]["in_the_large"], "macro"),
                interval_text(evaluation[model]["calibration"]["slope"], "macro"),
            )
            for model in models_of(evaluation)
        ),
    )
    return [
        "## Quantitative analyses",
        f"**Unitary results.** On {evaluation['counts']['units']:,} "
        f"{'studies' if results.unit == 'study' else 'images'} of {evaluation['counts']['patients']:,} patients of "
        f"test, but for the figures on val. {means_text(evaluation)} {ON_VAL}",
        whole,
        verdict_sentence(evaluation["comparison"], "best_base"),
        verdict_sentence(evaluation["comparison"], "average"),
        "### By finding (ensemble)",
        _by_finding(results) + ("\n\n\\* few of one class: take its figures as rough." if evaluation["few"] else ""),
        verdicts_text(
            "The ensemble",
            label(evaluation["comparison"]["best_base"]),
            evaluation["comparison"]["ensemble_minus_best_base"]["auroc"]["per_finding"],
        ),
        "### By group (ensemble)",
        markdown_table(GROUP_HEADER, group_rows(evaluation)),
        f"**Intersectional results.** Not computed: {_attributes(results)} are looked at one at a time.",
    ]


def _attributes(results: Results) -> str:
    """What the units of test are grouped by, in words."""
    *names, last = results.test.groups
    return f"{', '.join(names)} and {last}"


def _by_finding(results: Results) -> str:
    evaluation = results.evaluation
    own = evaluation["ensemble"]
    best = evaluation["comparison"]["ensemble_minus_best_base"]["auroc"]["per_finding"]

    def point(name: str, key: str) -> str:
        value = own["youden"][name]["per_finding"].get(key)
        return "none" if value is None else f"{value:.3f}"

    rows = []
    for key, value in own["auroc"]["per_finding"].items():
        cuts = results.calibration["ensemble"][key].thresholds
        interval = own["auroc"]["ci"]["per_finding"][key]
        rows.append(
            (
                starred(evaluation, key),
                f"{own['auprc']['prevalence']['per_finding'][key]:.3f}",
                f"{value:.3f} ({interval['lower']:.3f} to {interval['upper']:.3f})",
                difference_text(best[key]),
                f"{own['auprc']['per_finding'][key]:.3f}",
                *(single_text(own["calibration"][name], key) for name in ("in_the_large", "slope")),
                "none" if cuts is None else f"{cuts['youden']:.3f}",
                *(point(name, key) for name in ("sensitivity", "specificity", "precision", "f1")),
            )
        )
    header = (
        "Finding",
        "Prevalence",
        "AUROC (95% interval)",
        "Ensemble - best base model",
        "AUPRC",
        IN_THE_LARGE,
        SLOPE,
    )
    calls = ("Threshold (Youden)", "Sensitivity", "Specificity", "Precision", "F1")
    return markdown_table((*header, *calls), rows)


def _considerations(results: Results) -> list[str]:
    return [
        *_fields(
            "Ethical considerations",
            {
                "Data": "radiographs of people, where the data set is not the drawn one; where its terms forbid "
                "sharing images, do not share plots/: the report and the contact sheet show some",
                "Human life": "not meant to inform decisions about a patient",
                "Mitigations": "splits by patient, a test set that no fit has seen, figures on val to choose by, "
                "calibration, intervals, and analyses by group",
                "Risks and harms": "a model that is good on average can fail a group: see the analyses by group, and "
                "mind those too small to be scored. Shortcuts (support devices, projection, text on the film) can "
                "raise every figure here without any sign of disease being read",
                "Use cases to avoid": "automatic exclusion of disease, ranking of patients or of readers, and use on "
                "patients unlike those of the data",
            },
        ),
        "## Caveats and recommendations",
        "- Labels that a program read off reports carry its errors, and blank often means not mentioned; the figures "
        "measure agreement with those labels\n"
        "- One data set: expect lower figures and lost calibration elsewhere; calibrate and measure anew there\n"
        f"- The guide's success indicators: {results.evaluation['indicators']['met']} of "
        f"{results.evaluation['indicators']['of']} met; plots/report.html lists them\n"
        "- Choose between recipes by the figures on val, never by those on test: the comparison of two that differ by "
        "chance is won by one of them every time, and test is then no test any more",
    ]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, its first column to the left and the others to the right; cells lose their line breaks."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
