"""The whole evaluation on drawn outputs of the other stages: what it writes, and that only the models change it."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_json
from diagxnet.data.members import FIRST
from diagxnet.ensemble.calibration import not_learned, read_calibration, write_calibration
from diagxnet.reporting.curves import POINTS, write_curves
from diagxnet.reporting.evaluate import evaluate
from diagxnet.reporting.model_card import write_model_card
from diagxnet.reporting.page import join
from diagxnet.reporting.report import introduction
from diagxnet.reporting.sections import findings, parts
from diagxnet.reporting.sections.models import models_table
from diagxnet.reporting.sections.parts import parts_of
from diagxnet.reporting.sections.thresholds import confusion_counts
from diagxnet.reporting.wording import PROBE, REFERENCE, probe_text
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.comparison import (
    best_base,
    comparison,
    label,
    model_table,
    models_of,
    verdict,
    verdict_sentence,
)
from diagxnet.statistics.history import history_figures, indicators, training_metrics
from diagxnet.statistics.results import Results, measure
from diagxnet.statistics.scored import COMBINED, Scored, read_scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.subgroups import listed, subgroups
from diagxnet.statistics.summary import summary
from diagxnet.statistics.uncertainty import estimate, with_intervals
from tests.workspace import combination, make_material, make_scored, make_workspace

PARAMS = {
    "data": {"root": "data/demo", "image_size": 32, "crop": "guide"},
    "train": {"loss": "bce", "optimizer": "adamw"},
    "densenet": {"pretrained": False},
    "vit": {"pretrained": False},
    "stack": {"method": "holdout", "folds": 5},
    "meta": {"arch": "mlp", "hidden_dim": 8, "init": "average"},
}
SCORING = Scoring("image", bootstrap=60, min_positives=10, seed=0)
COUNTS = {"studies": 75, "dropped": 1, "not_learned": ()}
SUMMARY_ROWS = 40
MODELS = ("densenet", "vit", "average", "ensemble")
BYTES = 500_000


def run(root: Path, model_seed: int = 0, unit: str = "image", members: Sequence[str] = FIRST) -> Results:
    make_workspace(root, model_seed, members)
    return evaluate(
        data=root / "data",
        models=root / "models",
        metrics=root / "metrics",
        plots=root / "plots",
        params=PARAMS,
        scoring=replace(SCORING, unit=unit),
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    root = tmp_path_factory.mktemp("evaluated")
    return root, run(root)


def test_the_terminal_shows_each_model_with_its_interval(done):
    evaluation = done[1].evaluation
    lines = model_table(evaluation).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["DenseNet", "ViT", "Plain average", "Ensemble"]
    for line, model in zip(lines[1:], MODELS, strict=True):
        auroc = evaluation[model]["auroc"]
        assert f"{auroc['macro']:.3f} ({auroc['ci']['macro']['lower']:.3f} to" in line


MEMBERS = {"one": ("vit",), "five": (*FIRST, "convnext", "swin", "wide")}


@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
def test_metrics_plots_report_and_card_are_of_the_members_of_the_run(members, tmp_path):
    results = run(tmp_path, members=members)
    models, metrics, curves = (*members, *COMBINED), tmp_path / "metrics", tmp_path / "plots/data"
    evaluation = read_json(metrics / "evaluation.json")
    assert tuple(evaluation)[: len(models)] == models_of(evaluation) == models
    assert list(evaluation["histories"]) == [*members, "meta"]
    differences = {f"ensemble_minus_{name}" for name in ("best_base", "average", *members)}
    assert {name for name in evaluation["comparison"] if "_minus_" in name} == differences
    if len(members) == 1:
        assert evaluation["average"]["auroc"] == evaluation[members[0]]["auroc"]
    assert read_json(metrics / "more.json").keys() == set(members) - set(FIRST)
    assert (read_json(metrics / "densenet.json") == {}) == ("densenet" not in members)
    assert len(leaves(read_json(metrics / "summary.json"))) <= SUMMARY_ROWS
    assert list(read_json(tmp_path / "models/calibration.json")["models"]) == list(models)
    shown = {
        name: {row["model"]: None for row in read_json(curves / f"{name}.json")}
        for name in ("learning_curves", "auroc")
    }
    assert list(shown["learning_curves"]) == [label(name) for name in (*members, "meta")]
    assert list(shown["auroc"]) == [label(name) for name in models]
    roc = read_json(curves / "roc/edema.json")[0]
    assert tuple(roc)[1:] == models
    card = (tmp_path / "models/MODEL_CARD.md").read_text(encoding="utf-8")
    report = (tmp_path / "plots/report.html").read_text(encoding="utf-8")
    table = model_table(evaluation)
    for name in map(label, models):
        assert f"| {name} |" in card
        assert f"<td>{name}</td>" in report
        assert f"\n{name} " in table
    for name in {"densenet", "vit", "convnext", "swin", "wide"} - set(members):
        assert not re.search(rf"<t[dh]>{label(name)}</t[dh]>", report)
    rank = "the only base model" if len(members) == 1 else "the best base model on val"
    compared = evaluation["comparison"]
    assert f"{label(compared['best_base'])}, {rank}" in verdict_sentence(compared, "best_base")
    assert f"stacking ensemble of {label(members[0])} (`{members[0]}`" in card
    assert len(results.indicators) == 3 * (len(members) + 1) + len(members) + 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 15, 16])
def test_the_summary_has_as_many_rows_of_each_member_as_there_is_room_for(count):
    members = [f"member{number:02d}" for number in range(count)]
    figures = {"auroc": {"macro": 0.8, "chexpert5": 0.9}, "auprc": {"macro": 0.5}, "ece": {"macro": 0.1}}
    figures |= {"val": {"auroc": 0.7, "auprc": 0.4}}
    ahead = {"auroc": {"macro": {"difference": 0.1, "ci": {"lower": 0.0, "upper": 0.2}, "share_ahead": 1.0}}}
    evaluation = dict.fromkeys((*members, *COMBINED), figures)
    names = ("units", "patients", "findings_scored", "findings_flagged", "dropped_images")
    evaluation["counts"] = dict.fromkeys(names, 1)
    compared = {"ensemble_minus_best_base": ahead, "ensemble_minus_average": ahead, "findings_better": 3}
    evaluation |= {"comparison": compared, "combination": {"behind_on_val": 0}}
    rows = leaves(summary(evaluation, dict.fromkeys((*members, "stack_features", "meta"), 1.5)))
    assert len(rows) <= SUMMARY_ROWS
    assert len(rows) + count > SUMMARY_ROWS or count <= 2
    assert rows[".training_seconds.total"] == 1.5 * (count + 2)
    for member in members:
        own = [row for row in rows if member in row]
        assert len(own) == min(6, 13 // count)
        assert own[:2] == [f".val.{member}.auroc", f".val.{member}.auprc"][: len(own)]


def test_the_summary_and_the_terminal_open_with_val_and_of_the_ensemble_that_is_of_fits_without_the_patient(done):
    root, results = done
    rows = leaves(read_json(root / "metrics/summary.json"))
    assert list(rows)[:8] == [f".val.{model}.{name}" for model in MODELS for name in ("auroc", "auprc")]
    val = read_scored(root / "data", root / "models", "val", "image")
    known = [f for f in range(len(CHEXPERT)) if val.scorable()[f]]
    for m, model in enumerate(MODELS[:3]):
        for name, metric in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            own = [metric(val.targets[val.known(f), f], val.logits[m, val.known(f), f]) for f in known]
            assert rows[f".val.{model}.{name}"] == pytest.approx(np.mean(own))
    assert rows[".val.ensemble.auroc"] == pytest.approx(rows[".val.average.auroc"])  # as make_workspace drew them
    heading = model_table(results.evaluation).splitlines()[0]
    titles = ["macro", "val AUROC", "val AUPRC", "test AUROC (95% interval)", "test AUPRC (95% interval)"]
    assert re.split(r" {2,}", heading) == titles


def test_neither_card_nor_report_says_how_often_the_test_set_was_used(done):
    for path in ("models/MODEL_CARD.md", "plots/report.html"):
        text = " ".join((done[0] / path).read_text(encoding="utf-8").split())
        assert "used once" not in text
        assert "no program can know" in text
        assert "AUROC on val" in text


def leaves(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {name: leaf for key, child in value.items() for name, leaf in leaves(child, f"{prefix}.{key}").items()}


def written(root: Path) -> dict[str, bytes]:
    files = (path for folder in ("metrics", "models", "plots") for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_equal_inputs_give_equal_bytes(done, tmp_path):
    run(tmp_path)
    ours, theirs = written(done[0]), written(tmp_path)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_the_keys_of_the_metrics_depend_on_the_data_and_not_on_the_models(done, tmp_path):
    other = run(tmp_path, model_seed=7).evaluation
    ours, theirs = leaves(done[1].evaluation), leaves(other)
    assert ours.keys() == theirs.keys()
    assert ours != theirs
    assert leaves(summary(other, {})).keys() == leaves(summary(done[1].evaluation, {})).keys()


def test_every_metric_is_a_plain_finite_number_or_a_word(done):
    for name, value in leaves(read_json(done[0] / "metrics/evaluation.json")).items():
        assert isinstance(value, int | float | str) or value == {}, name
        assert isinstance(value, str | dict) or math.isfinite(value), name


def test_the_summary_has_at_most_forty_rows_of_numbers(done):
    rows = leaves(read_json(done[0] / "metrics/summary.json"))
    assert len(rows) <= SUMMARY_ROWS
    assert all(isinstance(value, int | float) for value in rows.values())
    assert rows[".training_seconds.total"] == 6.0


def test_a_finding_with_one_class_has_no_key_and_is_counted(done):
    evaluation = read_json(done[0] / "metrics/evaluation.json")
    for model in MODELS:
        for metric in ("auroc", "auprc", "brier", "ece"):
            assert "fracture" not in evaluation[model][metric]["per_finding"]
    assert evaluation["one_class"]["test"].keys() == {"fracture"}
    assert evaluation["one_class"]["test"]["fracture"]["positives"] == 0
    assert evaluation["one_class"]["val"].keys() == {"fracture", "pleural_other"}
    assert evaluation["counts"]["findings_scored"] == 13


def test_a_finding_that_was_not_learned_is_said_to_be_and_has_no_figure_probability_or_weight(done, tmp_path):
    edema = CHEXPERT.keys.index("edema")
    val, test = make_scored(seed=1), make_scored()
    for scored in (val, test):
        scored.mask[:, edema] = scored.targets[:, edema] = False
    counts = COUNTS | {"not_learned": ("edema",)}
    results = measure(val, test, done[1].histories, SCORING, left_out=val, **counts)
    results.evaluation["combination"] = parts_of(combination(FIRST), ("edema",))
    assert np.isnan(results.calibrated[:, :, edema]).all()
    assert not np.isnan(np.delete(results.calibrated, edema, axis=2)).any()
    assert results.evaluation["counts"]["findings_not_learned"] == 1
    assert "edema" not in results.evaluation["one_class"]["test"] | results.evaluation["one_class"]["val"]
    assert not [
        name
        for name in leaves(results.evaluation)
        if "edema" in name and name != ".findings.edema" and ".counts." not in name
    ]
    summary = read_json(done[0] / "data/prepared/summary.json") | {"not_learned": ["edema"]}
    summary["not_annotated"]["train"] = ["edema"]
    material = replace(make_material(results), data_summary=summary, params=PARAMS)
    configs = {name: {"arch": name, "pretrained": False} for name in FIRST}
    write_model_card(tmp_path / "card.md", material, configs)
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    said = "Not learned, for no image of train has a known label: Edema. Predictions leave them empty."
    assert said in card
    assert re.search(r"^\| Edema \| not annotated \| \d", card, re.M)
    assert said in str(introduction(material))
    assert said in str(findings.content(material, {}))
    assert "<td>Edema</td>" not in str(parts.content(material, {}))
    write_calibration(tmp_path / "calibration.json", results.calibration, "image", "vit")
    stored = read_json(tmp_path / "calibration.json")["models"]["vit"]["edema"]
    assert (stored["slope"], stored["intercept"], stored["thresholds"]) == (None, None, None)
    assert not_learned(read_calibration(tmp_path / "calibration.json")) == ("edema",)


def test_findings_with_few_positives_are_flagged(done):
    evaluation = read_json(done[0] / "metrics/evaluation.json")
    assert "lung_lesion" in evaluation["few"]
    assert evaluation["counts"]["findings_flagged"] == len(evaluation["few"])


def test_findings_with_few_of_one_class_are_in_no_mean_and_report_and_card_say_so(done):
    root, results = done
    evaluation = results.evaluation
    left = set(CHEXPERT.keys) - set(evaluation["few"]) - {"fracture"}
    assert evaluation["counts"]["findings_in_means"] == len(left) < evaluation["counts"]["findings_scored"]
    for name in ("auroc", "auprc", "brier", "ece"):
        own = evaluation["ensemble"][name]
        assert own["macro"] == pytest.approx(np.mean([own["per_finding"][key] for key in left])), name
    for path in ("plots/report.html", "models/MODEL_CARD.md"):
        text = (root / path).read_text(encoding="utf-8")
        said = r"left out of means and verdicts, with few positives or few negatives: Lung Lesion \(\d positive"
        assert re.search(said, text), path


def test_report_and_card_say_what_it_is_calibrated_to_and_how_far_that_holds(done):
    root, results = done
    own = results.evaluation["ensemble"]
    in_the_large, chance = own["calibration"]["in_the_large"], own["ece"]["if_calibrated"]
    for path in ("plots/report.html", "models/MODEL_CARD.md"):
        text = (root / path).read_text(encoding="utf-8").replace("&#x27;", "'")
        assert REFERENCE in text, path
        assert f"{in_the_large['macro']:.3f} ({in_the_large['ci']['macro']['lower']:.3f} to" in text, path
    assert f"{chance['macro']:.3f}</td>" in (root / "plots/report.html").read_text(encoding="utf-8")
    assert in_the_large["per_finding"].keys() == chance["per_finding"].keys() == own["auroc"]["per_finding"].keys()


def test_a_finding_without_threshold_has_auroc_and_no_sensitivity(done):
    ensemble = read_json(done[0] / "metrics/evaluation.json")["ensemble"]
    assert "pleural_other" in ensemble["auroc"]["per_finding"]
    assert "pleural_other" not in ensemble["youden"]["sensitivity"]["per_finding"]


def test_the_average_is_the_plain_mean_and_the_ensemble_the_meta_learner(done):
    test = done[1].test
    assert test.logits[2] == pytest.approx(test.logits[:2].mean(axis=0), abs=1e-6)
    assert not np.allclose(test.logits[3], test.logits[2])


def test_studies_are_scored_where_asked(done):
    root = done[0]
    images, studies = (read_scored(root / "data", root / "models", "test", unit) for unit in ("image", "study"))
    assert len(studies.names) == len(images.names) / 2
    assert studies.logits[:, 0] == pytest.approx(images.logits[:, :2].mean(axis=1))
    val = read_scored(root / "data", root / "models", "val", "study")
    by_study = measure(val, studies, done[1].histories, replace(SCORING, unit="study"), left_out=val, **COUNTS)
    assert by_study.evaluation["counts"]["units"] == by_study.evaluation["counts"]["studies"] == 75
    assert "studies of 75 patients" in confusion_counts(make_material(by_study)).axes[0].get_title(loc="left")
    write_calibration(root / "study.json", by_study.calibration, "study", "vit")
    assert read_json(root / "study.json")["unit"] == "study"


def test_unknown_age_and_sex_are_groups_of_their_own(done):
    groups = done[1].test.groups
    assert set(groups["sex"]) == {"female", "male", "unknown"}
    assert set(groups["age"]) == {"under_40", "40_to_59", "60_to_79", "80_and_over", "unknown"}
    assert set(groups["view"]) == {"frontal_ap", "frontal_pa", "lateral"}


def test_groups_too_small_are_named_and_not_scored(done):
    evaluation = done[1].evaluation
    assert "unknown" not in evaluation["ensemble"]["subgroups"]["sex"]
    assert evaluation["subgroups_too_small"]["sex"]["unknown"]["scored"] == 0
    assert "lung_lesion" in evaluation["subgroups_too_small"]["sex"]["female"]["findings"]


def test_a_subgroups_auroc_is_that_of_its_units():
    scored = make_scored(units=200)
    whole = estimate(scored, resamples=20, seed=0)
    draws = Draws.of(scored.patients, resamples=400, seed=0)
    scores, _ = subgroups(scored, whole, draws, min_positives=5)
    entry = scores["ensemble"]["sex"]["female"]
    female = estimate(scored.subset(scored.groups["sex"] == "female"), resamples=400, seed=0)["ensemble"]["auroc"]
    assert entry["auroc"]["per_finding"] == pytest.approx(female.values)
    for key, resampled in with_intervals(female)["ci"]["per_finding"].items():
        linear = entry["auroc"]["ci"]["per_finding"][key]
        assert linear == pytest.approx(resampled, abs=0.02)
    assert entry["everyone"] == pytest.approx(np.mean(list(whole["ensemble"]["auroc"].values.values())))
    own = scored.targets[scored.groups["sex"] == "female"]
    assert list(entry["positives"].values()) == own.sum(axis=0).tolist()
    assert list(entry["negatives"].values()) == (~own).sum(axis=0).tolist()


def _measured(val: Scored, test: Scored) -> Results:
    history = _history([0.8, 0.6], [0.85, 0.65])
    return measure(val, test, {"densenet": history, "vit": history, "meta": history}, SCORING, left_out=val, **COUNTS)


def test_a_single_patient_is_scored_and_every_interval_says_that_nothing_is_known():
    result = _measured(make_scored(units=40, seed=1), make_scored(units=40, patients=1)).evaluation
    for model in MODELS:
        assert result[model]["auroc"]["ci"]["macro"] == {"lower": 0.0, "upper": 1.0}
    assert result["comparison"]["ensemble_minus_best_base"]["verdict"] == "not distinguishable"
    assert result["comparison"]["ensemble_minus_best_base"]["auroc"]["macro"]["ci"] == {"lower": -1.0, "upper": 1.0}


def test_constant_scores_are_chance_throughout():
    val, test = (
        replace(scored, logits=np.zeros_like(scored.logits)) for scored in (make_scored(seed=1), make_scored())
    )
    result = _measured(val, test).evaluation
    for model in MODELS:
        assert set(result[model]["auroc"]["per_finding"].values()) == {0.5}
        assert result[model]["auprc"]["per_finding"] == pytest.approx(
            result[model]["auprc"]["prevalence"]["per_finding"]
        )
    assert result["comparison"]["ensemble_minus_average"]["verdict"] == "not distinguishable"
    assert result["comparison"]["findings_better"] == 0


def test_every_figure_of_a_finding_is_scikit_learns_at_the_thresholds_of_val():
    val, test = make_scored(seed=1), make_scored()
    results = _measured(val, test)
    for m, model in enumerate(MODELS):
        own = results.evaluation[model]
        for f, key in enumerate(CHEXPERT.keys):
            truth, score, probability = test.targets[:, f], test.logits[m, :, f], results.calibrated[m][:, f]
            assert own["auroc"]["per_finding"][key] == pytest.approx(roc_auc_score(truth, score))
            assert own["auprc"]["per_finding"][key] == pytest.approx(average_precision_score(truth, score))
            assert own["brier"]["per_finding"][key] == pytest.approx(brier_score_loss(truth, probability))
            for rule in ("youden", "specificity_90"):
                called = probability >= results.calibration[model][key].thresholds[rule]
                point = {name: own[rule][name]["per_finding"][key] for name in own[rule]}
                assert point["sensitivity"] == pytest.approx(recall_score(truth, called))
                assert point["specificity"] == pytest.approx(recall_score(~truth, ~called))
                assert point["precision"] == pytest.approx(precision_score(truth, called, zero_division=0))
                assert point["f1"] == pytest.approx(f1_score(truth, called, zero_division=0))


def test_test_labels_move_no_threshold_and_no_calibration():
    val, test = make_scored(seed=1), make_scored()
    flipped = replace(test, targets=~test.targets)
    assert _measured(val, test).calibration == _measured(val, flipped).calibration


def test_groups_are_listed_in_order_whether_scored_or_too_small(done):
    groups = [(attribute, group) for attribute, group, *_ in listed(done[1].evaluation, "ensemble")]
    assert groups == [
        ("sex", "female"), ("sex", "male"), ("sex", "unknown"), ("age", "under_40"), ("age", "40_to_59"),
        ("age", "60_to_79"), ("age", "80_and_over"), ("age", "unknown"), ("view", "frontal_ap"), ("view", "frontal_pa"),
        ("view", "lateral"),
    ]  # fmt: skip


def test_the_best_base_model_is_chosen_on_val_and_the_first_of_equals():
    for densenet, vit, best in ((0.7, 0.8, "vit"), (0.8, 0.8, "densenet")):
        on_val = {"densenet": {"auroc": densenet}, "vit": {"auroc": vit}, "ensemble": {"auroc": 0.9}}
        assert best_base(FIRST, on_val) == best
    assert best_base(FIRST, {"densenet": {}, "vit": {}}) == "densenet"


@pytest.mark.parametrize(
    ("lower", "upper", "word"), [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.01, "not distinguishable")]
)
def test_the_verdict_says_what_the_interval_says(lower, upper, word):
    difference = {"difference": (lower + upper) / 2, "ci": {"lower": lower, "upper": upper}, "share_ahead": 0.5}
    compared = {"best_base": "vit", "ensemble_minus_best_base": {"auroc": {"macro": difference}}}
    assert verdict(difference) == word
    assert word in verdict_sentence(compared, "best_base")
    assert "ViT" in verdict_sentence(compared, "best_base")


def test_an_ensemble_equal_to_the_average_is_not_distinguishable_from_it():
    scored = make_scored()
    scored.logits[3] = scored.logits[2]
    result = comparison(estimate(scored, resamples=50, seed=0), "densenet")
    assert result["ensemble_minus_average"]["verdict"] == "not distinguishable"
    assert result["ensemble_minus_average"]["auroc"]["macro"]["share_ahead"] == 0.0
    sentence = verdict_sentence(result, "average")
    assert sentence.endswith("base models, on this test set: the two rank alike in every resample.")
    assert "ahead in" in verdict_sentence(result, "best_base")


def test_a_finding_whose_auroc_differs_by_rounding_alone_is_not_ahead():
    scored = make_scored(units=7)
    scored.targets[:] = np.arange(7)[:, None] < 3
    scored.logits[0] = np.array([6.0, 5, 2, 1, 0, 3, 4])[:, None]
    scored.logits[3] = np.array([3.0, 6, 4, 1, 0, 5, 2])[:, None]  # the same share of pairs in another order
    result = comparison(estimate(scored, resamples=20, seed=0), "densenet")
    assert result["ensemble_minus_best_base"]["auroc"]["macro"]["difference"] == 0
    assert result["findings_ahead"] == 0


def _history(train: list[float], val: list[float]) -> dict:
    epochs = [{"epoch": e + 1, "train_loss": t, "val_loss": v} for e, (t, v) in enumerate(zip(train, val, strict=True))]
    return {"best_epoch": int(np.argmin(val)) + 1, "epochs": epochs}


def test_the_gap_is_val_minus_training_loss_at_the_best_epoch():
    own = history_figures(_history([0.8, 0.6, 0.3], [0.9, 0.7, 0.75]))
    assert own["gap"] == pytest.approx(0.1)
    assert own["falling_share"] == 1.0


def test_a_history_of_several_validations_an_epoch_is_read_by_the_passes_of_its_records():
    records = [(0.5, 0.65), (1, 0.6), (1.5, 0.7)]
    epochs = [{"epoch": epoch, "train_loss": 0.5, "val_loss": loss, "val_auroc": 0.7} for epoch, loss in records]
    history = {"best_epoch": 1, "epochs_run": 1.5, "epochs": epochs}
    for best, loss in records:
        figures = history_figures(history | {"best_epoch": best})
        assert (figures["best_epoch"], figures["best_val_loss"], figures["epochs_run"]) == (best, loss, 1.5)
        assert training_metrics(history | {"best_epoch": best})["best_val_loss"] == loss


def test_under_several_validations_an_epoch_training_losses_fall_from_epoch_to_epoch():
    """An epoch's loss is the mean of its parts', which weigh as much as they are long; from part to part half rise."""
    parts = [(0.75, 0.6), (1, 0.2), (1.75, 0.55), (2, 0.25), (2.5, 0.3)]
    epochs = [{"epoch": epoch, "train_loss": loss, "val_loss": 1.0} for epoch, loss in parts]
    figures = history_figures({"best_epoch": 1, "epochs": epochs})
    found = [figures[key] for key in ("first_train_loss", "last_train_loss", "falling_share")]
    assert found == pytest.approx([0.5, 0.3, 1.0])


def test_the_indicators_are_met_by_a_good_run_and_not_by_a_bad_one():
    ahead = {"auroc": {"macro": {"difference": 0.01}}}
    behind = {"auroc": {"macro": {"difference": 0.0}}}
    good = {
        "ensemble_minus_densenet": ahead,
        "ensemble_minus_vit": ahead,
        "findings_better": 10,
        "findings_ahead": 11,
        "findings_compared": 14,
    }
    bad = {
        "ensemble_minus_densenet": behind,
        "ensemble_minus_vit": behind,
        "findings_better": 9,
        "findings_ahead": 14,
        "findings_compared": 14,
    }
    falling = dict.fromkeys((*FIRST, "meta"), history_figures(_history([0.8, 0.6], [0.85, 0.65])))
    rising = dict.fromkeys((*FIRST, "meta"), history_figures(_history([0.6, 0.8], [0.75, 0.95])))
    assert all(row["met"] for row in indicators(falling, good))
    assert not any(row["met"] for row in indicators(rising, bad))


def test_test_without_any_scorable_finding_is_refused():
    scored = make_scored(units=10)
    nothing = replace(scored, targets=np.zeros_like(scored.targets))
    with pytest.raises(InputError, match="no finding has both"):
        measure(scored, nothing, {}, SCORING, left_out=scored, **COUNTS)


@pytest.mark.parametrize(("member", "stage"), [("vit", "train_vit"), ("convnext", "train@convnext")])
def test_a_missing_timing_file_names_the_stage_to_run_again(member, stage, tmp_path):
    make_workspace(tmp_path, members=(*FIRST, "convnext"))
    (tmp_path / f"metrics/timing/train_{member}.json").unlink()
    with pytest.raises(InputError, match=f"dvc repro -f {stage}"):
        evaluate(
            data=tmp_path / "data", models=tmp_path / "models", metrics=tmp_path / "metrics", plots=tmp_path / "plots",
            params=PARAMS, scoring=SCORING,
        )  # fmt: skip


def test_every_plot_file_is_a_small_list_of_flat_records_with_equal_keys(done):
    folder = done[0] / "plots/data"
    files = sorted(folder.rglob("*.json"))
    assert {file.relative_to(folder).parts[0] for file in files} == {
        "learning_curves.json", "auroc.json", "roc", "precision_recall", "reliability", "histogram", "confusion",
    }  # fmt: skip
    for file in files:
        records = read_json(file)
        assert records, file
        assert len({tuple(record) for record in records}) == 1
        assert all(isinstance(value, int | float | str) for record in records for value in record.values())
        assert file.stat().st_size < BYTES


def test_a_decimated_roc_has_the_area_of_the_whole(done):
    root, results = done
    for key, expected in results.evaluation["ensemble"]["auroc"]["per_finding"].items():
        records = read_json(root / f"plots/data/roc/{key}.json")
        rates = [record["false_positive_rate"] for record in records]
        area = np.trapezoid([record["ensemble"] for record in records], rates)
        assert area == pytest.approx(expected, abs=1 / POINTS)
        assert (records[0]["ensemble"], records[-1]["ensemble"]) == (0, 1)


def test_the_stairs_of_precision_and_recall_have_the_area_of_average_precision(done):
    root, results = done
    for key, expected in results.evaluation["ensemble"]["auprc"]["per_finding"].items():
        records = read_json(root / f"plots/data/precision_recall/{key}.json")
        area = np.trapezoid([record["ensemble"] for record in records], [record["recall"] for record in records])
        assert area == pytest.approx(expected, abs=1e-5)


def test_plot_files_of_findings_that_lost_a_class_are_removed(done, tmp_path):
    stale = tmp_path / "roc/fracture.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("[]", encoding="utf-8")
    write_curves(tmp_path, done[1])
    assert not stale.exists()
    assert (tmp_path / "roc/edema.json").exists()


def test_the_model_card_has_the_fields_of_mitchell_et_al(done):
    card = (done[0] / "models/MODEL_CARD.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", card, re.M)
    assert headings[:9] == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip
    fields = re.findall(r"^(?:- )?\*\*(.*?)\*\*", card, re.M)
    assert [field.rstrip(".") for field in fields] == [
        "Developed by", "Date and version", "Type", "Training algorithm", "Fairness constraints", "Resources",
        "Citation", "Licence", "Questions",
        "Primary uses", "Primary users", "Out of scope",
        "Relevant factors", "Evaluation factors",
        "Performance measures", "Decision thresholds", "Reference standards", "Variation",
        "Datasets", "Motivation", "Preprocessing",
        "Unitary results", "Intersectional results",
        "Data", "Human life", "Mitigations", "Risks and harms", "Use cases to avoid",
    ]  # fmt: skip
    value = read_json(done[0] / "metrics/evaluation.json")["ensemble"]["auroc"]["macro"]
    assert f"{value:.3f} (" in card
    assert "| sex: unknown | 2 | 1 | 0 | too small to be scored |  |" in card
    assert "Fracture (0 positive" in card


def test_calibration_json_holds_every_model_and_finding_in_order(done):
    content = read_json(done[0] / "models/calibration.json")
    assert content["findings"] == list(CHEXPERT.keys)
    assert list(content["models"]) == list(MODELS)
    assert all(list(findings) == list(CHEXPERT.keys) for findings in content["models"].values())
    assert content["models"]["ensemble"]["fracture"]["thresholds"] is None


def test_the_shortcut_probe_is_a_row_beside_the_models_and_a_column_of_the_findings(done):
    evaluation = done[1].evaluation
    assert PROBE not in models_of(evaluation)
    text = f"{models_table(evaluation, 'image')}{join(findings.content(make_material(done[1]), {}))}"
    own = evaluation["probe"]["shortcuts"]
    assert f"<td>{PROBE}</td><td></td><td></td><td>{own['auroc']['macro']:.3f} (" in text
    assert f"<th>{PROBE}</th>" in text
    for value in own["auroc"]["per_finding"].values():
        assert f"<td>{value:.3f}</td>" in text
    compared = evaluation["probe"]["ensemble_minus_shortcuts"]["auroc"]["per_finding"]
    words = [entry.get("verdict") for entry in compared.values()]
    sentence = probe_text(evaluation)
    assert f"It is better on {words.count('better')} of {len(words) - words.count(None)} findings" in sentence
    assert html.escape(sentence, quote=False) in (done[0] / "plots/report.html").read_text(encoding="utf-8")
