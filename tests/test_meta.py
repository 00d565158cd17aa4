"""Training of the meta-learner: its architectures, its seeds, and what an interruption costs."""

import numpy as np
import pandas as pd
import pytest
import torch

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_arrays, read_json, write_arrays
from diagxnet.data.folds import read_draws, write_draws
from diagxnet.data.prepared import COLUMNS, write_findings
from diagxnet.features.stacked import read_stacked, write_stacked
from diagxnet.params.meta import NETWORKS
from diagxnet.stacking.learners import apply_meta, load_meta
from diagxnet.stacking.train import read_splits, train_meta
from diagxnet.training.auroc import macro_auroc
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
    write_findings(tmp_path / "prepared", CHEXPERT)
    manifest = []
    for split, images in (("stack", 80), ("val", 40)):
        rows = np.arange(images) + len(manifest)
        manifest += [{"row": row, "split": split, "patient": f"{split}{row // 2}"} for row in rows]
        targets = (generator.random((images, len(CHEXPERT))) < 0.4).astype(np.float32)
        logits = {
            name: (generator.normal(size=targets.shape) + gain * targets).astype(np.float32)
            for name, gain in (("densenet", 0.2), ("vit", 2.0))
        }
        write_stacked(tmp_path / "stacked", split, rows, logits)
        mask = generator.random(targets.shape) < 0.9
        write_arrays(tmp_path / "prepared" / f"labels_{split}.npz", rows=rows, targets=targets, mask=mask)
    write_manifest(tmp_path / "prepared", manifest)
    return tmp_path


def write_manifest(folder, rows):
    """manifest.csv of `rows`, dicts of some of its columns."""
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "manifest.csv", index=False)


def _train(data, name, *, recipe=RECIPE, arch="mlp", options=OPTIONS, **others):
    folders = {"stacked": data / "stacked", "prepared": data / "prepared"}
    return train_meta(
        recipe,
        arch=arch,
        options=options,
        folder=data / name,
        left_out=data / f"{name}.npz",
        resume=data / f"resume-{name}",
        **folders,
        **others,
    )


def _weights(data, name):
    return (data / name / "model.safetensors").read_bytes()


@pytest.mark.parametrize("arch", NETWORKS)
def test_each_architecture_learns_and_is_loaded_as_it_was_trained(data, arch):
    losses = [epoch.record["val_loss"] for epoch in _train(data, "meta", arch=arch)]
    assert min(losses) < losses[0]
    model = load_meta(data / "meta")
    logits = torch.randn(5, 2, len(CHEXPERT))
    assert not torch.allclose(apply_meta(model, logits), logits.mean(1), atol=1e-3)
    assert read_json(data / "meta" / "config.json")["arch"] == arch


@pytest.mark.parametrize("arch", ["convex", "mlp"])
def test_the_better_member_has_the_greater_weight_and_the_record_says_how_much(data, arch, capsys):
    list(_train(data, "meta", arch=arch))
    made = read_json(data / "meta" / "config.json")["combination"]
    weights = [[made["core"]["weights"][name][key] for key in CHEXPERT.keys] for name in ("densenet", "vit")]
    assert np.mean(weights[1]) > 0.7
    np.testing.assert_allclose(np.sum(weights, axis=0), 1)
    assert made["on_val"]["best_member"]["model"] == "vit"
    assert not made["on_val"]["best_member"]["behind"]
    assert made["on_val"]["average"]["auroc"] > 0.05
    said = capsys.readouterr().out
    assert f"densenet {np.mean(weights[0]):.2f} ({np.min(weights[0]):.2f} to {np.max(weights[0]):.2f}), vit" in said
    assert ("correction enters with factor" in said) == (arch == "mlp")
    model = load_meta(data / "meta")
    assert float(model.factor) == (1 if arch == "convex" else made["correction"]["factor"])


@pytest.mark.parametrize("arch", ["convex", "mlp"])
def test_what_it_says_of_val_without_the_patients_is_written_and_is_what_it_stands_on(data, arch):
    list(_train(data, "meta", arch=arch))
    left_out, labels = read_arrays(data / "meta.npz"), read_arrays(data / "prepared/labels_val.npz")
    stacked = read_stacked(data / "stacked", "val").logits
    assert left_out["rows"].tolist() == labels["rows"].tolist()
    known = labels["targets"], labels["mask"]
    lead = macro_auroc(left_out["logits"], *known) - macro_auroc(stacked.mean(1), *known)
    made = read_json(data / "meta" / "config.json")["combination"]
    assert lead == pytest.approx(made["on_val"]["average"]["auroc"], abs=1e-3)
    fitted = apply_meta(load_meta(data / "meta"), torch.from_numpy(stacked)).numpy()
    assert np.abs(fitted - left_out["logits"]).max() > 1e-4


def test_without_a_network_there_is_one_epoch_and_the_bytes_are_always_the_same(data):
    (epoch,) = _train(data, "first", arch="convex", seeds=3)
    assert epoch.record["val_auroc"] > 0.8
    list(_train(data, "second", arch="convex"))
    assert _weights(data, "first") == _weights(data, "second")
    assert read_json(data / "first/training_history.json")["epochs"] == [epoch.record]
    assert read_json(data / "first/config.json") == read_json(data / "second/config.json")


def test_a_random_start_has_no_core_and_says_when_it_is_behind(data, capsys):
    list(_train(data, "meta", options=OPTIONS | {"init": "random"}, recipe=recipe_of(batch_size=16, lr=1e-6)))
    made = read_json(data / "meta" / "config.json")["combination"]
    assert made["core"] is None
    assert made["correction"] is None
    assert made["on_val"]["average"]["behind"]
    assert "the ensemble is behind the plain average on val: macro AUROC -0." in capsys.readouterr().out


def test_a_val_patient_has_no_hand_in_the_figures_of_val(data):
    """Members that know nothing, of which the one that is lucky on val is no better than the others there."""
    chance = np.random.default_rng(1)
    for split, images in (("stack", 80), ("val", 40)):
        first = 0 if split == "stack" else 80
        noise = {name: chance.normal(size=(images, len(CHEXPERT))).astype(np.float32) for name in ("a", "b", "c")}
        write_stacked(data / "stacked", split, np.arange(first, first + images), noise)
    list(_train(data, "meta", arch="convex"))
    assert read_json(data / "meta" / "config.json")["combination"]["on_val"]["average"]["auroc"] < 0.03


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


def test_under_crossfit_the_weights_are_those_that_suit_means_of_folds_whatever_each_folds_offset(tmp_path):
    """Each fold's model of the first member errs by itself, so the mean of five is better than any one of them: its
    best weight is 0.42 for the out-of-fold logits, and 0.58 for the means."""
    chance = np.random.default_rng(0)
    images, findings = 1500, len(CHEXPERT)
    targets = (chance.random((2, images, findings)) < 0.3).astype(np.float32)
    first, second = (targets * 1.5 + chance.normal(size=targets.shape) for _ in range(2))
    own = {"stack": 1.5, "val": 0.3}  # variance that models of a fold have each, and their mean
    (tmp_path / "prepared").mkdir()
    write_findings(tmp_path / "prepared", CHEXPERT)
    patients = np.array([f"patient{number // 2}" for number in range(2 * images)], object)
    rows = np.split(np.arange(2 * images), 2)
    write_draws(tmp_path / "prepared", rows[0], patients[:images], 1)
    offsets = 2 * chance.normal(size=(5, findings))[read_draws(tmp_path / "prepared").folds(5)]
    second = second + 0.9 * chance.normal(size=second.shape)
    for place, split in enumerate(("stack", "val")):
        noisy = first[place] + np.sqrt(own[split]) * chance.normal(size=first[place].shape)
        logits = {"densenet": noisy + (offsets if split == "stack" else 0), "vit": second[place]}
        logits = {name: values.astype(np.float32) for name, values in logits.items()}
        write_stacked(tmp_path / "stacked", split, rows[place], logits)
        labels = {"rows": rows[place], "targets": targets[place], "mask": np.ones(targets[place].shape, bool)}
        write_arrays(tmp_path / "prepared" / f"labels_{split}.npz", **labels)
    write_arrays(tmp_path / "prepared/labels_train.npz", **{key: values[:0] for key, values in labels.items()})
    manifest = pd.DataFrame({"row": np.arange(2 * images), "split": np.repeat(["stack", "val"], images)})
    write_manifest(tmp_path / "prepared", manifest.assign(patient=patients))
    list(_train(tmp_path, "meta", arch="convex", folds=5))
    slopes = load_meta(tmp_path / "meta").weights.numpy()
    best = (1 + 0.81) / (1 + 0.81 + 1 + own["val"])  # signals are equal: by the inverse of the variance
    assert (slopes[0] / slopes.sum(0)).mean() == pytest.approx(best, abs=0.03)
    _, stack, _ = read_splits(tmp_path / "stacked", tmp_path / "prepared", 5)
    raw = read_stacked(tmp_path / "stacked", "stack").logits
    centred, given = (macro_auroc(each[:, 0], stack.labels.targets, stack.labels.mask) for each in (stack.logits, raw))
    assert centred > given + 0.04
    np.testing.assert_allclose(stack.logits.mean(0), raw.mean(0), atol=1e-4)


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
