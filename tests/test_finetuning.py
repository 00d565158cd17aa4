"""What pretrained weights want of a training: a head with a rate of its own, a linear probe first."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.export import _logits
from diagxnet.training.checkpoint import save_model
from diagxnet.training.loop import Examples, fit
from diagxnet.training.networks import base_config, create_base, load_base, moments_of
from diagxnet.training.precision import create_accelerator
from diagxnet.training.pretrained import Architecture
from diagxnet.training.resume import ResumeState
from diagxnet.training.schedule import create_optimizer
from diagxnet.training.sources import ArraySource
from tests.gradients import recipe

SIZE, FINDINGS = 32, 3
NETWORKS = {
    "convolutions": {"arch": "test_resnet"},
    "tokens": {"arch": "test_vit", "batch_norm": True},
}


def _model(network="convolutions", **changes):
    torch.manual_seed(1)
    options = {"findings": FINDINGS, "image_size": SIZE, "dropout": 0.2, "drop_path": 0.2}
    return create_base(**(options | NETWORKS[network] | changes))


def _examples(count=21, seed=0):
    chance = np.random.default_rng(seed)
    images = torch.from_numpy(chance.random((count, 1, SIZE, SIZE), np.float32))
    targets = (chance.random((count, FINDINGS)) < 0.5).astype(np.float32)
    return Examples(ArraySource(images), targets, np.ones(targets.shape, bool))


def _recipe(**changes):
    return recipe(**({"epochs": 4, "lr": 1e-3, "scheduler": "onecycle", "batch_size": 8} | changes))


def _fit(folder: Path, own, model, count=21):
    with Progress(1, "test", shown=False) as progress:
        state = ResumeState(folder, "mark")
        splits = _examples(count), _examples(9, seed=1)
        yield from fit(model, *splits, own, accelerator=create_accelerator("fp32"), state=state, progress=progress)


def _parts(model):
    """Copies of the tensors of the head and of those of the body, by name."""
    head = {id(each) for part in model.head() for each in (*part.parameters(), *part.buffers())}
    named = [*model.named_parameters(), *model.named_buffers()]
    split = [{name: each for name, each in named if (id(each) in head) == own} for own in (True, False)]
    return [{name: each.detach().clone() for name, each in part.items()} for part in split]


def _equal(one, other):
    return {name: torch.equal(tensor, other[name]) for name, tensor in one.items()}


@pytest.mark.parametrize("layer_decay", [None, 0.5])
def test_the_head_learns_at_a_rate_of_its_own_whatever_that_of_the_rest(layer_decay):
    model = _model("tokens")
    own = recipe(layer_decay=layer_decay, head_lr=0.1, weight_decay=0.01).optimization
    groups = create_optimizer(own, model, 2e-3).param_groups
    rates = {each: group["lr"] for group in groups for each in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rates) == len(list(model.parameters()))
    head = {each for part in model.head() for each in part.parameters()}
    assert {rate for each, rate in rates.items() if each in head} == {0.1}
    decays = {each: group["weight_decay"] for group in groups for each in group["params"]}
    assert decays[model.network.head.weight] == 0.01
    assert decays[model.network.head.bias] == (0.01 if layer_decay is None else 0)
    body = {rate for each, rate in rates.items() if each not in head}
    assert body == {2e-3} if layer_decay is None else len(body) > 5
    assert max(body) == pytest.approx(2e-3 * (layer_decay or 1))  # the last block is a layer below the head


CHECKPOINTED = {"densenet121": 0.0, "test_vit": 0.1, "test_resnet": 0.1}
"""With the drop path that they take."""


@pytest.mark.parametrize("arch", CHECKPOINTED)
def test_gradient_checkpointing_gives_the_same_gradients_from_less_memory(arch):
    found = []
    for on in (False, True):
        model, kept = _model(arch=arch, drop_path=CHECKPOINTED[arch], grad_checkpointing=on).train(), []

        def keep(tensor, kept=kept):
            kept.append(tensor.nbytes)
            return tensor

        torch.manual_seed(5)  # the backward pass must draw the drop path of the forward pass
        images = torch.rand(4, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(images).square().sum()
        loss.backward()
        found.append((loss.item(), [each.grad for each in model.parameters()], sum(kept)))
    (loss, gradients, memory), (again, recomputed, less) = found
    assert loss == again
    for one, other in zip(gradients, recomputed, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6 * float(one.abs().max()))
    assert less < 0.8 * memory


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_a_sample_skips_blocks_at_the_rate_that_params_say_also_where_the_architecture_has_one_of_its_own(drop_path):
    small = {"window_size": 4, "depths": [1, 1], "embed_dim": 24, "num_heads": [1, 2]}
    model = _model(arch="swin_tiny_patch4_window7_224", drop_path=drop_path, dropout=0.0, model_args=small).train()
    images = torch.rand(8, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(5)
    assert torch.equal(model(images), model(images)) == (drop_path == 0)


def test_a_network_without_gradient_checkpointing_is_one_line(monkeypatch):
    def refuse(self, enable=True):
        assert not enable, "gradient checkpointing not supported"

    monkeypatch.setattr("timm.models.resnet.ResNet.set_grad_checkpointing", refuse)
    with pytest.raises(InputError, match=r"grad_checkpointing = true: timm has none for test_resnet \(set it to false"):
        _model(grad_checkpointing=True)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_linear_probe_leaves_the_body_as_it_was_and_afterwards_all_learns(tmp_path, network, ema):
    model = _model(network)
    head, body = _parts(model)
    assert any("running" in name for name in head) == (network == "tokens")  # the moments of a FeatureNorm
    states = []
    for _ in _fit(tmp_path, _recipe(probe_epochs=2, weight_decay=0.1, ema=ema), model):
        states.append(_parts(model))
    for own, rest in states[:2]:
        assert all(_equal(body, rest).values())
        assert not any(_equal(head, own).values())
    own, rest = states[2]
    assert not any(_equal(states[1][0], own).values())
    assert sum(_equal(body, rest).values()) == 0


def test_nothing_goes_back_through_a_frozen_body():
    model = _model()
    fixed = next(model.network.layer1.parameters()).requires_grad_(False)
    model.probe(True)
    features = []
    model.network.layer4.register_forward_hook(lambda module, given, made: features.append(made))
    logits = model.train()(torch.rand(4, 1, SIZE, SIZE))
    assert logits.requires_grad
    assert not features[0].requires_grad
    model.probe(False)
    assert model.train()(torch.rand(4, 1, SIZE, SIZE)).requires_grad
    assert features[1].requires_grad
    assert all(module.training for module in model.modules())
    assert [each for each in model.parameters() if not each.requires_grad] == [fixed]  # as timm made it


def test_the_probe_and_what_follows_have_a_whole_schedule_each(tmp_path):
    own = _recipe(epochs=5, probe_epochs=2, head_lr=0.1, batch_size=4, warmup=0.0)
    rates = [epoch.record["lr"] for epoch in _fit(tmp_path, own, _model(), count=160)]
    assert rates[0] == pytest.approx(0.1, rel=1e-2)
    assert rates[2] == pytest.approx(0.1, rel=1e-2)
    assert rates[1] == pytest.approx(0.05, rel=0.1)  # halfway
    assert rates[2] > rates[3] > rates[4]


@pytest.mark.parametrize(("probe_epochs", "ran"), [(4, 6), (8, 2)])
def test_a_probe_is_stopped_early_only_where_nothing_follows_it(tmp_path, probe_epochs, ran):
    own = _recipe(epochs=8, probe_epochs=probe_epochs, patience=1, min_delta=10.0, scheduler="constant")
    # the first epoch of each part is better than none, by infinity; no other is by 10
    assert len(list(_fit(tmp_path, own, _model()))) == ran


@pytest.mark.parametrize("stop_after", [1, 2, 3])
@pytest.mark.parametrize("scheduler", ["plateau", "onecycle"])
def test_an_interrupted_training_with_a_probe_goes_on_to_the_same_bytes(tmp_path, scheduler, stop_after):
    own = _recipe(probe_epochs=2, scheduler=scheduler, ema=0.9, layer_decay=0.5, head_lr=0.01)
    whole = _model()
    records = [epoch.record for epoch in _fit(tmp_path / "whole", own, whole)]
    training = _fit(tmp_path / "cut", own, _model())
    for _ in range(stop_after):
        next(training)
    training.close()
    resumed = _model()
    assert [epoch.record for epoch in _fit(tmp_path / "cut", own, resumed)] == records
    assert all(all(_equal(*pair).values()) for pair in zip(_parts(whole), _parts(resumed), strict=True))


IMAGENET = (0.449, 0.226)
"""Of timm's ImageNet weights, over the colours."""


@pytest.mark.parametrize(("normalise", "moments"), [("pretrained", IMAGENET), ([0.5, 0.25], (0.5, 0.25))])
def test_a_model_reads_images_as_its_weights_want_them_wherever_it_goes(tmp_path, normalise, moments):
    model, images = _model(arch="resnet10t", normalise=normalise).eval(), torch.rand(3, 1, SIZE, SIZE)
    assert moments_of(Architecture("resnet10t"), "pretrained") == IMAGENET
    names = {"findings": ["a", "b", "c"], "image_size": SIZE, "pretrained": True, "dropout": 0.0}
    network = {"patch_size": None, "stem": "patches", "batch_norm": False}
    config = base_config("resnet10t", **names, **network, normalise=normalise)
    save_model(tmp_path, model, config, {})
    with torch.inference_mode():
        expected = model.network((images - moments[0]) / moments[1])
        loaded = load_base(tmp_path)
        for logits in (model(images), loaded(images), _logits(loaded, images)):  # trained, predicted with, exported
            torch.testing.assert_close(logits, expected)
        brighter = loaded(images * 0.5 + 0.3)
        assert not torch.allclose(brighter, expected, atol=1e-3)  # exposure is seen


def test_without_moments_of_weights_a_config_says_nothing_of_them_and_exposure_is_not_seen(tmp_path):
    model, images = _model().eval(), torch.rand(3, 1, SIZE, SIZE)
    names = {"findings": ["a", "b", "c"], "image_size": SIZE, "pretrained": False, "dropout": 0.0}
    config = base_config("test_resnet", **names, patch_size=None, stem="patches", batch_norm=False)
    assert "normalise" not in config
    torch.testing.assert_close(model(images * 0.5 + 0.3), model(images), rtol=1e-3, atol=1e-4)
