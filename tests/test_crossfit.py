"""Crossfit: folds by patient, models that never saw what they stack, and each fold's training by itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json
from diagxnet.data.folds import Draws, read_draws, read_folds, write_draws
from diagxnet.data.members import FIRST
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_labels, read_manifest
from diagxnet.features.stack import stack_features
from diagxnet.features.stacked import read_stacked
from diagxnet.stacking.train import train_meta
from diagxnet.training import base, loop
from diagxnet.training.base import train_base
from diagxnet.training.checkpoint import load_model
from diagxnet.training.history import timing
from diagxnet.training.networks import from_config, load_base, model_folders
from tests.bad_input import prepare_of
from tests.gradients import recipe
from tests.radiographs import make_data
from tests.test_packed import files

EPOCHS = 2
RECIPE = recipe(batch_size=8, accumulation_steps=1, epochs=EPOCHS, lr=1e-2)
NETWORK = {
    "arch": "test_resnet",
    "pretrained": False,
    "dropout": 0.0,
    "patch_size": None,
    "stem": "patches",
    "batch_norm": False,
}
AUGMENTATION = {"rotation": 7.0, "translation": 0.05, "scale": 0.05, "flip": 0.0, "contrast": 0.1}
FOLDS = 3


@pytest.fixture
def data(tmp_path):
    make_data(tmp_path, train=60)
    prepare_of(tmp_path)
    return tmp_path


def train_small(data, name="densenet", folds=FOLDS, out="models", seeds=1, recipe=RECIPE, **options):
    """A training of a small ResNet on the images of `data`, of `EPOCHS` epochs for each of its networks."""
    return train_base(
        name,
        recipe,
        **NETWORK,
        augmentation=AUGMENTATION,
        precision="fp32",
        packed=data / ".packed",
        prepared=data / ".prepared",
        folder=data / out / name,
        resume=data / "resume" / name,
        folds=folds,
        seeds=seeds,
        **options,
    )


def test_what_shapes_the_training_alone_reaches_the_network(data, monkeypatch):
    created, synchronised, create = [], [], base.create_base
    monkeypatch.setattr(base, "create_base", lambda *a, **k: created.append(k) or create(*a, **k))
    monkeypatch.setattr(base, "synchronised", lambda model, accelerator: synchronised.append(model) or model)
    options = {"drop_path": 0.1, "grad_checkpointing": True, "normalise": [0.5, 0.25]}
    for sync in (False, True):
        own = replace(RECIPE, sync_batch_norm=sync)
        next(train_small(data, folds=None, recipe=own, **options))
        assert created[-1] | options == created[-1]
        assert len(synchronised) == sync


def test_a_patient_is_in_one_fold_whoever_else_is_there(tmp_path):
    patients = np.array([f"patient{number // 3}" for number in range(300)], object)
    write_draws(tmp_path, np.arange(300), patients, 1)
    folds = read_draws(tmp_path).folds(5)
    assert all(len(set(folds[patients == patient])) == 1 for patient in set(patients))
    assert np.bincount(folds).min() > 300 / 5 / 2
    write_draws(tmp_path, np.arange(150), patients[150:], 1)
    np.testing.assert_array_equal(read_draws(tmp_path).folds(5), folds[150:])
    write_draws(tmp_path, np.arange(300), patients, 2)
    assert (read_draws(tmp_path).folds(5) != folds).any()


def test_folds_of_few_patients_are_refused_where_one_would_be_empty():
    with pytest.raises(InputError, match=r"stack.folds = 3: no patient of train and stack is in fold 2"):
        Draws(np.arange(2), np.array([0.1, 0.9])).folds(3)


def test_each_fold_learns_from_all_others_and_from_no_patient_of_its_own(data):
    manifest = read_manifest(data / ".prepared").set_index("row")
    whole = read_labels(data / ".prepared", "train", "stack")
    assert set(manifest.loc[whole.rows, "split"]) == {"train", "stack"}
    learned = read_folds(data / ".prepared", FOLDS)
    left_out = [np.setdiff1d(whole.rows, labels.rows) for labels in learned]
    np.testing.assert_array_equal(np.sort(np.concatenate(left_out)), whole.rows)
    for labels, others in zip(learned, left_out, strict=True):
        assert not set(manifest.loc[labels.rows, "patient"]) & set(manifest.loc[others, "patient"])
        places = np.searchsorted(whole.rows, labels.rows)
        np.testing.assert_array_equal(labels.targets, whole.targets[places])
        np.testing.assert_array_equal(labels.mask, whole.mask[places])


def test_stacked_logits_are_out_of_fold_and_others_the_mean_of_the_folds(data):
    for name in FIRST:
        assert len(list(train_small(data, name))) == FOLDS * EPOCHS
    folders = (data / "models", data / ".packed", data / ".prepared", data / "stacked")
    stack_features(FIRST, *folders, precision="fp32", batch_size=8)
    images = torch.from_numpy(np.array(open_packed(data / ".packed")))[:, None].float() / 255
    models = [load_model(data / "models/vit" / f"fold{fold}", from_config) for fold in range(1, FOLDS + 1)]
    with torch.inference_mode():
        expected = np.stack([model(images).numpy() for model in models])
        together = load_base(data / "models/vit")(images).numpy()
    np.testing.assert_allclose(together, expected.mean(0), atol=1e-5)

    stacked = read_stacked(data / "stacked", "stack")
    rows, logits = stacked.rows, stacked.logits
    np.testing.assert_array_equal(rows, read_labels(data / ".prepared", "train", "stack").rows)
    folds = read_draws(data / ".prepared").folds(FOLDS)
    np.testing.assert_allclose(logits[:, 1], expected[folds, rows], atol=1e-4)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    stacked = read_stacked(data / "stacked", "val")
    rows, logits = stacked.rows, stacked.logits
    np.testing.assert_allclose(logits[:, 1], expected[:, rows].mean(0), atol=1e-4)

    meta = {"arch": "linear", "options": {"init": "average", "inputs": "logits"}, "stacked": data / "stacked"}
    meta |= {"prepared": data / ".prepared", "folder": data / "models/meta", "resume": data / "resume/meta"}
    meta |= {"left_out": data / "ensemble_val.npz"}
    list(train_meta(RECIPE, folds=FOLDS, **meta))
    history = read_json(data / "models/meta/training_history.json")
    assert history["train_images"] == len(read_draws(data / ".prepared").rows)
    with pytest.raises(InputError, match="are of different images"):
        list(train_meta(RECIPE, **meta))


def test_a_finished_fold_is_not_trained_again_after_an_interruption(data, monkeypatch):
    whole = list(train_small(data, out="undisturbed"))
    training = train_small(data)
    for _ in range(EPOCHS + 1):  # into the second fold
        next(training)
    training.close()
    kept = torch.load(data / "resume/densenet/fold1/last.pt", weights_only=True)
    assert "optimizer" not in kept
    assert len(kept["epochs"]) == EPOCHS
    assert "optimizer" in torch.load(data / "resume/densenet/fold2/last.pt", weights_only=True)

    trained, learn = [], loop._Training.learn
    monkeypatch.setattr(loop._Training, "learn", lambda *given: trained.append(1) or learn(*given))
    again = list(train_small(data))
    assert len(trained) == FOLDS * EPOCHS - EPOCHS - 1
    assert [epoch.record for epoch in again] == [epoch.record for epoch in whole]
    assert files(data / "models/densenet") == files(data / "undisturbed/densenet")
    assert not (data / "resume/densenet").exists()

    history = read_json(data / "models/densenet/training_history.json")
    own = [read_json(data / f"models/densenet/fold{fold}/training_history.json") for fold in range(1, FOLDS + 1)]
    assert history["epochs"] == own[0]["epochs"]
    assert [member["train_images"] for member in history["members"]] == [each["train_images"] for each in own]
    images = sum(len(labels.rows) for labels in read_folds(data / ".prepared", FOLDS)) * EPOCHS
    seconds = sum(epoch.seconds for epoch in whole)
    assert timing(whole, history)["images_per_second"] == pytest.approx(images / seconds, rel=0.01, abs=0.1)


def test_base_models_of_different_folds_are_refused(data):
    for name, config in (("densenet", {"folds": 3}), ("vit", {})):
        write_json(data / "models" / name / "config.json", config)
    folders = (data / "models", data / ".packed", data / ".prepared", data / "stacked")
    with pytest.raises(InputError, match="different numbers of folds"):
        stack_features(FIRST, *folders, precision="fp32", batch_size=8)


def test_of_several_seeds_the_first_is_the_single_model_and_the_others_learn_from_seeds_of_their_own(data):
    list(train_small(data, folds=None, out="single"))
    assert len(list(train_small(data, folds=None, seeds=2))) == 2 * EPOCHS
    first, second = (files(data / f"models/densenet/seed{seed}") for seed in (1, 2))
    assert first == files(data / "single/densenet")
    assert first["config.json"] == second["config.json"]
    assert first["model.safetensors"] != second["model.safetensors"]
    folder = data / "models/densenet"
    config, history = (read_json(folder / f"{name}.json") for name in ("config", "training_history"))
    assert config == read_json(data / "single/densenet/config.json") | {"seeds": 2}
    assert history["epochs"] == read_json(folder / "seed1/training_history.json")["epochs"]
    own = read_json(folder / "seed2/training_history.json")
    assert history["members"][1]["best_val_loss"] == own["epochs"][own["best_epoch"] - 1]["val_loss"]
    assert model_folders(data / "single/densenet") == [[data / "single/densenet"]]
    assert model_folders(folder) == [[folder / "seed1", folder / "seed2"]]
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        each = [load_model(place, from_config)(images) for place in model_folders(folder)[0]]
        torch.testing.assert_close(load_base(folder)(images), (each[0] + each[1]) / 2)


def test_out_of_fold_logits_are_the_mean_over_a_folds_seeds_and_others_over_all_after_an_interruption_too(data):
    list(train_small(data, "vit", folds=2, out="undisturbed", seeds=2))
    list(train_small(data, "densenet", folds=2))
    training = train_small(data, "vit", folds=2, seeds=2)
    for _ in range(2 * EPOCHS + 1):  # into the first seed of the second fold
        next(training)
    training.close()
    assert (data / "resume/vit/fold2/seed1/last.pt").exists()
    list(train_small(data, "vit", folds=2, seeds=2))
    assert files(data / "models/vit") == files(data / "undisturbed/vit")

    folders = (data / "models", data / ".packed", data / ".prepared", data / "stacked")
    stack_features(FIRST, *folders, precision="fp32", batch_size=8)
    images = torch.from_numpy(np.array(open_packed(data / ".packed")))[:, None].float() / 255
    places = [[data / f"models/vit/fold{fold}/seed{seed}" for seed in (1, 2)] for fold in (1, 2)]
    with torch.inference_mode():
        expected = np.array([[load_model(place, from_config)(images).numpy() for place in each] for each in places])
    stacked = read_stacked(data / "stacked", "stack")
    rows, logits = stacked.rows, stacked.logits
    folds = read_draws(data / ".prepared").folds(2)
    np.testing.assert_allclose(logits[:, 1], expected.mean(1)[folds, rows], atol=1e-4)
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 1e-2
    stacked = read_stacked(data / "stacked", "val")
    rows, logits = stacked.rows, stacked.logits
    np.testing.assert_allclose(logits[:, 1], expected.mean((0, 1))[rows], atol=1e-4)
