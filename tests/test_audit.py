"""The audit passes a run whose files fit one another, and names what does not in a run with a planted fault."""

import copy
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from diagxnet.audit.checks import CHECKS, audit
from diagxnet.audit.claims import Claims, Pipeline
from diagxnet.audit.recomputed import average_precision, calibration_error, mann_whitney, squared_distance
from diagxnet.audit.run import read_claims
from diagxnet.console.errors import InputError
from diagxnet.data.files import read_arrays, read_json, write_arrays, write_json
from diagxnet.data.packed import DUPLICATE_COLUMNS
from diagxnet.ensemble.calibration import FindingCalibration, not_learned
from diagxnet.reporting.evaluate import evaluate
from diagxnet.statistics.calibrating import fit_calibration
from diagxnet.statistics.metrics import ece
from diagxnet.statistics.scored import read_scored
from diagxnet.statistics.scoring import Scoring
from stages import audit as stage
from stages.recorded import read_lock
from tests.audited import MIN_POSITIVES, NETWORKS, Run, make_base, make_run
from tests.workspace import make_workspace


def audited(run: Run, unit: str = "image") -> list[str]:
    options = {
        "tables": run.root / "release",
        "named": {"path": "Path", "patient": None, "study": None},
        "unit": unit,
        "min_positives": MIN_POSITIVES,
    }
    return audit(*run.folders, run.claims, run.pipeline, **options, precision="fp32")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A copy to plant a fault in."""
    shutil.copytree(finished.root, tmp_path / "run", ignore=shutil.ignore_patterns("release", "work"))
    return Run(tmp_path / "run", copy.deepcopy(finished.claims), finished.pipeline)


def test_a_run_whose_files_fit_passes_every_check_and_logits_are_equal_to_rounding(finished):
    lines = audited(finished)
    assert [line.split(":")[0] for line in lines] == list(CHECKS)
    logits = next(line for line in lines if line.startswith("logits"))
    assert float(logits.split("difference ")[1].split()[0]) < 1e-5


def check_alone(name: str, run: Run) -> None:
    """Runs one check, so that a fault planted for it costs no more time than that."""
    with patch.dict(CHECKS, {name: CHECKS[name]}, clear=True):
        audited(run)


def test_the_first_check_that_fails_is_named_in_one_line(run):
    one_split_of_other_logits(run)
    run.claims.evaluation["ensemble"]["auroc"]["macro"] += 0.01
    with pytest.raises(InputError) as raised:
        audited(run)
    assert str(raised.value).startswith("this run fails its audit: logits: logits_stack.npz: those of densenet differ")
    assert "\n" not in str(raised.value)


def test_a_run_of_crossfit_by_study_passes_and_logits_of_a_fold_that_learned_from_their_patients_do_not(tmp_path):
    run = make_run(tmp_path, folds=2, seeds=2, unit="study", views=2)
    assert len(audited(run, "study")) == len(CHECKS)
    first, second = (run.root / f"models/densenet/fold{fold}" for fold in (1, 2))
    first.rename(run.root / "first")
    second.rename(first)
    (run.root / "first").rename(second)
    with pytest.raises(InputError, match=r"logits: logits_stack\.npz: those of densenet differ"):
        check_alone("logits", run)


def edit_table(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    edit(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def edit_arrays(path: Path, **changes: Callable[[np.ndarray], np.ndarray]) -> None:
    arrays = read_arrays(path)
    write_arrays(path, **arrays | {name: change(arrays[name]) for name, change in changes.items()})


def edit_json(path: Path, *keys: str, add: int) -> None:
    content = read_json(path)
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] += add
    write_json(path, content)


def one_patient_in_two_splits(run: Run) -> None:
    def edit(manifest: pd.DataFrame) -> pd.DataFrame:
        train, test = (manifest.index[manifest["split"] == split][0] for split in ("train", "test"))
        manifest.loc[test, "patient"] = manifest.loc[train, "patient"]
        return manifest

    edit_table(run.root / "data/prepared/manifest.csv", edit)


def labels_of_other_images(run: Run) -> None:
    edit_arrays(run.root / "data/prepared/labels_train.npz", rows=lambda rows: rows + 1)


def one_patient_in_two_folds(run: Run) -> None:
    manifest = pd.read_csv(run.root / "data/prepared/manifest.csv")
    owners = manifest.set_index("row")["patient"]
    rows = read_arrays(run.root / "data/prepared/folds.npz")["rows"]
    twice = np.flatnonzero(owners[rows].duplicated(keep=False))[0]
    edit_arrays(
        run.root / "data/prepared/folds.npz", draws=lambda draws: np.where(np.arange(len(draws)) == twice, 0.5, draws)
    )


def other_weights(run: Run) -> None:
    make_base(run.root / "models/vit", NETWORKS["vit"], seed=8)


def one_split_of_other_logits(run: Run) -> None:
    edit_arrays(run.root / "data/stacked/logits_stack.npz", densenet=lambda logits: logits + np.float32(0.2))


def logits_that_are_no_numbers(run: Run) -> None:
    edit_arrays(run.root / "data/stacked/logits_val.npz", vit=lambda logits: logits * np.nan)


def other_test_labels(run: Run) -> None:
    edit_arrays(run.root / "data/prepared/labels_test.npz", targets=lambda targets: np.roll(targets, 1, axis=0))


def logits_in_another_order(run: Run) -> None:
    edit_arrays(run.root / "data/stacked/logits_test.npz", rows=lambda rows: rows[::-1])


def an_image_that_is_not_packed(run: Run) -> None:
    edit_table(run.root / "data/packed/index.csv", lambda index: index[:-1])


def two_images_swapped(run: Run) -> None:
    def edit(index: pd.DataFrame) -> pd.DataFrame:
        index.loc[[0, 1], "path"] = index.loc[[1, 0], "path"].to_numpy()
        return index

    edit_table(run.root / "data/packed/index.csv", edit)


def a_dropped_image_that_is_forgotten(run: Run) -> None:
    edit_table(run.root / "data/packed/dropped.csv", lambda dropped: dropped[:0])


def a_split_that_lost_a_patient(run: Run) -> None:
    edit_json(run.root / "data/prepared/summary.json", "splits", "stack", "patients", add=1)


def one_film_on_two_sides(run: Run) -> None:
    manifest = pd.read_csv(run.root / "data/prepared/manifest.csv", dtype=str)
    pair = [manifest["path"][manifest["split"] == split].iloc[0] for split in ("train", "test")]
    row = pd.DataFrame([["train", pair[0], "valid", pair[1], 3, 0.9]], columns=DUPLICATE_COLUMNS)
    edit_table(run.root / "data/packed/duplicates.csv", lambda _: row)


def one_film_in_two_folds(run: Run) -> None:
    manifest = pd.read_csv(run.root / "data/prepared/manifest.csv", dtype=str)
    pair = manifest[manifest["split"] == "train"].drop_duplicates("patient")["path"].iloc[:2]
    row = pd.DataFrame([["train", pair.iloc[0], "train", pair.iloc[1], 3, 0.9]], columns=DUPLICATE_COLUMNS)
    edit_table(run.root / "data/packed/duplicates.csv", lambda _: row)


def an_image_of_the_test_table_in_train(run: Run) -> None:
    manifest = pd.read_csv(run.root / "data/prepared/manifest.csv", dtype=str)
    row = int(manifest["row"][manifest["split"] == "train"].iloc[0])

    def edit(index: pd.DataFrame) -> pd.DataFrame:
        index.loc[row, "table"] = "valid"
        return index

    edit_table(run.root / "data/packed/index.csv", edit)


FAULTS = [
    (one_film_on_two_sides, r"patients: .*jpg and .*jpg are one film, and in train and test"),
    (one_film_in_two_folds, r"patients: .*jpg and .*jpg are one film, and in two folds of train"),
    (an_image_of_the_test_table_in_train, r"test labels: images of train.csv are in test"),
    (one_patient_in_two_splits, r"patients: manifest.csv has 1 in two splits, patient\d+ first, in test and train"),
    (labels_of_other_images, r"patients: labels_train.npz holds other images than manifest.csv has in train"),
    (one_patient_in_two_folds, r"patients: folds.npz has images of one patient in two folds"),
    (other_weights, r"logits: logits_stack.npz: those of vit differ by up to [\d.]+ from what models/vit gives"),
    (one_split_of_other_logits, r"logits: logits_stack.npz: those of densenet differ by up to 0\.2"),
    (logits_that_are_no_numbers, r"logits: logits_val.npz: those of vit differ by up to \d"),
    (other_test_labels, r"metrics: evaluation.json: [\d,]+ of [\d,]+ figures are not those of the stored logits"),
    (logits_in_another_order, r"metrics: logits_test.npz, labels_test.npz and manifest.csv are not of the same"),
    (an_image_that_is_not_packed, r"counts: index.csv has \d+ rows, images.npy \d+ images"),
    (two_images_swapped, r"counts: manifest.csv and index.csv have other images in \d rows, row \d first"),
    (a_dropped_image_that_is_forgotten, r"counts: the tables have \d+ images, \d+ are packed and 0 dropped"),
    (a_split_that_lost_a_patient, r"counts: stack has .* in manifest.csv, .* in summary.json"),
]


@pytest.mark.parametrize(("plant", "message"), FAULTS, ids=[plant.__name__ for plant, _ in FAULTS])
def test_a_fault_in_a_file_is_named(run, plant, message):
    plant(run)
    with pytest.raises(InputError, match=message):
        check_alone(message.split(":")[0], run)


CLAIMS = [
    (
        "evaluation",
        "ensemble.auroc.per_finding.edema",
        r"metrics: evaluation\.json: 1 of .* figures .*\.edema first: .* instead of",
    ),
    ("evaluation", "vit.auprc.macro", r"metrics: evaluation.json: 1 of .*, vit\.auprc\.macro first"),
    ("evaluation", "average.brier.chexpert5", r"metrics: .* average\.brier\.chexpert5 first"),
    ("evaluation", "densenet.ece.uncalibrated.macro", r"metrics: .* densenet\.ece\.uncalibrated\.macro first"),
    ("evaluation", "ensemble.youden.sensitivity.macro", r"metrics: .* ensemble\.youden\.sensitivity\.macro first"),
    ("evaluation", "ensemble.val.auroc", r"metrics: .* ensemble\.val\.auroc first"),
    ("evaluation", "ensemble.subgroups.sex.female.auroc.macro", r"metrics: .* ensemble\.subgroups\.sex\.female\.auroc"),
    ("evaluation", "ensemble.subgroups.sex.male.sensitivity.macro", r"metrics: .*subgroups\.sex\.male\.sens"),
    (
        "evaluation",
        "ensemble.subgroups.sex.male.minus_rest.auroc.macro.difference",
        r"metrics: .*male\.minus_rest",
    ),
    ("evaluation", "comparison.findings_better", r"metrics: .* comparison\.findings_better first"),
    ("evaluation", "comparison.findings_ahead", r"metrics: .* comparison\.findings_ahead first"),
    (
        "evaluation",
        "comparison.ensemble_minus_vit.auroc.macro.difference",
        r"metrics: .* comparison\.ensemble_minus_vit",
    ),
    (
        "evaluation",
        "comparison.ensemble_minus_best_base.auprc.per_finding.edema.difference",
        r"metrics: .* comparison\.",
    ),
    ("evaluation", "vit.auprc.prevalence.macro", r"metrics: .* vit\.auprc\.prevalence\.macro first"),
    ("evaluation", "counts.positives.edema", r"metrics: .* counts\.positives\.edema first"),
    ("evaluation", "counts.studies", r"counts: evaluation.json counts \d+ studies, test has \d+"),
    ("evaluation", "ensemble.auroc.ci.per_finding.edema.lower", "metrics: evaluation.json: 1 intervals do not hold"),
    ("summary", "test.ensemble.auroc", r"summary: summary.json: test\.ensemble\.auroc is .*, evaluation.json has"),
    ("summary", "counts.dropped_images", r"summary: summary.json: counts\.dropped_images is 2, evaluation.json has 1"),
    ("trainings", "vit.val_auroc", r"summary: vit.json: not the best epoch of models/vit/training_history.json"),
    ("trainings", "vit.best_epoch", r"summary: vit.json: not the best epoch of models/vit/training_history.json"),
]


@pytest.mark.parametrize(("part", "key", "message"), CLAIMS, ids=[key for _, key, _ in CLAIMS])
def test_a_figure_that_is_not_what_the_files_give_is_named(run, part, key, message):
    *path, last = key.split(".")
    place = getattr(run.claims, part)
    for each in path:
        place = place[each]
    place[last] += 1
    with pytest.raises(InputError, match=message):
        check_alone(message.split(":")[0], run)


def test_of_a_mean_that_is_kept_the_figures_are_its_own_and_the_best_epoch_is_the_historys(run):
    path, claim = run.root / "models/vit/training_history.json", run.claims.trainings["vit"]
    average = {"epochs": [2, 1], "val_loss": 0.3, "val_auroc": 0.9, "kept": True}
    write_json(path, read_json(path) | {"average": average})
    claim |= {"best_val_loss": 0.3, "val_auroc": 0.9}
    check_alone("summary", run)
    claim["best_epoch"] = 1
    with pytest.raises(InputError, match=r"summary: vit.json: not the best epoch"):
        check_alone("summary", run)


def test_a_finding_without_a_label_in_train_that_claims_a_calibration_is_named(run):
    assert set(not_learned(run.claims.calibration)) == {"no_finding", "fracture", "support_devices"}
    run.claims.calibration["vit"]["fracture"] = run.claims.calibration["vit"]["edema"]
    with pytest.raises(InputError, match=r"calibration: calibration.json: val gives others for 1, vit\.fracture first"):
        check_alone("calibration", run)


def test_figures_on_val_that_are_not_of_fits_without_the_patient_are_named(run):
    stored = read_arrays(run.root / "data/ensemble_val.npz")
    write_arrays(run.root / "data/ensemble_val.npz", rows=stored["rows"], logits=-stored["logits"])
    with pytest.raises(InputError, match=r"metrics: evaluation.json: 2 of .*, ensemble\.val\.auroc first"):
        check_alone("metrics", run)
    write_arrays(run.root / "data/ensemble_val.npz", rows=stored["rows"] + 1, logits=stored["logits"])
    with pytest.raises(InputError, match=r"metrics: ensemble_val.npz and manifest.csv are not of the same images"):
        check_alone("metrics", run)


def test_a_figure_of_a_finding_that_cannot_be_scored_is_named(run):
    run.claims.evaluation["vit"]["auroc"]["per_finding"]["support_devices"] = 0.9
    with pytest.raises(
        InputError, match=r"1 of .*vit\.auroc\.per_finding\.support_devices first: 0\.9 instead of None"
    ):
        check_alone("metrics", run)


def test_a_metric_that_the_audit_does_not_compute_is_said_to_be_unchecked(run):
    run.claims.evaluation["vit"]["log_loss"] = {"macro": 0.4, "per_finding": {"edema": 0.4}}
    with patch.dict(CHECKS, {"metrics": CHECKS["metrics"]}, clear=True):
        (line,) = audited(run)
    _, lacking = line.split("; not computed again, as audit/recomputed.py lacks them: ")
    assert lacking == (
        "calibration.in_the_large, calibration.slope, ece.if_calibrated, log_loss, subgroups.*.in_the_large"
    )


def test_calibration_and_thresholds_that_saw_the_test_labels_are_named(run):
    on_test = fit_calibration(read_scored(*run.folders, "test", "image"), MIN_POSITIVES)
    with pytest.raises(InputError, match=r"calibration: calibration.json: val gives others for \d+, densenet"):
        check_alone("calibration", replace(run, claims=replace(run.claims, calibration=on_test)))


def test_one_threshold_moved_by_a_hair_is_named(run):
    own = run.claims.calibration["ensemble"]["edema"]
    moved = vars(own) | {"thresholds": own.thresholds | {"youden": own.thresholds["youden"] + 1e-6}}
    run.claims.calibration["ensemble"]["edema"] = FindingCalibration(**moved)
    with pytest.raises(
        InputError, match=r"calibration: calibration.json: val gives others for 1, ensemble\.edema first"
    ):
        check_alone("calibration", run)


@pytest.mark.parametrize("path", ["data/prepared/labels_test.npz", "data/prepared", "data/prepared/", "data"])
def test_a_stage_that_depends_on_the_test_labels_is_named(finished, path):
    reads = dict(finished.pipeline.reads) | {"train_meta": {path}}
    with pytest.raises(
        InputError, match=r"test labels: .* must be a dependency of evaluate alone, .* evaluate, train_meta"
    ):
        check_alone("test labels", replace(finished, pipeline=Pipeline(reads, ())))


def test_files_that_are_not_those_recorded_are_named(finished):
    changed = replace(finished.pipeline, changed={"models/vit", "data/stacked"})
    with pytest.raises(InputError, match=r"recorded: data/stacked, models/vit: not what the run recorded in dvc.lock"):
        check_alone("recorded", replace(finished, pipeline=changed))


def test_an_unfinished_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"evaluation\.json: no such file: the run is not finished"):
        read_claims(tmp_path / "metrics", tmp_path / "models")


DAMAGED = [
    ("data/prepared/manifest.csv", b"", r"patients: .*manifest\.csv: is damaged: No columns"),
    ("data/prepared/manifest.csv", b"row,path\n0,a\n", "patients: .*patient"),
    ("data/prepared/labels_val.npz", b"PK\x03\x04cut", r"patients: .*labels_val\.npz: is damaged: "),
    ("data/prepared/folds.npz", b"", r"patients: .*folds\.npz: is damaged: "),
    ("data/packed/index.csv", None, r"counts: .*index\.csv"),
    ("data/packed/images.npy", b"cut", r"counts: .*images\.npy: is damaged: "),
    ("data/stacked/logits_val.npz", b"cut", r"logits: .*logits_val\.npz: is damaged: "),
    ("models/vit/training_history.json", b"{}", r"summary: .*training_history\.json: is damaged: lacks 'epochs'"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGED)
def test_a_damaged_or_missing_file_fails_the_audit_in_one_line_that_names_it(run, name, content, message):
    (run.root / name).unlink()
    if content is not None:
        (run.root / name).write_bytes(content)
    with pytest.raises(InputError, match=f"this run fails its audit: {message}") as raised:
        check_alone(message.split(":")[0], run)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["[]", "stages: 3", "stages: {evaluate: {outs: [{path: plots}]}}"])
def test_a_lock_file_that_dvc_did_not_write_so_is_one_line(tmp_path, content):
    (tmp_path / "dvc.lock").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"dvc\.lock"):
        read_lock(tmp_path / "dvc.lock")


def test_what_a_stage_reads_elsewhere_has_no_hash_here(tmp_path):
    (tmp_path / "dvc.lock").write_text(
        "stages: {mine: {deps: [{path: 's3://films/a', etag: b}, {path: a, md5: c}]}}", encoding="utf-8"
    )
    assert read_lock(tmp_path / "dvc.lock") == {"mine": {"a": "c"}}


def test_what_the_run_recorded_is_checked_before_any_file_is_read(run):
    (run.root / "data/prepared/manifest.csv").unlink()
    with pytest.raises(InputError, match=r"audit: recorded: data/prepared"):
        audited(replace(run, pipeline=replace(run.pipeline, changed={"data/prepared"})))


@pytest.mark.parametrize("name", ["metrics/evaluation.json", "metrics/vit.json", "models/calibration.json"])
@pytest.mark.parametrize("content", [b'{"cut": ', b"\xff", b"[]"])
def test_damaged_claims_are_named_in_one_line(run, name, content):
    (run.root / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: is damaged: ") as raised:
        read_claims(run.root / "metrics", run.root / "models")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("images", ["0", "-1"])
def test_an_audit_of_no_logits_is_a_usage_error(images, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["audit", "--images", images])
    with pytest.raises(SystemExit, match="2"):
        stage.main()
    assert "--images: must be 1 or more" in capsys.readouterr().err


def test_a_run_of_one_member_passes(tmp_path):
    assert len(audited(make_run(tmp_path, networks={"densenet": NETWORKS["densenet"]}))) == len(CHECKS)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("three"), networks=NETWORKS | {"wide": NETWORKS["densenet"]})


def test_a_run_of_three_members_passes_and_the_logits_of_the_third_are_made_again(three, tmp_path):
    assert len(audited(three)) == len(CHECKS)
    shutil.copytree(three.root, tmp_path / "run", ignore=shutil.ignore_patterns("release", "work"))
    run = Run(tmp_path / "run", three.claims, three.pipeline)
    make_base(run.root / "models/more/wide", NETWORKS["densenet"], seed=8)
    message = r"logits: logits_stack.npz: those of wide differ by up to [\d.]+ from what models/more/wide gives"
    with pytest.raises(InputError, match=message):
        check_alone("logits", run)


def test_a_figure_of_a_third_member_that_is_not_what_the_files_give_is_named(three):
    claims = copy.deepcopy(three.claims)
    claims.evaluation["wide"]["auroc"]["per_finding"]["edema"] += 1e-6
    claims.evaluation["comparison"]["ensemble_minus_wide"]["auroc"]["macro"]["difference"] += 1e-6
    with pytest.raises(InputError, match=r"metrics: evaluation.json: 2 of [\d,]+ figures"):
        check_alone("metrics", replace(three, claims=claims))


def test_metrics_of_a_training_that_the_ensemble_has_not_are_named(three):
    trainings = {name: own for name, own in three.claims.trainings.items() if name != "wide"}
    with pytest.raises(InputError, match=r"summary: .* are of different models: wide"):
        check_alone("summary", replace(three, claims=replace(three.claims, trainings=trainings)))


def test_splits_with_the_logits_of_different_members_are_named(run):
    arrays = read_arrays(run.root / "data/stacked/logits_val.npz")
    del arrays["vit"]
    write_arrays(run.root / "data/stacked/logits_val.npz", **arrays)
    with pytest.raises(InputError, match="logits: the splits have logits of different base models: "):
        check_alone("logits", run)


def test_evaluate_writes_nothing_where_the_audit_refuses(tmp_path):
    make_workspace(tmp_path)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}

    def refuse(claims: Claims) -> None:
        assert claims.summary["test"]["ensemble"]["auroc"] == claims.evaluation["ensemble"]["auroc"]["macro"]
        raise InputError("refused")

    folders = {"data": "data", "models": "models", "metrics": "metrics", "plots": "plots"}
    with pytest.raises(InputError, match="refused"):
        evaluate(
            **{name: tmp_path / folder for name, folder in folders.items()},
            params={},
            scoring=Scoring("image", bootstrap=5, min_positives=10, seed=0),
            check=refuse,
        )
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_second_path_agrees_with_scikit_learn_on_ties_and_extremes():
    generator = np.random.default_rng(0)
    for step in (0.5, 0.1, 1e-6):
        targets = generator.random(200) < 0.2
        scores = np.round(generator.random(200) / step) * step
        scores[:5] = 1.0
        pair = scores[targets], scores[~targets]
        assert mann_whitney(*pair) == pytest.approx(roc_auc_score(targets, scores), abs=1e-12)
        assert average_precision(*pair) == pytest.approx(average_precision_score(targets, scores), abs=1e-12)
        assert squared_distance(*pair) == pytest.approx(brier_score_loss(targets, scores), abs=1e-12)
        assert calibration_error(*pair) == pytest.approx(ece(targets, scores), abs=1e-12)
