"""Ensemble: a folder of models alone gives, for an image, the logits and probabilities of the pipeline itself."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_json, write_json
from diagxnet.data.members import FIRST
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import write_findings
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.features import stack as features
from diagxnet.features.stack import stack_features
from diagxnet.features.stacked import read_stacked
from diagxnet.images.decode import decode
from diagxnet.prediction.saliency import heat_maps
from diagxnet.training.networks import load_base
from tests.bad_input import pack_of
from tests.ensembles import NETWORKS, NO_THRESHOLD, SIZE, make_models
from tests.radiographs import make_data


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_models(tmp_path_factory.mktemp("ensemble") / "models")


@pytest.fixture(scope="module")
def ensemble(models):
    return Ensemble.load(models, precision="fp32")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE), dtype=np.uint8)


def _changed(models, folder, file, values):
    """A copy of `models` in whose JSON `file` some keys have other values."""
    shutil.copytree(models, folder)
    write_json(folder / file, read_json(folder / file) | values)
    return folder


@pytest.mark.parametrize(("folds", "seeds", "views"), [(None, 1, 1), (2, 1, 1), (2, 2, 1), (None, 1, 3)])
def test_an_image_has_the_same_logits_as_in_the_pipeline_to_the_bit(tmp_path, monkeypatch, folds, seeds, views):
    make_data(tmp_path, train=5, valid=0)
    pack_of(tmp_path)
    index = pd.read_csv(tmp_path / ".packed/index.csv")
    manifest = pd.DataFrame({"row": index["row"], "split": "test"})
    monkeypatch.setattr(features, "read_manifest", lambda folder: manifest)
    write_findings(tmp_path, CHEXPERT)
    models = make_models(tmp_path / "models", folds=folds, seeds=seeds, views=views)
    stack_features(
        FIRST,
        models,
        tmp_path / ".packed",
        tmp_path,
        tmp_path / "stacked",
        precision="fp32",
        batch_size=2,
        views=views,
        splits=["test"],
    )
    stacked = read_stacked(tmp_path / "stacked", "test")
    rows, expected = stacked.rows, stacked.logits

    shutil.copytree(models, tmp_path / "elsewhere/models")
    monkeypatch.chdir(tmp_path / "elsewhere")  # neither params.yaml nor data here
    ensemble = Ensemble.load("models", precision="fp32")
    images = np.stack([decode(tmp_path / path, ensemble.image_size) for path in index["path"]])
    assert np.array_equal(images, open_packed(tmp_path / ".packed")[rows])
    assert np.array_equal(ensemble.predict(images, batch_size=2).base_logits, expected)


def test_probabilities_are_the_calibrated_logits_of_the_ensemble(models, ensemble, images):
    prediction = ensemble.predict(images)
    assert prediction.base_logits.shape == (5, 2, len(CHEXPERT))
    logits = ensemble.meta(torch.from_numpy(prediction.base_logits)).detach().numpy()
    np.testing.assert_allclose(prediction.logits, logits, rtol=1e-6)
    assert not np.allclose(logits, prediction.base_logits.mean(1), atol=1e-3)
    own = read_json(models / "calibration.json")["models"]["ensemble"]["edema"]
    expected = expit(own["slope"] * logits[:, CHEXPERT.keys.index("edema")].astype(float) + own["intercept"])
    np.testing.assert_allclose(prediction.probabilities[:, CHEXPERT.keys.index("edema")], expected, rtol=1e-6)


def test_folds_and_members_are_averaged(tmp_path, images):
    folder = make_models(tmp_path / "models", folds=2, members=3)
    ensemble = Ensemble.load(folder, precision="fp32")
    prediction = ensemble.predict(images)
    inputs = torch.from_numpy(images[:, None]).float() / 255
    with torch.inference_mode():
        expected = load_base(folder / "densenet")(inputs).numpy()
        members = torch.stack([member(torch.from_numpy(prediction.base_logits)) for member in ensemble.meta.members])
    assert len(members) == 3
    np.testing.assert_allclose(prediction.base_logits[:, 0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(prediction.logits, members.mean(0), rtol=1e-5, atol=1e-6)


def test_an_image_has_the_same_logits_whatever_is_beside_it(ensemble, images):
    whole = ensemble.predict(images, batch_size=5).logits
    np.testing.assert_allclose(ensemble.predict(images[::-1], batch_size=2).logits[::-1], whole, rtol=1e-3, atol=1e-4)


def test_no_images_give_no_predictions(ensemble):
    prediction = ensemble.predict(np.zeros((0, SIZE, SIZE), np.uint8))
    assert prediction.probabilities.shape == (0, len(CHEXPERT))


def test_a_finding_of_one_class_on_val_has_no_threshold(ensemble):
    thresholds = ensemble.thresholds("youden")
    assert np.flatnonzero(np.isnan(thresholds)).tolist() == [NO_THRESHOLD]
    assert thresholds[1] == pytest.approx(0.42)
    with pytest.raises(InputError, match="'f1': must be one of youden, specificity_90"):
        ensemble.thresholds("f1")


@pytest.mark.parametrize("images", [np.zeros((2, SIZE, SIZE), np.float32), np.zeros((2, SIZE, 40), np.uint8)])
def test_images_of_another_shape_or_type_are_refused(ensemble, images):
    with pytest.raises(InputError, match=r"these models read uint8 \[images, 32, 32\]"):
        ensemble.predict(images)


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("vit/config.json", {"image_size": 40}, "not of one run"),
        ("vit/config.json", {"folds": 3}, "not of one run"),
        ("vit/config.json", {"crop": "pad"}, "not of one run"),
        ("densenet/config.json", {"findings": ["Edema"]}, r"config.json is of Edema; .*config.json of No Finding,"),
        ("meta/config.json", {"models": []}, "names no base models"),
        ("calibration.json", {"version": 0}, "another version"),
    ],
)
def test_models_that_do_not_belong_together_are_refused(models, tmp_path, file, values, said):
    with pytest.raises(InputError, match=said):
        Ensemble.load(_changed(models, tmp_path / "changed", file, values))


@pytest.mark.parametrize(
    "file", ["densenet/config.json", "vit/model.safetensors", "meta/config.json", "calibration.json"]
)
def test_a_missing_or_damaged_file_is_named(models, tmp_path, file):
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    (folder / file).write_bytes(b"{")
    with pytest.raises(InputError, match=file.split("/")[0]):
        Ensemble.load(folder)
    (folder / file).unlink()
    with pytest.raises(InputError, match=file.split("/")[0]):
        Ensemble.load(folder)
    with pytest.raises(InputError, match="no such folder"):
        Ensemble.load(tmp_path / "nowhere")


@pytest.mark.parametrize("names", [("vit",), ("densenet", "vit", "wide")], ids=["one", "three"])
def test_an_ensemble_of_any_number_of_members_predicts_and_maps(tmp_path, images, names):
    models = make_models(tmp_path, networks={name: NETWORKS.get(name, NETWORKS["densenet"]) for name in names})
    ensemble = Ensemble.load(models, precision="fp32")
    prediction = ensemble.predict(images)
    assert tuple(ensemble.base) == names
    assert prediction.base_logits.shape == (len(images), len(names), len(CHEXPERT))
    assert prediction.probabilities.shape == (len(images), len(CHEXPERT))
    assert heat_maps(ensemble, images[0], [5]).max() == pytest.approx(1.0)
