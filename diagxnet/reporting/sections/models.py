"""How good each model is, and whether the ensemble is better than its parts."""

from collections.abc import Mapping

from diagxnet.reporting.page import Html, element, table
from diagxnet.reporting.section import Material, Section
from diagxnet.reporting.wording import (
    ON_VAL,
    PROBE,
    ahead_text,
    difference_text,
    interval_text,
    means_text,
    probe_text,
)
from diagxnet.statistics.comparison import label, models_of, verdict, verdict_sentence


def models_table(evaluation: dict, unit: str) -> Html:
    """Macro figures of the models, a row each; evaluation: content of metrics/evaluation.json, where there are figures
    on val, or of another hospital's, where there are none."""
    on_val = ("AUROC", "AUPRC") if evaluation["ensemble"].get("val") else ()
    of_chexpert = "chexpert5_scored" in evaluation["counts"]
    header = ("Model", *(f"{name} on val" for name in on_val), "AUROC (95% interval)")
    header += (
        *(["Five findings"] if of_chexpert else []),
        "AUPRC (95% interval)",
        "Brier",
        "Sensitivity",
        "Specificity",
    )
    rows = []
    models = models_of(evaluation)
    for model in models:
        own = evaluation[model]
        five = (
            interval_text(own["auroc"], "chexpert5")
            if "chexpert5" in own["auroc"]
            else "none has enough of both classes"
        )
        sensitivity, specificity = (own["youden"][name].get("macro") for name in ("sensitivity", "specificity"))
        rows.append(
            (
                label(model),
                *(f"{own['val'][name.lower()]:.3f}" for name in on_val),
                interval_text(own["auroc"], "macro"),
                *([five] if of_chexpert else []),
                interval_text(own["auprc"], "macro"),
                f"{own['brier']['macro']:.3f}",
                "none" if sensitivity is None else f"{sensitivity:.3f}",
                "none" if specificity is None else f"{specificity:.3f}",
            )
        )
    if "probe" in evaluation:
        own = evaluation["probe"]["shortcuts"]
        means = ("macro", "chexpert5") if of_chexpert else ("macro",)
        cells = [interval_text(own["auroc"], mean) for mean in means]
        rows.append((PROBE, *("" for _ in on_val), *cells, interval_text(own["auprc"], "macro"), "", "", ""))
    prevalence = evaluation["ensemble"]["auprc"]["prevalence"]["macro"]
    caption = (
        f"{means_text(evaluation)} By {unit}, on test where val is not named. A model without skill has an AUPRC of "
        f"{prevalence:.3f} there. Sensitivity and specificity are those at Youden's threshold from val."
    )
    return table(header, rows, caption=caption, strong=[models.index("ensemble")])


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
                    cells = difference_text(own), ahead_text(own), verdict(own)
                    rows.append((f"Ensemble - {name}", called, over, *cells))
    header = ("Comparison", "Metric", "Mean of", "Difference (95% interval)", "Ahead in", "Verdict")
    caption = "Paired bootstrap over patients. The best base model was chosen on val."
    return [
        table(header, rows, caption=caption, text=[1, 2, 5]),
        element("p", verdict_sentence(comparison, "average")),
    ]


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    evaluation = material.results.evaluation
    note = [element("p", ON_VAL, class_="note")] if evaluation["ensemble"].get("val") else []
    probe = [element("p", probe_text(evaluation))] if "probe" in evaluation else []
    return [models_table(evaluation, material.results.unit), *note, *probe, *_comparisons(evaluation)]


SECTION = Section("Models", content)
