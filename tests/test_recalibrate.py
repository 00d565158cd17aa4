"""A calibration of another hospital's own: fitted as far as its sample tells, reported on patients it never saw."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_json, write_json
from diagxnet.data.findings import Findings
from diagxnet.ensemble.calibration import KEPT, NOT_LEARNED, FindingCalibration, probabilities
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.ensemble.local import OWN
from diagxnet.external.recalibration import (
    ENSEMBLE,
    SLOPE_ERROR,
    cross_fitted,
    evidence,
    recalibrate,
    recalibrate_folder,
    report,
    table,
)
from diagxnet.predict import main as predict
from diagxnet.statistics.calibrating import fit_calibration
from diagxnet.statistics.metrics import auroc
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.trained_on import FILE, write_trained_on
from tests.conftest import ROOT
from tests.ensembles import make_models
from tests.test_external import NOTHING, make_hospital
from tests.workspace import make_scored

EDEMA = CHEXPERT.keys.index("edema")
AS_IS = FindingCalibration(1.0, 0.0, "platt", 50, 50, {"youden": 0.5, "specificity_90": 0.9})


def a_source(scored: Scored, own: FindingCalibration = AS_IS) -> dict:
    return {model: dict.fromkeys(scored.keys, own) for model in scored.models}


def drawn(units: int, seed: int, *, slope: float = 1.0, intercept: float = 0.0, patients: int | None = None) -> Scored:
    """Labels drawn with the probability expit(slope * logit + intercept), of the last model."""
    scored = make_scored(units, seed=seed, patients=patients)
    generator = np.random.default_rng(seed)
    logits = np.repeat(generator.normal(-1, 2, (1, units, len(CHEXPERT))), len(scored.models), axis=0)
    targets = generator.random((units, len(CHEXPERT))) < expit(slope * logits[-1] + intercept)
    return replace(scored, logits=logits, targets=targets)


def few_positives(number: int, units: int = 200) -> Scored:
    scored = drawn(units, 3)
    targets = np.zeros_like(scored.targets)
    targets[:number] = True
    return replace(scored, targets=targets, logits=scored.logits / 2)


def test_standard_errors_are_the_spread_of_what_they_are_of():
    told = [evidence(drawn(300, seed), -1, EDEMA, AS_IS) for seed in range(150)]
    for name in ("in_the_large", "slope"):
        values = np.array([getattr(each, name) for each in told])
        errors = np.array([getattr(each, f"{name}_error") for each in told])
        assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.2)
        assert values.mean() == pytest.approx(1.0 if name == "slope" else 0.0, abs=0.06)


def test_more_images_of_the_same_patients_make_nothing_surer():
    once = drawn(200, 1)
    twice = once.subset(np.tile(np.arange(200), 2))
    first, second = (evidence(each, -1, EDEMA, AS_IS) for each in (once, twice))
    assert second.patients == first.patients == 200
    assert second.slope_error == pytest.approx(first.slope_error, rel=0.02)
    assert second.in_the_large_error == pytest.approx(first.in_the_large_error, rel=0.02)


def test_as_many_patients_as_it_takes_give_the_error_that_is_asked_for():
    wanted = evidence(drawn(2000, 0), -1, EDEMA, AS_IS).content()["patients_for"]["slope"]
    errors = [evidence(drawn(wanted, seed), -1, EDEMA, AS_IS).slope_error for seed in range(40)]
    assert np.mean(errors) == pytest.approx(SLOPE_ERROR, rel=0.2)


def test_what_moves_is_what_the_sample_suffices_for():
    scored = drawn(600, 2, slope=0.6, intercept=-0.8)
    fitted = recalibrate(scored, a_source(scored))[ENSEMBLE]["edema"]
    assert fitted.fit == "platt"
    assert fitted.slope == pytest.approx(0.6, abs=0.1)
    assert fitted.intercept == pytest.approx(-0.8, abs=0.2)
    few = few_positives(8)
    own = recalibrate(few, a_source(few, replace(AS_IS, slope=0.7)))[ENSEMBLE]["edema"]
    assert (own.fit, own.slope, own.positives) == ("intercept", 0.7, 8)
    assert expit(0.7 * few.logits[-1, :, EDEMA] + own.intercept).mean() == pytest.approx(8 / 200, abs=0.01)
    for number in (0, 1, 2):
        least = few_positives(number)
        assert recalibrate(least, a_source(least))[ENSEMBLE]["edema"] == replace(AS_IS, fit=KEPT)


def test_what_was_never_learned_stays_so():
    scored = drawn(100, 2)
    source = a_source(scored)
    source[ENSEMBLE] |= {"edema": NOT_LEARNED}
    assert recalibrate(scored, source)[ENSEMBLE]["edema"] == NOT_LEARNED


def test_a_steep_slope_that_is_sure_in_proportion_is_taken():
    scored = drawn(400, 5, slope=3.5)
    told = evidence(scored, -1, EDEMA, AS_IS)
    assert told.slope_error > SLOPE_ERROR
    assert told.moves == "platt"


def test_no_patient_has_a_say_in_what_is_reported_of_it():
    scored = drawn(120, 4, patients=60)
    source = a_source(scored)
    probability, cuts = cross_fitted(scored, source, 5, seed=0)
    own = scored.patients == scored.patients[7]
    turned = replace(scored, targets=np.where(own[:, None], ~scored.targets, scored.targets))
    other, others_cuts = cross_fitted(turned, source, 5, seed=0)
    assert own.sum() == 2
    np.testing.assert_array_equal(other[own], probability[own])
    np.testing.assert_array_equal(others_cuts["youden"][own], cuts["youden"][own])
    assert (other != probability).any()


def test_where_calibration_is_lost_ece_falls_clear_of_zero_and_ranks_stay():
    scored = drawn(400, 6, slope=0.5, intercept=-1)
    source = a_source(scored)
    found = report(scored, source, folds=5, resamples=200, seed=0, least=10)
    assert found["ece"]["difference"]["macro"]["ci"]["upper"] < 0
    assert found["ece"]["after"]["macro"] < found["ece"]["before"]["macro"] / 2
    for calibration in (source, recalibrate(scored, source)):
        ranked = auroc(scored.targets[:, EDEMA], probabilities(scored.logits[-1], calibration[ENSEMBLE])[:, EDEMA])
        assert found["auroc"]["per_finding"]["edema"] == ranked
    assert found["youden"]["sensitivity"]["after"]["macro"] > found["youden"]["sensitivity"]["before"]["macro"]


def test_a_finding_without_a_threshold_has_no_rates():
    scored = drawn(200, 6)
    source = a_source(scored)
    source[ENSEMBLE] |= {"edema": replace(AS_IS, thresholds=None)}
    found = report(scored, source, folds=5, resamples=20, seed=0, least=10)
    for when in ("before", "after"):
        assert len(found["youden"]["sensitivity"][when]["per_finding"]) == len(CHEXPERT) - 1
    assert "edema" in found["ece"]["after"]["per_finding"]


def test_where_nothing_is_lost_nothing_is_gained():
    scored = drawn(400, 7)
    found = report(scored, a_source(scored), folds=5, resamples=200, seed=0, least=10)
    change = found["brier"]["difference"]["macro"]
    assert change["ci"]["lower"] < 0.002
    assert abs(change["difference"]) < 0.003


def test_a_bound_by_a_parent_outlives_recalibration():
    scored = drawn(300, 8)
    source = fit_calibration(scored, 5, parents={"edema": "lung_opacity"})
    moved = recalibrate(drawn(300, 9, slope=0.4), source)[ENSEMBLE]
    probability = probabilities(scored.logits[-1], moved)
    assert moved["edema"].parent == "lung_opacity"
    assert (probability[:, EDEMA] <= probability[:, CHEXPERT.keys.index("lung_opacity")]).all()


def test_a_parent_that_the_sample_is_the_first_to_calibrate_bounds_from_then_on():
    scored = drawn(300, 8)
    above = CHEXPERT.keys.index("lung_opacity")
    mask = scored.mask.copy()
    mask[:, above] = False
    source = fit_calibration(replace(scored, mask=mask), 5, parents={"edema": "lung_opacity"})
    assert source[ENSEMBLE]["lung_opacity"].fit == "none"
    free, bound = (probabilities(scored.logits[-1], each[ENSEMBLE]) for each in (source, recalibrate(scored, source)))
    assert (free[:, EDEMA] > free[:, above]).any()
    assert (bound[:, EDEMA] <= bound[:, above]).all()


def test_a_parent_that_nobody_calibrates_bounds_nothing_after_recalibration_either():
    scored = drawn(300, 8)
    above = CHEXPERT.keys.index("lung_opacity")
    logits, mask = scored.logits.copy(), scored.mask.copy()
    logits[..., above], mask[:, above] = -9, False
    unlabelled = replace(scored, logits=logits, mask=mask)
    source = fit_calibration(unlabelled, 5, parents={"edema": "lung_opacity"})
    moved = recalibrate(unlabelled, source)[ENSEMBLE]
    assert moved["lung_opacity"].fit == "none"
    found = probabilities(logits[-1], moved)[:, EDEMA]
    assert found.mean() == pytest.approx(scored.targets[:, EDEMA].mean(), abs=0.02)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """models/, other/ (a hospital) and other.json, its calibration."""
    root = tmp_path_factory.mktemp("world")
    make_models(root / "models")
    write_trained_on(root / "models" / FILE, NOTHING)
    make_hospital(root / "other")
    own = {"views": "frontal", "blank": "negative", "bad_images": "stop"}
    told, findings = recalibrate_folder(
        root / "other", root / "models", Scoring("image", 20, 5, 0), out=root / "other.json", **own
    )
    return root, told, findings


def test_the_file_says_which_models_and_sample_it_is_of_and_predict_takes_it(world, tmp_path, capsys):
    root, told, findings = world
    written = read_json(root / "other.json")
    assert written[OWN] == told
    assert (told["data"], told["patients"], told["units"]) == ("other", 30, 30)
    assert set(told["findings"]) == {"no_finding", "edema", "pneumonia"}
    assert told["findings"]["pneumonia"]["fit"] == KEPT
    assert told["findings"]["pneumonia"]["patients_for"] == {"intercept": None, "slope": None}
    assert "Pneumonia" in table(told, findings)
    image = next((root / "other").rglob("*.jpg"))
    given = [str(image), "--models", str(root / "models"), "--json"]
    assert predict(given) == 0
    before = json.loads(capsys.readouterr().out)
    further = [
        "--calibration",
        str(root / "other.json"),
        "--csv",
        str(tmp_path / "a.csv"),
        "--html",
        str(tmp_path / "a.html"),
    ]
    assert predict([*given, *further]) == 0
    out, said = capsys.readouterr()
    after = json.loads(out)
    assert re.fullmatch(r"other, 30 patients \([0-9a-f]{8}\)", after["calibration"])
    assert after["calibration"] in said
    assert "calibration" not in before
    assert after["probabilities"]["edema"] != before["probabilities"]["edema"]
    assert after["probabilities"]["pneumonia"] == before["probabilities"]["pneumonia"]
    header, row = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    assert header.endswith(",error,calibration")
    assert row.endswith(f'"{after["calibration"]}"')
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert f"the labelled sample {after['calibration']}" in page
    assert re.search("Too few patients there for [^:]*Pneumonia[^:]*: as calibrated where the models were tr", page)


def test_the_stage_prints_what_it_found_and_where_it_is(world, tmp_path):
    root = world[0]
    command = [
        sys.executable,
        "-m",
        "stages.recalibrate",
        "--root",
        str(root / "other"),
        "--models",
        str(root / "models"),
    ]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "c.json")], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    assert "ECE: " in done.stdout
    assert f"--calibration {tmp_path / 'c.json'}" in done.stdout
    assert read_json(tmp_path / "c.json")["models"]["ensemble"] == read_json(root / "other.json")["models"]["ensemble"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({OWN: {"data": "x", "patients": 3, "models": "0"}}, "fitted for other models than those in"),
        ({"findings": ["edema"]}, "of the findings edema, and the models in"),
        ({OWN: None}, "is no calibration of stages.recalibrate"),
    ],
)
def test_a_calibration_of_others_is_refused_in_one_line(world, tmp_path, change, said):
    write_json(tmp_path / "c.json", read_json(world[0] / "other.json") | change)
    with pytest.raises(InputError, match=said) as raised:
        Ensemble.load(world[0] / "models", calibration=tmp_path / "c.json")
    assert "\n" not in str(raised.value)


def test_other_weights_of_the_same_kind_are_other_models(world, tmp_path):
    make_models(tmp_path / "models", seed=1)
    with pytest.raises(InputError, match="fitted for other models"):
        Ensemble.load(tmp_path / "models", calibration=world[0] / "other.json")


def test_a_missing_file_and_the_models_own_calibration_are_refused(world):
    models = world[0] / "models"
    with pytest.raises(InputError, match=r"nowhere.json: No such file or directory \(make it with"):
        Ensemble.load(models, calibration=models / "nowhere.json")
    with pytest.raises(InputError, match="or leave --calibration out"):
        Ensemble.load(models, calibration=models / "calibration.json")


def test_a_sample_that_tells_nothing_is_refused(world, tmp_path):
    table = (world[0] / "other/train.csv").read_text(encoding="utf-8").splitlines()
    root = tmp_path / "small"
    for row in table[1:3]:
        path = row.split(",")[0].split("/", 1)[1]
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes((world[0] / "other" / path).read_bytes())
    (root / "train.csv").write_text("\n".join(table[:3]) + "\n", encoding="utf-8")
    own = {"views": "frontal", "blank": "negative", "bad_images": "stop"}
    with pytest.raises(InputError, match="no finding has two patients with it and two without"):
        recalibrate_folder(root, world[0] / "models", Scoring("image", 20, 5, 0), out=tmp_path / "c.json", **own)
    assert not (tmp_path / "c.json").exists()


def test_a_finding_cannot_be_called_as_the_column_that_names_the_calibration():
    with pytest.raises(ValueError, match="gives the key 'calibration'"):
        Findings(("Calibration",))
