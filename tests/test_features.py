"""stack_features: frozen base models, each run once per image, and rows that say which image a logit is of."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.findings import Findings
from diagxnet.data.members import FIRST
from diagxnet.data.prepared import COLUMNS, write_findings
from diagxnet.features import stack as features
from diagxnet.features.stack import batch_statistics, stack_features
from diagxnet.features.stacked import read_stacked, same_rows
from diagxnet.features.views import STEPS, views_of
from diagxnet.training.checkpoint import load_model, save_model
from diagxnet.training.networks import base_config, create_base, from_config
from tests.conftest import ROOT

SIZE = 32
NETWORKS = {"densenet": ("densenet121", None), "vit": ("vit_tiny_patch16_224", 16)}


@pytest.fixture
def finished(tmp_path):
    """Folders as the stages before leave them: 9 images of three splits and two base models with random weights."""
    rng = np.random.default_rng(0)
    (tmp_path / "packed").mkdir()
    np.save(tmp_path / "packed" / "images.npy", rng.integers(0, 256, (9, SIZE, SIZE), dtype=np.uint8))
    splits = ["stack", "val", "test"] * 3
    table = pd.DataFrame({"row": range(9), "split": splits, "patient": [f"{split}1" for split in splits]})
    write_findings(tmp_path / "prepared", CHEXPERT)
    table.reindex(columns=COLUMNS).to_csv(tmp_path / "prepared" / "manifest.csv", index=False)
    for name, (arch, patch_size) in NETWORKS.items():
        torch.manual_seed(1)
        stem = "patches" if patch_size is None else "convolutions"
        options = {"image_size": SIZE, "dropout": 0.5, "patch_size": patch_size, "stem": stem}
        options["batch_norm"] = patch_size is not None
        model = create_base(arch, findings=len(CHEXPERT), **options)
        config = base_config(arch, findings=CHEXPERT.names, **options, pretrained=False)
        save_model(tmp_path / "models" / name, model, config, {})
    return tmp_path


def _stack(folder, out="stacked", views=1):
    folders = folder / "models", folder / "packed", folder / "prepared", folder / out
    stack_features(FIRST, *folders, precision="fp32", batch_size=2, views=views)
    return {split: read_stacked(folder / out, split) for split in ("stack", "val", "test")}


def test_each_logit_is_the_models_in_evaluation_mode_for_the_row_beside_it(finished):
    stacked = _stack(finished)
    images = np.load(finished / "packed" / "images.npy")
    for split, offset in (("stack", 0), ("val", 1), ("test", 2)):
        rows, logits = stacked[split].rows, stacked[split].logits
        assert rows.tolist() == [offset, offset + 3, offset + 6]
        assert logits.shape == (3, 2, len(CHEXPERT))
        for position, name in enumerate(NETWORKS):
            model = load_model(finished / "models" / name, from_config)
            with torch.inference_mode():
                expected = model(torch.from_numpy(images[rows][:, None]).float() / 255)
            np.testing.assert_allclose(logits[:, position], expected, rtol=1e-3, atol=1e-4)


def test_views_are_the_image_and_its_copies_moved_by_a_twentieth_of_the_side_with_the_edge_repeated():
    image = torch.arange(40.0 * 40).reshape(1, 1, 40, 40)
    views = views_of(image, 9)
    assert len(views) == 9
    assert torch.equal(views[0], image)
    for (down, right), view in zip(STEPS, views, strict=True):
        places = [(torch.arange(40) - 2 * step).clamp(0, 39) for step in (down, right)]
        assert torch.equal(view[0, 0], image[0, 0][places[0]][:, places[1]])


def test_logits_of_several_views_are_their_mean(finished):
    one, three = _stack(finished)["val"], _stack(finished, "three", views=3)["val"]
    images = torch.from_numpy(np.load(finished / "packed" / "images.npy")[one.rows][:, None]).float() / 255
    model = load_model(finished / "models" / FIRST[0], from_config)
    with torch.inference_mode():
        expected = torch.stack([model(view) for view in views_of(images, 3)]).mean(0)
    np.testing.assert_allclose(three.logits[:, 0], expected, rtol=1e-3, atol=1e-4)
    assert np.abs(three.logits - one.logits).max() > 1e-3


def test_two_runs_give_equal_bytes(finished):
    for out in ("one", "two"):
        _stack(finished, out)
    for split in ("stack", "val", "test"):
        name = f"logits_{split}.npz"
        assert (finished / "one" / name).read_bytes() == (finished / "two" / name).read_bytes()


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one_though_the_first_alone_has_the_models(finished):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "tests.stacked", str(finished), "together"]
    threads = torch.get_num_threads()
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, encoding="utf-8", timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    _stack(finished, "alone")
    for split in ("stack", "val", "test"):
        name = f"logits_{split}.npz"
        assert (finished / "alone" / name).read_bytes() == (finished / "together" / name).read_bytes()
    assert not (finished / "written_by_another").exists()


def test_each_base_model_runs_once_per_image(finished, monkeypatch):
    seen = []
    load = features.load_model

    def counted(folder, create):
        model = load(folder, create)
        model.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
        return model

    monkeypatch.setattr(features, "load_model", counted)
    _stack(finished)
    assert sum(seen) == 9 * len(NETWORKS)


def test_a_base_model_in_training_mode_is_caught_by_its_statistics(finished, monkeypatch):
    def careless(model, source, examples, **options):
        model.train()  # what the scripts before did to their frozen models
        with torch.no_grad():
            return model(source.finish(source.read(np.arange(examples)), np.arange(examples), None)).numpy()

    monkeypatch.setattr(features, "predict_logits", careless)
    with pytest.raises(AssertionError, match=r"densenet: evaluation changed the buffers \['network"):
        _stack(finished)


def test_a_base_model_without_statistics_is_caught_in_training_mode_too(finished, monkeypatch):
    predict = features.predict_logits

    def careless(model, *arguments, **options):
        logits = predict(model, *arguments, **options)
        model.model.network.get_classifier().train()
        return logits

    monkeypatch.setattr(features, "predict_logits", careless)
    with pytest.raises(AssertionError, match="left in training mode"):
        _stack(finished)


def test_batch_statistics_are_copies_not_views():
    model = torch.nn.BatchNorm2d(2)
    before = batch_statistics(model)
    model.train()(torch.rand(4, 2, 3, 3))
    assert not torch.equal(before["running_mean"], model.running_mean)


def test_logits_and_labels_of_different_images_are_refused():
    with pytest.raises(InputError, match="are of different images"):
        same_rows(np.array([1, 2]), np.array([2, 1]), "val")


def test_models_of_other_findings_than_the_labels_end_in_a_line_that_names_both(finished):
    write_findings(finished / "prepared", Findings(("Tuberculosis", "Edema")))
    with pytest.raises(
        InputError, match=r"densenet.config\.json is of No Finding, .*; .*findings\.json of Tuberculosis, Edema"
    ):
        _stack(finished)
