"""The shortcut probe: it finds what age, sex, view and image size give away, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_arrays
from diagxnet.data.prepared import Labels, read_labels, read_manifest
from diagxnet.statistics.scored import read_scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.shortcuts import probe_logits, shortcut_features, shortcut_probe
from diagxnet.statistics.uncertainty import estimate
from tests.workspace import make_workspace

SEX, SIZE, NOTHING = (CHEXPERT.keys.index(key) for key in ("edema", "pneumothorax", "atelectasis"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A drawn run in which nearly all women have edema, and a pneumothorax has a larger image."""
    root = tmp_path_factory.mktemp("probed")
    make_workspace(root)
    prepared = root / "data/prepared"
    manifest = read_manifest(prepared).set_index("row")
    generator = np.random.default_rng(6)
    shapes = np.full((len(manifest), 2), (390, 320), np.int32)
    for split in ("train", "stack", "test"):
        labels = read_labels(prepared, split)
        female = (manifest["sex"].loc[labels.rows] == "female").to_numpy()
        labels.targets[:, SEX] = female ^ (generator.random(len(female)) < 0.1)
        large = labels.rows[labels.targets[:, SIZE] > 0]
        shapes[large] = (2000, 2500)
        labels.mask[:, [SEX, SIZE]] = True
        write_arrays(prepared / f"labels_{split}.npz", rows=labels.rows, targets=labels.targets, mask=labels.mask)
    np.save(root / "data/packed/shapes.npy", shapes)
    return root


@pytest.mark.parametrize("unit", ["image", "study"])
def test_the_probe_predicts_what_sex_and_size_give_away_and_no_more(world, unit):
    scoring = Scoring(unit, bootstrap=50, min_positives=5, seed=0)
    test = read_scored(world / "data", world / "models", "test", unit)
    estimates = estimate(test, resamples=50, seed=0, min_positives=5)["ensemble"]
    probe = shortcut_probe(world / "data", estimates, scoring)
    auroc = probe["shortcuts"]["auroc"]
    assert auroc["per_finding"]["edema"] > 0.8
    assert auroc["ci"]["per_finding"]["edema"]["lower"] > 0.7
    assert auroc["per_finding"]["pneumothorax"] == pytest.approx(1.0)
    assert auroc["ci"]["per_finding"]["atelectasis"]["lower"] < 0.6
    assert probe["images"] == 100
    compared = probe["ensemble_minus_shortcuts"]["auroc"]
    assert compared["per_finding"]["pneumothorax"]["difference"] <= 0
    assert compared["per_finding"]["atelectasis"]["verdict"] == "better"
    assert compared["macro"]["difference"] == pytest.approx(
        np.mean([estimates["auroc"].values[key] - auroc["per_finding"][key] for key in estimates["auroc"].headline])
    )


def test_test_labels_move_no_prediction_of_the_probe(world):
    manifest = read_manifest(world / "data/prepared").set_index("row")
    shapes = np.load(world / "data/packed/shapes.npy")
    train, test = (read_labels(world / "data/prepared", split) for split in ("train", "test"))
    learned, applied = (shortcut_features(manifest.loc[own.rows], shapes[own.rows]) for own in (train, test))
    first = probe_logits(learned, train, applied)
    one_class = CHEXPERT.keys.index("fracture")
    assert not first[:, one_class].any()
    assert first[:, SEX].std() > 0.5
    masked = Labels(train.rows, np.where(np.arange(len(CHEXPERT)) == SEX, 1 - train.targets, train.targets), train.mask)
    masked.mask[:, SEX] = False
    assert not probe_logits(learned, masked, applied)[:, SEX].any()


def test_an_unknown_age_is_a_feature_and_not_a_number_that_is_missing():
    rows = pd.DataFrame(
        {"age": [np.nan, 80.0], "sex": ["unknown", "male"], "view": ["lateral", "frontal"], "projection": ["", "PA"]}
    )
    features = shortcut_features(rows, np.array([[320, 390], [0, 0]]))
    assert np.isfinite(features).all()
    assert features[0].tolist() == [50, 0, 0, 0, 1, 0, 0, np.log(320), np.log(390)]
    assert features[1].tolist() == [80, 1, 0, 1, 0, 0, 1, 0, 0]
