"""Base models and meta-learners: what goes in, what comes out, and whose weights they are."""

import logging
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.params.meta import ARCHS, NETWORKS
from diagxnet.stacking.learners import MetaMLP, apply_meta, create_meta, load_meta
from diagxnet.training.checkpoint import load_model, save_model
from diagxnet.training.mean import MeanLogits
from diagxnet.training.networks import base_config, create_base, from_config

CONFIG = {"arch": "mlp", "options": {"hidden_dim": 8}, "models": ["densenet", "vit"], "members": 1}
CONFIG["findings"] = list(CHEXPERT.names)
TINY = {"arch": "vit_tiny_patch16_224", "findings": len(CHEXPERT), "image_size": 32, "patch_size": 16}


def test_a_base_model_reads_one_grey_channel_and_gives_one_logit_per_finding():
    for options in (TINY, {"arch": "densenet121", "findings": len(CHEXPERT), "image_size": 64}):
        size = options["image_size"]
        assert create_base(**options).eval()(torch.rand(2, 1, size, size)).shape == (2, len(CHEXPERT))


def test_convolutions_with_batch_norm_are_channels_last_and_a_plain_transformer_is_not():
    for options, expected in (
        ({"arch": "densenet121", "findings": len(CHEXPERT), "image_size": 32}, True),
        (TINY | {"stem": "convolutions"}, True),
        (TINY, False),
    ):
        model = create_base(**options)
        kernels = [each for each in model.parameters() if each.dim() == 4 and min(each.shape[1:]) > 1]
        assert {each.is_contiguous(memory_format=torch.channels_last) for each in kernels} <= {expected}
        assert model.has_batch_norm_2d == expected


def test_logits_computed_in_bf16_are_not_rounded_to_bf16():
    model = create_base(**TINY).eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.rand(64, 1, 32, 32))
    assert logits.dtype == torch.float32
    assert (logits != logits.bfloat16().float()).float().mean() > 0.9


def test_an_image_of_another_exposure_or_contrast_gives_the_same_logits():
    model, image = create_base(**TINY).eval(), torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(model(image), model(0.4 * image + 0.3), atol=1e-4)
        assert not torch.allclose(model(image), model(image.flip(-1)), atol=1e-3)


def test_an_image_of_a_single_value_gives_finite_logits():
    with torch.inference_mode():
        assert create_base(**TINY).eval()(torch.full((2, 1, 32, 32), 0.5)).isfinite().all()


def test_batch_norm_takes_what_all_images_share_from_a_transformers_features():
    torch.manual_seed(0)
    plain, normed = create_base(**TINY), create_base(**TINY, batch_norm=True)
    images = torch.rand(16, 1, 32, 32)
    features = {}
    for name, model in (("plain", plain), ("normed", normed)):
        model.network.head.register_forward_pre_hook(
            lambda _, given, name=name: features.update({name: given[0].detach()})
        )
        model.train()(images)
    shared = {name: float(value.mean(0).norm() / value.norm(dim=1).mean()) for name, value in features.items()}
    assert shared["plain"] > 0.5
    assert shared["normed"] < 1e-3


def test_batch_norm_trains_on_a_batch_of_one_image_by_the_running_moments():
    model, image = create_base(**TINY, batch_norm=True), torch.rand(1, 1, 32, 32)
    model.train()(torch.rand(4, 1, 32, 32))
    assert torch.allclose(model.train()(image), model.eval()(image), atol=1e-5)


def test_a_convolutional_stem_makes_as_many_tokens_as_patches_and_sees_across_their_borders():
    options = {**TINY, "image_size": 64, "patch_size": 16}
    image = torch.rand(1, 1, 64, 64, requires_grad=True)
    reached = {}
    for stem in ("patches", "convolutions"):
        embed = create_base(**options, stem=stem).eval().network.patch_embed
        tokens = embed(image)
        assert tokens.shape == (1, 16, 192)
        (gradient,) = torch.autograd.grad(tokens[0, 5].sum(), image)  # of the second patch of the second row
        reached[stem] = gradient[0, 0].abs() > 0
    assert not reached["patches"][:16].any()
    assert reached["convolutions"][1:16].any()
    assert not reached["convolutions"][32:].any()


def test_a_base_model_with_a_convolutional_stem_loads_to_the_same_logits(tmp_path):
    options = {**TINY, "stem": "convolutions", "batch_norm": True, "dropout": 0.0}
    model = create_base(**options)
    model.train()(torch.rand(4, 1, 32, 32))
    save_model(tmp_path, model, base_config(**options | {"findings": CHEXPERT.names}, pretrained=False), {"epochs": []})
    images = torch.rand(3, 1, 32, 32)
    assert torch.equal(load_model(tmp_path, from_config)(images), model.eval()(images))


def save_wrapped(state: dict, path: Path) -> None:
    torch.save({"state_dict": state, "epoch": 3}, path)


@pytest.mark.parametrize(
    ("arch", "name", "save"),
    [
        ("resnet10t", "weights.safetensors", save_file),
        ("vit_tiny_patch16_224", "weights.safetensors", save_file),
        ("resnet10t", "weights.pth", torch.save),
        ("vit_tiny_patch16_224", "checkpoint.pt", save_wrapped),
    ],
)
def test_weights_of_a_local_file_are_loaded_summed_over_colours_under_a_new_classifier(tmp_path, arch, name, save):
    torch.manual_seed(5)
    source = timm.create_model(arch, num_classes=1000)
    save(source.state_dict(), tmp_path / name)
    model = create_base(arch, findings=len(CHEXPERT), image_size=224, pretrained=str(tmp_path / name)).network
    first = "conv1.0.weight" if arch == "resnet10t" else "patch_embed.proj.weight"
    ours, theirs = model.state_dict(), source.state_dict()
    assert torch.allclose(ours[first], theirs[first].sum(1, keepdim=True), atol=1e-6)
    equal = {name: torch.equal(ours[name], theirs[name]) for name in ours if ours[name].shape == theirs[name].shape}
    assert all(equal.values())
    assert len(equal) > len(ours) - 4
    assert model.get_classifier().out_features == len(CHEXPERT)


@pytest.mark.parametrize("arch", ["test_efficientnet", "deit_tiny_distilled_patch16_224"])
def test_under_pretrained_weights_all_images_begin_at_even_odds(tmp_path, arch):
    save_file(timm.create_model(arch).state_dict(), tmp_path / "weights.safetensors")
    images = torch.rand(2, 1, 32, 32)
    for pretrained in (str(tmp_path / "weights.safetensors"), False):
        model = create_base(arch, findings=3, image_size=32, pretrained=pretrained)
        for mode in (True, False):
            assert model.train(mode)(images).any() != bool(pretrained)


def test_weights_of_another_architecture_stop_the_run(tmp_path):
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="these are no weights of vit_tiny_patch16_224"):
        create_base(**TINY, pretrained=str(tmp_path / "other.safetensors"))


def test_a_file_of_weights_that_is_not_there_stops_the_run():
    with pytest.raises(InputError, match=r"pretrained = 'gone.safetensors': no such file"):
        create_base(**TINY, pretrained="gone.safetensors")


def test_a_hub_that_cannot_be_reached_ends_in_one_line_that_names_the_file_option(monkeypatch, caplog):
    def unreachable(*args, **options):
        logging.getLogger("huggingface_hub").warning("a page of retries")
        raise OSError("[Errno -2] Name or service not known\nand more")

    monkeypatch.setattr(timm.models._builder, "load_pretrained", unreachable)
    with (
        caplog.at_level("WARNING"),
        pytest.raises(InputError, match=r"hub gave no weights for .*give the path of a file of weights") as caught,
    ):
        create_base(**TINY, pretrained=True)
    assert "\n" not in str(caught.value)
    assert not caplog.records


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "densnet121", "image_size": 64}, "timm knows no such model"),
        ({"arch": "vit_tiny_patch16_224", "image_size": 40}, "patches of 16 pixels do not fill images of 40"),
        ({"arch": "densenet121", "image_size": 64, "patch_size": 8}, "densenet121 has none to choose"),
        ({"arch": "densenet121", "image_size": 64, "batch_norm": True}, "densenet121 has no place for it"),
        (
            {"arch": "densenet121", "image_size": 64, "stem": "convolutions"},
            "is no plain vision transformer",
        ),
        (
            {**TINY, "image_size": 36, "patch_size": 12, "stem": "convolutions"},
            "patch_size of 2, 4, 8, 16, 32 or 64, not 12",
        ),
        ({**TINY, "stem": "convolutions", "pretrained": True}, "pretrained weights are of patches"),
        (
            {"arch": "nest_tiny", "image_size": 90},
            "'nest_tiny': timm builds none for images of 90 pixels: `patch_size` must divide",
        ),
        (
            {"arch": "vit_base_r50_s16_224", "image_size": 64, "stem": "convolutions"},
            "patch_size of 2, .*, not null",
        ),
        ({"arch": "densenet121.foo", "image_size": 64}, "Invalid pretrained tag"),
        ({"arch": "crossvit_tiny_240", "image_size": 240}, "gives no logits for images of 240 pixels"),
        ({"arch": "deit_tiny_distilled_patch16_224", "image_size": 32, "batch_norm": True}, "passes it by"),
        (
            {"arch": "levit_128s", "image_size": 90},
            "'levit_128s': gives no logits for images of 90 pixels as set here: The size of tensor",
        ),
    ],
)
def test_an_architecture_that_cannot_be_is_refused_by_name(options, message):
    with pytest.raises(InputError, match=message):
        create_base(**{"findings": 2} | options)


@pytest.mark.parametrize("arch", ["mixer_s32_224", "swin_tiny_patch4_window7_224", "test_vit"])
def test_an_architecture_of_one_image_size_is_built_for_the_size_that_is_asked_for(arch):
    model = create_base(arch, findings=len(CHEXPERT), image_size=64)
    assert model.training
    assert model.eval()(torch.rand(1, 1, 64, 64)).shape == (1, len(CHEXPERT))


def test_a_saved_base_model_loads_to_the_same_logits_in_evaluation_mode(tmp_path):
    model = create_base(**TINY).eval()
    config = base_config(
        **TINY | {"findings": CHEXPERT.names}, pretrained=False, dropout=0.0, stem="patches", batch_norm=False
    )
    save_model(tmp_path, model, config, {"epochs": []})
    loaded = load_model(tmp_path, from_config)
    images = torch.rand(3, 1, 32, 32)
    assert not loaded.training
    assert torch.equal(loaded(images), model(images))


def test_equal_weights_are_saved_as_equal_bytes(tmp_path):
    model = create_base(**TINY)
    for name in ("a", "b"):
        save_model(tmp_path / name, model, {}, {})
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "config", "other"])
def test_a_damaged_model_folder_is_refused_with_what_to_do(tmp_path, damage):
    model = MetaMLP(2, len(CHEXPERT), 8)
    save_model(tmp_path, model, CONFIG, {})
    weights = tmp_path / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-10])
    if damage == "config":
        (tmp_path / "config.json").write_text("{", encoding="utf-8")
    if damage == "other":
        save_model(tmp_path, MetaMLP(2, len(CHEXPERT), 16), CONFIG, {})
    with pytest.raises(InputError, match=r"this is no model of ours.*run dvc repro"):
        load_meta(tmp_path)


@pytest.mark.parametrize("inputs", ["logits", "probabilities"])
@pytest.mark.parametrize("arch", NETWORKS)
def test_a_meta_learner_starts_at_the_mean_of_the_base_logits(arch, inputs):
    logits = torch.randn(5, 2, len(CHEXPERT))
    options = {"hidden_dim": 16, "inputs": inputs}
    torch.testing.assert_close(
        apply_meta(create_meta(arch, 2, len(CHEXPERT), init="average", **options), logits), logits.mean(1)
    )
    assert not torch.allclose(
        apply_meta(create_meta(arch, 2, len(CHEXPERT), init="random", **options), logits), logits.mean(1), atol=0.1
    )


@pytest.mark.parametrize("arch", NETWORKS)
def test_a_meta_learner_that_starts_at_the_average_can_leave_it(arch):
    model = create_meta(arch, 2, len(CHEXPERT), hidden_dim=16, dropout=0.0, init="average")
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    logits, targets = torch.randn(64, 2, len(CHEXPERT)), torch.zeros(64, len(CHEXPERT))
    start = F.binary_cross_entropy_with_logits(model(logits), targets).item()
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(logits), targets)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * start


def test_a_random_start_has_no_weights_beside_the_network():
    guide = create_meta("mlp", 2, len(CHEXPERT), hidden_dim=256, init="random")
    assert (
        sum(parameter.numel() for parameter in guide.parameters()) == 28 * 256 + 256 + 256 * 128 + 128 + 128 * 14 + 14
    )


def test_the_linear_meta_learner_weighs_each_findings_own_logits():
    model = create_meta("linear", 2, len(CHEXPERT), init="random")
    logits = torch.randn(3, 2, len(CHEXPERT))
    expected = [
        sum(float(model.slopes[base, 4] * row[base, 4]) for base in range(2)) + float(model.intercepts[4])
        for row in logits
    ]
    torch.testing.assert_close(apply_meta(model, logits)[:, 4], torch.tensor(expected))


def test_attention_sees_the_other_findings_and_tells_the_models_apart():
    torch.manual_seed(0)
    model = create_meta("attention", 2, len(CHEXPERT), hidden_dim=16, init="random")
    logits = torch.randn(4, 2, len(CHEXPERT))
    other, swapped = logits.clone(), logits.flip(1)
    other[:, :, 3] += 2
    assert not torch.allclose(apply_meta(model, other)[:, 9], apply_meta(model, logits)[:, 9], atol=1e-4)
    assert not torch.allclose(apply_meta(model, swapped), apply_meta(model, logits), atol=1e-4)


def test_probabilities_go_in_where_they_are_asked_for():
    model = create_meta("linear", 2, len(CHEXPERT), init="random", inputs="probabilities")
    logits = torch.randn(3, 2, len(CHEXPERT))
    expected = (logits.sigmoid() * model.slopes).sum(1) + model.intercepts
    torch.testing.assert_close(apply_meta(model, logits), expected)


def test_members_are_loaded_as_the_mean_of_their_logits(tmp_path):
    members = [create_meta("mlp", 2, len(CHEXPERT), hidden_dim=8, init="random") for _ in range(3)]
    save_model(
        tmp_path, MeanLogits(members), CONFIG | {"members": 3, "options": {"hidden_dim": 8, "init": "random"}}, {}
    )
    logits = torch.randn(5, 2, len(CHEXPERT))
    expected = torch.stack([apply_meta(member, logits) for member in members]).mean(0)
    torch.testing.assert_close(apply_meta(load_meta(tmp_path), logits), expected)


def test_the_meta_learner_has_the_guides_layers_and_can_leave_the_average():
    model = create_meta("mlp", 2, len(CHEXPERT), hidden_dim=256, dropout=0.2, init="average")
    assert [layer.out_features for layer in model.layers if hasattr(layer, "out_features")] == [256, 128, 14]
    model(torch.randn(4, 2, len(CHEXPERT))).square().sum().backward()
    assert model.layers[-1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("arch", ARCHS)
def test_the_ensemble_is_its_core_and_the_factors_part_of_the_correction(arch):
    torch.manual_seed(0)
    model = create_meta(arch, 2, len(CHEXPERT), hidden_dim=8, init="average")
    weights, offsets = np.random.default_rng(0).random((2, len(CHEXPERT))), np.arange(len(CHEXPERT)) / 10
    model.set_core(weights, offsets)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    logits = torch.randn(3, 2, len(CHEXPERT))
    core = (logits.numpy() * weights).sum(1) + offsets
    whole = apply_meta(model, logits).numpy()
    model.factor.fill_(0.2)
    np.testing.assert_allclose(apply_meta(model, logits), core + 0.2 * (whole - core), atol=1e-5)
    assert (np.abs(whole - core).max() > 0.1) == (arch != "convex")


def test_the_order_of_findings_is_chexperts():
    assert CHEXPERT.names[0] == "No Finding"
    assert CHEXPERT.names[-1] == "Support Devices"
    assert np.argmax([finding == "Edema" for finding in CHEXPERT.names]) == 5
