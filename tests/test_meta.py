"""Training of the meta-learner: its architectures, its seeds, and what an interruption costs."""

import numpy as np
import pytest
import torch

from diagxnet.data.files import read_json, write_arrays
from diagxnet.data.findings import FINDINGS
from diagxnet.features.stacked import write_stacked
from diagxnet.stacking.learners import apply_meta, load_meta
from diagxnet.stacking.train import train_meta
from diagxnet.training.mean import MeanLogits
from diagxnet.training.recipe import member_seed
from tests.gradients import recipe as recipe_of

RECIPE = recipe_of(batch_size=16, accumulation_steps=1, lr=1e-2)
OPTIONS = {"hidden_dim": 8, "dropout": 0.2, "init": "average", "inputs": "logits"}


@pytest.fixture
def data(tmp_path):
    """Stacked logits and labels of 80 images in stack and 40 in val; the second model knows more than the first."""
    generator = np.random.default_rng(0)
    (tmp_path / "prepared").mkdir()
    for split, images in (("stack", 80), ("val", 40)):
        rows = np.arange(images)
        targets = (generator.random((images, len(FINDINGS))) < 0.4).astype(np.float32)
        logits = {
            name: (generator.normal(size=targets.shape) + gain * targets).astype(np.float32)
            for name, gain in (("densenet", 0.2), ("vit", 2.0))
        }
        write_stacked(tmp_path / "stacked", split, rows, logits)
        mask = generator.random(targets.shape) < 0.9
        write_arrays(tmp_path / "prepared" / f"labels_{split}.npz", rows=rows, targets=targets, mask=mask)
    return tmp_path


def _train(data, name, *, recipe=RECIPE, arch="mlp", options=OPTIONS, seeds=1):
    folders = {"stacked": data / "stacked", "prepared": data / "prepared"}
    return train_meta(
        recipe, arch=arch, options=options, seeds=seeds, folder=data / name, resume=data / f"resume-{name}", **folders
    )


def _weights(data, name):
    return (data / name / "model.safetensors").read_bytes()


@pytest.mark.parametrize("arch", ["mlp", "linear", "attention"])
def test_each_architecture_learns_and_is_loaded_as_it_was_trained(data, arch):
    losses = [epoch.record["val_loss"] for epoch in _train(data, "meta", arch=arch)]
    assert min(losses) < losses[0]
    model = load_meta(data / "meta")
    logits = torch.randn(5, 2, len(FINDINGS))
    assert not torch.allclose(apply_meta(model, logits), logits.mean(1), atol=1e-3)
    assert read_json(data / "meta" / "config.json")["arch"] == arch


def test_the_first_of_several_seeds_is_the_one_of_a_single_seed(data):
    alone, joint = list(_train(data, "alone")), list(_train(data, "joint", seeds=3))
    assert len(joint) == 3 * len(alone)
    model, single = load_meta(data / "joint"), load_meta(data / "alone")
    assert isinstance(model, MeanLogits)
    first, second, third = (member.layers[1].weight for member in model.members)
    assert torch.equal(first, single.layers[1].weight)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    history = read_json(data / "joint" / "training_history.json")
    assert history["epochs"] == read_json(data / "alone" / "training_history.json")["epochs"]
    assert [member["epochs_run"] for member in history["members"]] == [3, 3, 3]
    assert len({member["best_val_loss"] for member in history["members"]}) == 3


def test_members_of_neighbouring_seeds_are_others():
    drawn = [member_seed(seed, member) for seed in range(40, 50) for member in range(10)]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("after", [1, 3, 4, 5])
def test_an_interrupted_training_of_several_seeds_ends_in_the_same_bytes(data, after):
    list(_train(data, "whole", seeds=2))
    training = _train(data, "cut", seeds=2)
    for _ in range(after):
        next(training)
    training.close()
    list(_train(data, "cut", seeds=2))
    assert _weights(data, "cut") == _weights(data, "whole")
    assert not (data / "resume-cut").exists()
