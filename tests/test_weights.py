"""Weights in the names of others: each tensor finds its place, and what does not is refused."""

import re

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file

from diagxnet.console.errors import InputError
from diagxnet.training.networks import create_base
from diagxnet.weights import convert, main

VIT, EFFICIENT = "vit_tiny_patch16_224", "tf_efficientnet_lite0"


def random_network(arch):
    torch.manual_seed(0)
    network = timm.create_model(arch).eval()
    for buffer in network.buffers():  # moments of 0 and 1 would hide one taken for another
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return network


def as_hugging_face(state):
    """A timm ViT's tensors as transformers writes them: query, key and value apart, and a pooler."""
    rules = (
        (r"^cls_token", "vit.embeddings.cls_token"),
        (r"^pos_embed", "vit.embeddings.position_embeddings"),
        (r"^patch_embed\.proj", "vit.embeddings.patch_embeddings.projection"),
        (r"^blocks\.(\d+)\.attn\.proj", r"vit.encoder.layer.\1.attention.output.dense"),
        (r"^blocks\.(\d+)\.norm1", r"vit.encoder.layer.\1.layernorm_before"),
        (r"^blocks\.(\d+)\.norm2", r"vit.encoder.layer.\1.layernorm_after"),
        (r"^blocks\.(\d+)\.mlp\.fc1", r"vit.encoder.layer.\1.intermediate.dense"),
        (r"^blocks\.(\d+)\.mlp\.fc2", r"vit.encoder.layer.\1.output.dense"),
        (r"^norm\.", "vit.layernorm."),
    )
    found = {"vit.pooler.dense.weight": torch.zeros(2, 2)}
    for name, tensor in state.items():
        if match := re.match(r"blocks\.(\d+)\.attn\.qkv\.(\w+)", name):
            for part, own in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[f"vit.encoder.layer.{match[1]}.attention.attention.{part}.{match[2]}"] = own
        elif not name.startswith("head."):
            for pattern, theirs in rules:
                name = re.sub(pattern, theirs, name)
            found[name] = tensor
    return found


def as_efficientnet_pytorch(network):
    """A timm EfficientNet's tensors as EfficientNet-PyTorch numbers and names them."""
    blocks = [f"blocks.{stage}.{place}" for stage, own in enumerate(network.blocks) for place in range(len(own))]
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    expanded = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    expanded |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    found = {}
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            own = expanded if hasattr(network.blocks[int(parts[1])][int(parts[2])], "conv_pwl") else plain
            name = ".".join(["_blocks", str(blocks.index(".".join(parts[:3]))), own[parts[3]], *parts[4:]])
        else:
            name = ".".join([top[parts[0]], *parts[1:]])
        found[name] = tensor
    return found


def assert_same(converted, network, heads):
    state = {name: own for name, own in network.state_dict().items() if not name.startswith(heads)}
    assert sorted(converted) == sorted(state)
    for name, tensor in state.items():
        assert converted[name].equal(tensor), name


def test_names_of_hugging_face():
    network = random_network(VIT)
    converted, naming, left = convert(as_hugging_face(network.state_dict()), VIT)
    assert naming == "Hugging Face"
    assert left == ["pooler.dense.weight"]
    assert_same(converted, network, "head.")


def test_names_of_efficientnet_pytorch():
    network = random_network(EFFICIENT)
    converted, naming, left = convert(as_efficientnet_pytorch(network), EFFICIENT)
    assert naming == "EfficientNet-PyTorch"
    assert left == ["classifier.weight", "classifier.bias"]
    assert_same(converted, network, "classifier.")


def test_names_of_torchvisions_vit_give_its_features():
    theirs = torchvision.models.VisionTransformer(224, 16, 12, 3, 192, 768).eval()
    converted, naming, _ = convert(theirs.state_dict(), VIT)
    network = timm.create_model(VIT).eval()
    network.load_state_dict(converted, strict=False)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        tokens = torch.cat([theirs.class_token, theirs._process_input(images)], dim=1)
        torch.testing.assert_close(network.forward_features(images), theirs.encoder(tokens), atol=1e-5, rtol=1e-5)
    assert naming == "torchvision's ViT"


def test_old_names_of_densenet_in_a_wrapper_and_the_thresholds_of_torchxrayvision():
    network = random_network("densenet121")
    old = {re.sub(r"\.(norm|conv)(\d)\.", r".\1.\2.", name): own for name, own in network.state_dict().items()}
    old = {name.replace("features.conv.0.", "features.conv0."): own for name, own in old.items()}
    wrapped = {
        "epoch": 3,
        "state_dict": {f"module.{name}": own for name, own in old.items()} | {"op_threshs": old["classifier.bias"]},
    }
    converted, _, left = convert(wrapped, "densenet121")
    assert left == ["classifier.weight", "classifier.bias", "op_threshs"]
    assert_same(converted, network, "classifier.")


def test_a_masked_autoencoders_decoder_is_left_out():
    network = random_network(VIT)
    state = {name: own for name, own in network.state_dict().items() if not name.startswith("head.")}
    converted, _, left = convert(
        {"model": state | {"mask_token": torch.zeros(1), "decoder_pred.bias": torch.zeros(1)}}, VIT
    )
    assert left == ["mask_token", "decoder_pred.bias"]
    assert_same(converted, network, "head.")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("blocks.3.norm1.bias"), "1 of its tensors are not in them, blocks.3.norm1.bias first"),
        (
            lambda state: state.update(adapter=torch.zeros(2)),
            "1 tensors of the file belong nowhere in .*, adapter first",
        ),
        (lambda state: state.update({"norm.bias": torch.zeros(7)}), r"norm.bias is \[7\], and vit_.* has \[192\]"),
        (lambda state: state.clear(), "no tensors are in the file"),
    ],
)
def test_what_does_not_fit_is_refused(change, reason):
    state = random_network(VIT).state_dict()
    change(state)
    with pytest.raises(InputError, match=reason):
        convert(state, VIT)


def test_the_command_writes_what_a_member_takes(tmp_path, capsys):
    network = random_network(EFFICIENT)
    given, out = tmp_path / "their weights.pth", tmp_path / "weights.safetensors"
    torch.save(as_efficientnet_pytorch(network), given)
    assert main([str(given), "--arch", EFFICIENT, "--out", str(out)]) == 0
    assert "EfficientNet-PyTorch" in capsys.readouterr().out
    model = create_base(EFFICIENT, findings=3, image_size=64, pretrained=str(out)).network
    assert_same(load_file(out), network, "classifier.")
    own, theirs = model.state_dict(), network.state_dict()
    torch.testing.assert_close(own["conv_stem.weight"], theirs["conv_stem.weight"].sum(1, keepdim=True))
    assert own["blocks.6.0.bn3.running_var"].equal(theirs["blocks.6.0.bn3.running_var"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no file of weights"),
        (b"PK\x03\x04 not weights", "is no file of weights"),
        (None, "no such file"),
    ],
)
def test_a_file_of_no_weights_is_one_line(tmp_path, capsys, content, reason):
    given = tmp_path / "given.pth"
    if content is not None:
        given.write_bytes(content)
    assert main([str(given), "--arch", VIT, "--out", str(tmp_path / "out.safetensors")]) == 1
    assert main([str(given), "--arch", VIT, "--out", str(tmp_path / "out.pth")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert reason in lines[0]
    assert "must end in .safetensors" in lines[1]
    assert len(lines) == 2


def test_a_whole_pickled_model_is_refused_and_its_mend_named(tmp_path, capsys):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    assert main([str(tmp_path / "model.pt"), "--arch", VIT, "--out", str(tmp_path / "out.safetensors")]) == 1
    assert "could run code" in capsys.readouterr().err
