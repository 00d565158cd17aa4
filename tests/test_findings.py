"""Findings as data: keys, what is known of CheXpert's, and models and labels that do not belong together."""

import numpy as np
import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT, CHEXPERT5, five_of
from diagxnet.data.files import read_json, write_json
from diagxnet.data.findings import Findings
from diagxnet.data.prepared import read_findings
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.params.whole import read_all
from tests.conftest import ROOT
from tests.ensembles import make_models


def test_chexperts_keys_are_what_params_and_metrics_have_always_called_them():
    assert CHEXPERT.keys[:3] == ("no_finding", "enlarged_cardiomediastinum", "cardiomegaly")
    assert CHEXPERT.titles["pleural_effusion"] == "Pleural Effusion"
    assert len(CHEXPERT) == 14
    assert set(CHEXPERT5) < set(CHEXPERT.keys)


def test_keys_are_letters_digits_and_underscores_whatever_a_column_is_called():
    names = ("Tuberculosis", "COVID-19", "Pneumonie à Covid", "Mass / Nodule (> 3 cm)", "Pleuraerguß")
    keys = ("tuberculosis", "covid_19", "pneumonie_a_covid", "mass_nodule_3_cm", "pleuraergu")
    assert Findings(names).keys == keys


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "names no label column"),
        (("Edema", "edema"), "'Edema' and 'edema' have the same key, edema: call one otherwise"),
        (("Pleural Effusion", "Pleural-Effusion"), "have the same key, pleural_effusion"),
        (("肺结核",), "'肺结核' gives the key '', .* must begin with a letter from a to z"),
        (("3rd Rib",), "gives the key '3rd_rib'"),
        (("Error",), "none of path, present, doubts, error"),
        (("x" * 61,), "of 60 letters at most"),
    ],
)
def test_findings_without_keys_of_their_own_are_refused_with_a_mend(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        Findings(names)
    with pytest.raises(InputError, match=rf"data\.findings = .*{message}"):
        read_all(with_params(tmp_path, findings=list(names)))


def test_a_finding_is_named_by_name_or_key_and_a_mistyped_one_gets_the_nearest():
    assert CHEXPERT.named(" Pleural effusion") == CHEXPERT.named("pleural_effusion") == "pleural_effusion"
    with pytest.raises(ValueError, match=r"no such finding; did you mean edema\?"):
        CHEXPERT.named("oedema")
    with pytest.raises(ValueError, match="no such finding; known here: tuberculosis"):
        Findings(("Tuberculosis",)).named("edema")


def test_no_finding_is_contradicted_by_all_but_support_devices_wherever_it_stands():
    findings = Findings(("Tuberculosis", "Support Devices", "No Finding"))
    labels = np.array([[1, 0, 1], [0, 1, 1], [1, 0, 0], [np.nan, 0, 1], [-1, 0, 1]])
    assert findings.contradictions(labels).tolist() == [True, False, False, False, False]
    assert not Findings(("Tuberculosis", "Covid")).contradictions(np.ones((3, 2))).any()


def test_the_five_of_the_competition_are_those_of_chexperts_findings_alone():
    assert five_of(CHEXPERT.keys) == [key for key in CHEXPERT.keys if key in CHEXPERT5]
    assert five_of(["fracture", "edema"]) == ["edema"]
    assert five_of(["tuberculosis", "edema"]) == []


def with_params(folder, findings=None, uncertain=None, prevalence=None):
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["data"]["findings"] = content["data"]["findings"] if findings is None else findings
    content["data"]["uncertain"] |= uncertain or {}
    content["evaluate"]["prevalence"] |= prevalence or {}
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def test_rules_and_prevalences_are_of_the_findings_and_chexperts_rules_rest_under_others(tmp_path):
    own = ["Tuberculosis", "Covid"]
    given = {"uncertain": {"covid": "zeros"}, "prevalence": {"tuberculosis": 0.1}}
    assert read_all(with_params(tmp_path, findings=own, **given))["data"].findings == own
    with pytest.raises(InputError, match=r"data\.uncertain\.covit: no such finding; did you mean covid\?"):
        read_all(with_params(tmp_path, findings=own, uncertain={"covit": "zeros"}))
    with pytest.raises(
        InputError, match=r"evaluate\.prevalence\.edema: no such finding; known here: tuberculosis, cov"
    ):
        read_all(with_params(tmp_path, findings=own, prevalence={"edema": 0.1}))
    with pytest.raises(InputError, match=r"data\.uncertain\.Covid: must be written covid"):
        read_all(with_params(tmp_path, findings=own, uncertain={"Covid": "zeros"}))


def test_dvc_sets_findings_of_any_number_and_name(tmp_path):
    path = with_params(tmp_path)
    apply_overrides(path, ["data.findings=[Tuberculosis,'Pleural Effusion',COVID-19]"])
    assert read_all(path)["data"].findings == ["Tuberculosis", "Pleural Effusion", "COVID-19"]


def test_labels_that_do_not_say_what_they_are_of_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"findings\.json: no such file \(make it with: dvc repro prepare\)"):
        read_findings(tmp_path)
    write_json(tmp_path / "findings.json", {"findings": [1]})
    with pytest.raises(InputError, match=r"findings\.json: damaged"):
        read_findings(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "vit/config.json",
            {"findings": ["Edema"]},
            "vit.config.json is of Edema; .*meta.config.json of No Finding, Enl",
        ),
        ("meta/config.json", {"findings": None}, "names no findings"),
        (
            "calibration.json",
            {"findings": ["edema"]},
            "calibration.json is of edema; .*meta.config.json of no_finding, ",
        ),
    ],
)
def test_models_of_different_findings_are_no_ensemble(tmp_path, file, change, message):
    path = make_models(tmp_path) / file
    write_json(path, read_json(path) | change)
    with pytest.raises(InputError, match=message):
        Ensemble.load(tmp_path)
