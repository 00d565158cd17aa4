"""Model folders with random weights, as the tests of prediction need them: small, quick to load, never trained."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.hierarchy import pairs
from diagxnet.data.members import member_folder
from diagxnet.ensemble.calibration import NOT_LEARNED, FindingCalibration, write_calibration
from diagxnet.stacking.learners import MetaLearner, create_members
from diagxnet.statistics.scored import COMBINED
from diagxnet.training.checkpoint import save_joint, save_model
from diagxnet.training.networks import base_config, create_base, member_counts, member_folders

SIZE = 32
NETWORKS = {
    "densenet": {"arch": "test_resnet", "patch_size": None, "stem": "patches", "batch_norm": False},
    "vit": {"arch": "vit_tiny_patch16_224", "patch_size": 8, "stem": "convolutions", "batch_norm": True},
}
OPTIONS = {"hidden_dim": 8, "dropout": 0.1, "init": "average", "inputs": "logits"}
NO_THRESHOLD = CHEXPERT.keys.index("fracture")


def make_models(
    folder: Path,
    *,
    folds: int | None = None,
    seeds: int = 1,
    members: int = 1,
    views: int = 1,
    networks: dict[str, dict] = NETWORKS,
    size: int = SIZE,
    seed: int = 0,
    not_learned: Sequence[str] = (),
    parents: Mapping[str, str] | None = None,
) -> Path:
    """A models folder for images of `size` pixels, its members those of `networks`; folds: of crossfit; seeds: of each;
    members: meta-learners; views: of each image; not_learned: keys of findings without a label in training; parents: of
    the findings learned given another. Fracture has no threshold."""
    models = (*networks, *COMBINED)
    torch.manual_seed(seed)
    for name in networks:
        options = {"stem": "patches"} | networks[name] | {"image_size": size, "pretrained": False, "dropout": 0.5}
        config = base_config(findings=CHEXPERT.names, **options, parents=parents)
        options["parents"] = pairs(parents or {}, CHEXPERT.keys)
        for place in itertools.chain(*member_folders(member_folder(folder, name), folds, seeds)):
            model = create_base(findings=len(CHEXPERT), **options)
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d) and module.affine:
                    torch.nn.init.normal_(module.running_mean, std=0.1)
            save_model(place, model, config, {})
        save_joint(member_folder(folder, name), config | member_counts(folds, seeds), {})
    meta = create_members("mlp", len(networks), len(CHEXPERT), members, **OPTIONS)
    for module in meta.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3)
        if isinstance(module, MetaLearner):
            drawn = np.random.default_rng(seed)
            module.set_core(drawn.uniform(0, 1, (len(networks), len(CHEXPERT))), drawn.normal(size=len(CHEXPERT)))
            module.factor.fill_(0.6)
    config = {"arch": "mlp", "options": OPTIONS, "models": list(networks), "findings": list(CHEXPERT.names)}
    save_model(folder / "meta", meta, config | {"members": members, "views": views}, {})
    drawn = np.random.default_rng(seed).uniform(0.5, 1.5, (len(models), len(CHEXPERT), 2))
    calibration = {
        model: {
            key: NOT_LEARNED
            if key in not_learned
            else FindingCalibration(*map(float, drawn[m, f]), "platt", 20, 60, _thresholds(f), (parents or {}).get(key))
            for f, key in enumerate(CHEXPERT.keys)
        }
        for m, model in enumerate(models)
    }
    write_calibration(folder / "calibration.json", calibration, "image", next(iter(networks)))
    return folder


def _thresholds(finding: int) -> dict[str, float] | None:
    return None if finding == NO_THRESHOLD else {"youden": 0.4 + 0.02 * finding, "specificity_90": 0.8}
