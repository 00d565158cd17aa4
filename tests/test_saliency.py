"""Heat maps: they point at what raises the ensemble's logit, whichever base model it came from."""

import numpy as np
import pytest
import torch
from torch import nn

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.prediction.overlay import overlay
from diagxnet.prediction.saliency import _cells, _layer, heat_maps
from diagxnet.training.networks import BaseModel, create_base
from tests.ensembles import SIZE, make_models

SIDE = 64


class Dark(nn.Module):
    """A convolutional network whose logit of finding f grows with the brightness of quarter f of the image alone."""

    feature_info = ({"module": "stem", "reduction": 1}, {"module": "cells", "reduction": 8})

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Identity(), nn.BatchNorm2d(1)
        self.cells, self.relu = nn.AvgPool2d(8), nn.ReLU(inplace=True)

    def forward_features(self, images):
        return self.relu(self.cells(images))

    def forward_head(self, features):
        half = features.shape[-1] // 2
        quarters = [features[:, 0, y : y + half, x : x + half].mean((1, 2)) for y in (0, half) for x in (0, half)]
        return torch.stack([*quarters, *[quarters[0] * 0] * (len(CHEXPERT) - 4)], dim=1)


class Tokens(Dark):
    """The same on tokens [images, tokens, channels], without BatchNorm, as MLP-Mixer."""

    feature_info = ({"module": "stem", "reduction": 8}, {"module": "last", "reduction": 8})

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.Identity(), nn.Identity()

    def forward_features(self, images):
        return self.last(self.cells(images).flatten(2).transpose(1, 2))

    def forward_head(self, features):
        side = SIDE // 8
        return super().forward_head(features.transpose(1, 2).reshape(-1, 1, side, side))


class ChannelsLast(Tokens):
    """The same on [images, rows, columns, channels], as Swin."""

    output_fmt = "NHWC"

    def forward_features(self, images):
        return self.last(self.cells(images).permute(0, 2, 3, 1))

    def forward_head(self, features):
        return Dark.forward_head(self, features.permute(0, 3, 1, 2))


class Blend(nn.Module):
    """The weighted sum of both models' logits."""

    def __init__(self, weights) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights)[:, None])

    def forward(self, logits):
        return (logits * self.weights).sum(1)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    networks = {
        "densenet": {"arch": "densenet121", "patch_size": None, "stem": "patches", "batch_norm": False},
        "vit": {"arch": "vit_tiny_patch16_224", "patch_size": 8, "stem": "patches", "batch_norm": True},
    }
    return Ensemble.load(make_models(tmp_path_factory.mktemp("maps"), folds=2, networks=networks, size=SIDE))


def _ensemble(ensemble, weights, networks):
    base = {name: [BaseModel(each).eval()] for name, each in zip(("densenet", "vit"), networks, strict=True)}
    return Ensemble(CHEXPERT, SIDE, base, Blend(weights), ensemble.calibration, ensemble.accelerator)


@pytest.mark.parametrize("network", [Dark, Tokens, ChannelsLast])
def test_the_map_of_a_finding_lies_where_the_network_reads_it(ensemble, network):
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    maps = heat_maps(_ensemble(ensemble, [1.0, 1.0], [network(), network()]), image, [0, 1, 2, 3])
    half = SIDE // 2
    for finding, (top, left) in enumerate(((0, 0), (0, half), (half, 0), (half, half))):
        row, column = np.unravel_index(maps[finding].argmax(), maps[finding].shape)
        assert (row // half * half, column // half * half) == (top, left)
        assert maps[finding].max() == pytest.approx(1)
        rest = maps[finding].copy()
        rest[top : top + half, left : left + half] = 0
        assert rest.sum() < 0.15 * maps[finding].sum()


@pytest.mark.parametrize("prefix", [0, 1])
def test_tokens_are_told_from_a_class_token_that_comes_later(prefix):
    network = BaseModel(Tokens())
    network.network.num_prefix_tokens = 1  # as XCiT says, though its blocks have none yet
    layer = torch.arange(9.0 + prefix)[None, :, None]
    cells = _cells(network, layer, torch.ones_like(layer))
    np.testing.assert_array_equal(cells[0, 0].flatten(), np.arange(9.0) + prefix)


def test_a_layer_that_is_none_is_one_line(ensemble):
    wrong = Dark()
    wrong.feature_info = ({"module": "stem", "reduction": 1}, {"module": "block.0", "reduction": 8})
    with pytest.raises(InputError, match="no heat maps for Dark: timm does not say its layers rightly"):
        heat_maps(_ensemble(ensemble, [1.0, 1.0], [Dark(), wrong]), np.zeros((SIDE, SIDE), np.uint8), [0])


def test_each_model_weighs_as_much_as_the_meta_learner_lets_it(ensemble):
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)

    class Other(Dark):
        """Reads finding 0 in the last quarter."""

        def forward_head(self, features):
            return super().forward_head(features)[:, [3, 2, 1, 0, *range(4, len(CHEXPERT))]]

    def shares(weights):
        heat = heat_maps(_ensemble(ensemble, weights, [Dark(), Other()]), image, [0])[0]
        half = SIDE // 2
        return heat[:half, :half].sum(), heat[half:, half:].sum()

    first, last = shares([1.0, 0.05])
    assert first > 4 * last
    first, last = shares([0.05, 1.0])
    assert last > 4 * first


def test_a_finding_against_which_all_speaks_has_an_empty_map(ensemble):
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    assert heat_maps(_ensemble(ensemble, [-1.0, -1.0], [Dark(), Dark()]), image, [0]).max() == 0


def test_maps_of_densenet_and_vit_follow_the_image_and_leave_the_models_as_they_were(ensemble):
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (4, SIDE, SIDE), dtype=np.uint8)
    before = ensemble.predict(images).logits
    maps = np.stack([heat_maps(ensemble, image, [3, 5]) for image in images])
    assert maps.shape == (4, 2, SIDE, SIDE)
    assert maps.min() >= 0
    assert len({int(each.argmax()) for each in maps[:, 0]}) > 1
    np.testing.assert_array_equal(ensemble.predict(images).logits, before)
    np.testing.assert_array_equal(heat_maps(ensemble, images[0], [3, 5]), maps[0])


def test_the_layer_that_is_mapped_is_the_last_with_enough_cells():
    densenet = create_base("densenet121", findings=len(CHEXPERT), image_size=224)
    assert _layer(densenet, 224) is densenet.network.features.norm5
    assert _layer(densenet, 80) is densenet.network.features.denseblock2
    vit = create_base("vit_tiny_patch16_224", findings=len(CHEXPERT), image_size=SIZE, patch_size=8)
    assert _layer(vit, SIZE) is vit.network.blocks[-2]
    with pytest.raises(InputError, match="no heat maps for Identity"):
        _layer(BaseModel(nn.Identity()), 80)


@pytest.mark.parametrize("arch", ["convnext_atto", "mixer_s32_224", "resnet18"])
def test_other_networks_have_maps_that_follow_the_image(ensemble, arch):
    torch.manual_seed(0)
    model = create_base(arch, findings=len(CHEXPERT), image_size=SIDE).eval()
    nn.init.normal_(model.network.get_classifier().weight)  # some begin at 0
    alone = Ensemble(CHEXPERT, SIDE, {"one": [model]}, Blend([1.0]), ensemble.calibration, ensemble.accelerator)
    images = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    maps = np.stack([heat_maps(alone, image, [0, 1, 2, 3]) for image in images])
    assert maps.max() == pytest.approx(1)
    assert np.isfinite(maps).all()
    assert not np.allclose(maps[0], maps[1])


def test_an_overlay_leaves_the_radiograph_as_it_is_where_the_map_is_empty():
    radiograph = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[2, 6] = 1
    drawn = overlay(radiograph, heat)
    np.testing.assert_array_equal(drawn[16:, :16], np.repeat(radiograph[16:, :16, None], 3, 2))
    changed = np.abs(drawn.astype(int) - radiograph[..., None]).sum(2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert (row // 4, column // 4) == (2, 6)
