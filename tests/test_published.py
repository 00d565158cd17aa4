"""Networks as Hugging Face's hub keeps them: built and loaded from its cache or a folder, built again from neither."""

import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.export import Whole, export
from diagxnet.params.member import MemberParams
from diagxnet.params.whole import read_all
from diagxnet.prediction.saliency import heat_maps
from diagxnet.training.base import train_base
from diagxnet.training.checkpoint import save_model
from diagxnet.training.networks import base_config, create_base, from_config, load_base
from diagxnet.training.pretrained import find
from diagxnet.training.published import local_state
from stages.inventory import state as state_of
from stages.recorded import MEMBERS
from tests.bad_input import RunsCode, prepare_of
from tests.conftest import ROOT
from tests.ensembles import make_models
from tests.gradients import recipe
from tests.radiographs import make_data
from tests.test_crossfit import AUGMENTATION

ARCH = "vit_tiny_patch16_224"
VIT = {"arch": ARCH, "embed_dim": 48, "depth": 3, "global_pool": "avg", "init_values": 0.1}
NETWORK = {"dropout": 0.0, "patch_size": None, "stem": "patches", "batch_norm": False}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOGITS = [f"finding {number}" for number in range(3)]


def publish(folder: Path, *, arch: str = "test_vit", **model_args: object) -> torch.nn.Module:
    """A random network of timm's, in evaluation mode, as timm writes it into `folder` for the hub."""
    torch.manual_seed(1)
    network = timm.create_model(arch, **model_args).eval()
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):  # 0 and 1 would hide one that was not loaded
            buffer.add_(torch.rand_like(buffer) * 0.1)
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    return network


def build(arch: str, **options: object) -> torch.nn.Module:
    return create_base(arch, findings=len(LOGITS), **{"image_size": 32, "pretrained": True} | NETWORK | options).eval()


def config_of(arch: str, **options: object) -> dict:
    """As it is after a while in models/."""
    own = base_config(arch, findings=LOGITS, **{"image_size": 32, "pretrained": True} | NETWORK | options)
    return json.loads(json.dumps(own))


def edit(folder: Path, **changes: object) -> None:
    write_json(folder / "config.json", read_json(folder / "config.json") | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Röntgen (1), neu"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list) -> Path:
    """The folder of owner/small's one commit in the hub's cache on this machine, without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "cache" / f"models--owner--{tmp_path.name}"
    (own / "refs").mkdir(parents=True)
    (own / "refs/main").write_text(COMMIT, encoding="utf-8")
    return own / "snapshots" / COMMIT


CASES = {
    "a ViT of other width, depth and pooling, with LayerScale": (VIT | {"img_size": 32}, 32),
    "patches of its own, other images than it was trained on": (
        {"arch": ARCH, "depth": 2, "patch_size": 8, "img_size": 32, "dynamic_img_size": True},
        64,
    ),
    "a head of as many outputs, one grey channel": (
        {"arch": "test_resnet", "in_chans": 1, "num_classes": len(LOGITS)},
        32,
    ),
    "rates that only training has": (
        {"arch": "densenet121", "growth_rate": 8, "block_config": [2, 2], "drop_rate": 0.9},
        64,
    ),
    "windows": (
        {"arch": "swin_tiny_patch4_window7_224", "img_size": 64, "window_size": 4, "depths": [1, 1], "embed_dim": 24}
        | {"num_heads": [1, 2]},
        64,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_folder_gives_the_features_of_the_network_that_was_published_under_a_new_classifier(folder, case):
    args, size = CASES[case]
    theirs = publish(folder, **args)
    edit(folder, model_args=read_json(folder / "config.json")["model_args"] | {"drop_path_rate": 0.9})
    ours = build(f"local-dir:{folder}", image_size=size, normalise=[0.4, 0.2])
    images = torch.rand(2, 1, size, size)
    with torch.inference_mode():
        seen = ((images - 0.4) / 0.2).expand(-1, args.get("in_chans", 3), -1, -1)
        expected = theirs.forward_head(theirs.forward_features(seen), pre_logits=True)
        body = ours.network
        given = body.forward_head(body.forward_features(ours.normalise(images)), pre_logits=True)
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 1e-3
    assert ours.network.get_classifier().weight.shape[0] == len(LOGITS)
    assert not ours(images).any()  # their classifier, which may have as many outputs, is not ours
    assert not [m for m in ours.modules() if 0.9 in (getattr(m, "drop_prob", 0), getattr(m, "p", 0))]


def test_what_was_trained_is_built_again_offline_and_without_the_folder(folder, tmp_path, no_network):
    publish(folder, **VIT, img_size=32, num_classes=0, dynamic_img_size=True)
    saved = read_json(folder / "config.json")
    saved["pretrained_cfg"] |= {"mean": [0.2, 0.3, 0.4], "std": [0.1, 0.2, 0.3]}
    write_json(folder / "config.json", saved)
    arch, options = f"local-dir:{folder}", {"image_size": 64, "normalise": "pretrained", "batch_norm": True}
    model, config = build(arch, **options), config_of(arch, **options)
    assert config["arch"] == ARCH
    assert config["normalise"] == [0.3, 0.2]
    assert config["model_args"].items() >= {"embed_dim": 48, "depth": 3, "init_values": 0.1}.items()
    assert str(tmp_path) not in json.dumps(config)
    save_model(tmp_path / "model", model, config, {})
    shutil.rmtree(folder)
    images = torch.rand(3, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(load_base(tmp_path / "model")(images), model(images), atol=0, rtol=0)
    assert no_network == []


def test_timms_own_names_are_kept_as_they_were():
    keys = ["arch", "image_size", "crop", "patch_size", "dropout", "stem", "batch_norm", "pretrained", "findings"]
    config = config_of("test_resnet", pretrained=False)
    assert (list(config), config["arch"]) == (keys, "test_resnet")


def test_a_repository_of_the_hub_is_built_from_its_cache_and_its_commit_is_kept(hub, tmp_path):
    publish(hub, **VIT, img_size=32)
    arch, copy = f"hf-hub:owner/{tmp_path.name}", shutil.copytree(hub, tmp_path / "copy")
    torch.manual_seed(0)
    ours = build(arch)
    torch.manual_seed(0)
    same = build(f"local-dir:{copy}")
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), same(images))
    config, of_copy = config_of(arch), config_of(f"local-dir:{copy}")
    assert config["published"] == f"{arch}@{COMMIT}"
    assert config | {"published": ""} == of_copy | {"published": ""}
    assert config_of(f"{arch}@{COMMIT}") == config


def test_without_pretrained_a_published_name_is_its_architecture_with_random_weights_and_asks_nobody(
    hub, no_network, tmp_path
):
    theirs = publish(hub, **VIT, img_size=32)
    model = build(f"hf-hub:owner/{tmp_path.name}", pretrained=False)
    assert no_network == []
    ours, theirs = model.network.state_dict(), theirs.state_dict()
    assert {name for name in ours if ours[name].shape != theirs[name].shape} == {
        "patch_embed.proj.weight", "head.weight", "head.bias"
    }  # fmt: skip
    assert not torch.equal(ours["blocks.2.attn.qkv.weight"], theirs["blocks.2.attn.qkv.weight"])


@pytest.mark.parametrize("pretrained", [False, "weights.safetensors"])
def test_the_hub_is_asked_for_a_config_only_where_pretrained_is_true(hub, no_network, tmp_path, pretrained):
    arch = f"hf-hub:owner/{tmp_path.name}"
    with pytest.raises(InputError, match=r"only pretrained: true fetches .*local-dir:FOLDER"):
        build(arch, pretrained=pretrained)
    assert no_network == []
    with pytest.raises(InputError, match=r"no config.json from the hub: .*local-dir:FOLDER") as refused:
        build(arch)
    assert "\n" not in str(refused.value)
    assert no_network


def test_weights_that_the_cache_lacks_end_in_one_line_that_names_a_folder(hub, tmp_path, no_network):
    publish(hub, **VIT)
    (hub / "model.safetensors").unlink()
    with pytest.raises(InputError, match=rf"no {ARCH} from owner/.*@{COMMIT}: .*local-dir:FOLDER") as refused:
        build(f"hf-hub:owner/{tmp_path.name}")
    assert "\n" not in str(refused.value)


def test_a_file_of_weights_is_loaded_into_the_published_architecture(folder, tmp_path):
    publish(folder, **VIT, img_size=32)
    weights = load_file(folder / "model.safetensors")
    weights["blocks.2.attn.qkv.weight"] += 1
    save_file(weights, tmp_path / "own.safetensors")
    (folder / "model.safetensors").unlink()
    network = build(f"local-dir:{folder}", pretrained=str(tmp_path / "own.safetensors")).network
    assert torch.equal(network.blocks[2].attn.qkv.weight, weights["blocks.2.attn.qkv.weight"])


def test_nothing_in_a_folder_runs_code_and_safetensors_come_first(folder, tmp_path, hub):
    for place, arch in ((folder, f"local-dir:{folder}"), (hub, f"hf-hub:owner/{tmp_path.name}")):
        theirs = publish(place, **VIT, img_size=32)
        torch.save({"head.bias": RunsCode(tmp_path / "ran")}, place / "pytorch_model.bin")
        expected = theirs.blocks[0].attn.proj.weight
        assert torch.equal(build(arch).network.blocks[0].attn.proj.weight, expected)
        (place / "model.safetensors").unlink()
        with pytest.raises(InputError, match="holds other objects beside weights, and to load them could run code"):
            build(arch)
        torch.save(theirs.state_dict(), place / "pytorch_model.bin")
        assert torch.equal(build(arch).network.blocks[0].attn.proj.weight, expected)
    assert not (tmp_path / "ran").exists()


def without(*names: str):
    return lambda folder: [(folder / name).unlink() for name in names]


BAD = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no config": (without("config.json"), "config.json is not in that folder"),
    "no weights": (
        without("model.safetensors"),
        f"no {ARCH} from .*neu: No suitable checkpoints .*copy that folder again",
    ),
    "half a config": (
        lambda folder: (folder / "config.json").write_text('{"archi', encoding="utf-8"),
        "config.json cannot be read: Unter",
    ),
    "a config of transformers": (
        lambda folder: write_json(folder / "config.json", {"architectures": ["Dinov2Model"]}),
        "names no architecture of timm .*python -m diagxnet.weights",
    ),
    "a list": (lambda folder: write_json(folder / "config.json", ["test_vit"]), "names no architecture of timm"),
    "a strange architecture": (lambda folder: edit(folder, architecture="vit_odd"), "timm knows no .*'vit_odd'"),
    "another architecture": (
        lambda folder: edit(folder, architecture="test_resnet"),
        "no test_resnet from .*neu: .*unexpected keyword argument 'embed_dim'",
    ),
    "other arguments": (
        lambda folder: edit(folder, model_args={"depth": 2}),
        f"no {ARCH} from .*neu: Error",
    ),
    "more blocks than weights": (
        lambda folder: edit(folder, model_args={**VIT, "depth": 4} | {"arch": None}),
        "nothing in them for 4 of its tensors, blocks.3.attn.qkv.weight first",
    ),
    "no heads": (
        lambda folder: edit(folder, model_args={"num_heads": 0}),
        f"no {ARCH} from .*neu: integer modulo by zero",
    ),
    "arguments in a row": (lambda folder: edit(folder, model_args=["depth"]), "config.json cannot be read"),
    "weights of elsewhere": (
        lambda folder: edit(folder, model_args={"checkpoint_path": "/etc/passwd"}),
        "model_args: checkpoint_path is no argument of a network",
    ),
    "no deviation": (
        lambda folder: edit(folder, pretrained_cfg={"mean": [0.5], "std": [0.0]}),
        "config.json cannot be read: mean",
    ),
    "no mean": (lambda folder: edit(folder, pretrained_cfg={"mean": [], "std": [0.5]}), "cannot be read: mean"),
    "a mean in words": (lambda folder: edit(folder, pretrained_cfg={"mean": "half", "std": [0.5]}), "be read: mean"),
    "an endless deviation": (
        lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text(encoding="utf-8").replace("0.5,", "Infinity,"), encoding="utf-8"
        ),
        "cannot be read: mean",
    ),
    "patches of two depths": (
        lambda folder: edit(folder, model_args=VIT | {"arch": None, "patch_size": [[8], [4]]}),
        "no vit_tiny_patch16_224 from .*neu",
    ),
    "pruned": (lambda folder: edit(folder, model_args={"pruned": True}), "pruned is no argument of a network"),
    "a record of another time": (lambda folder: edit(folder, pretrained_cfg={"moon": 1}), "config.json cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_ends_in_one_line(folder, case):
    damage, reason = BAD[case]
    publish(folder, **VIT, img_size=32)
    damage(folder)
    with pytest.raises(InputError, match=reason) as refused:
        build(f"local-dir:{folder}")
    assert "\n" not in str(refused.value)


def test_what_a_folder_says_of_the_hub_counts_for_nothing(folder, no_network):
    publish(folder, **VIT, img_size=32)
    before = find(f"local-dir:{folder}", fetch=True).origin(weights=True)
    with_hub = {"hf_hub_id": "owner/name", "url": "https://example.org/weights.pth", "custom_load": "hf"}
    edit(folder, pretrained_cfg=read_json(folder / "config.json")["pretrained_cfg"] | with_hub)
    build(f"local-dir:{folder}")
    origin = find(f"local-dir:{folder}", fetch=True).origin(weights=True)
    assert origin.startswith(f"local-dir:{folder.name}@")
    assert origin != before
    assert no_network == []


def test_the_origin_counts_weights_only_where_they_are_used(folder):
    publish(folder, **VIT, img_size=32)
    known = find(f"local-dir:{folder}", fetch=False)
    before = known.origin(weights=True), known.origin(weights=False)
    (folder / "model.safetensors").write_bytes(b"others")
    assert known.origin(weights=True) != before[0]
    assert known.origin(weights=False) == before[1] != before[0]


@pytest.mark.parametrize("name", ["drop_rate", "drop_path", "attn_drop", "proj_drop_rate", "head_dropout", "dropout"])
def test_drop_rates_are_those_of_params(folder, name):
    publish(folder, **VIT, img_size=32)
    edit(folder, model_args={"depth": 3, name: 0.9})
    assert find(f"local-dir:{folder}", fetch=False).model_args == {"depth": 3}


def test_an_unknown_tag_of_timm_is_refused():
    with pytest.raises(InputError, match=r"arch = 'densenet121\.odd'.*list_pretrained"):
        base_config("densenet121.odd", findings=LOGITS, image_size=32, pretrained=False, **NETWORK)


@pytest.mark.parametrize("arch", ["timm/resnet18", "/weights/resnet18", "hf_hub:timm/resnet18"])
def test_a_name_without_its_source_is_refused_with_both_sources(arch):
    with pytest.raises(InputError, match=r"timm knows no such model .*hf-hub:OWNER/NAME .*local-dir:FOLDER"):
        build(arch)


@pytest.mark.parametrize("alien", [{"pretrained": True}, {"checkpoint_path": "x.pth"}, ["depth"]])
def test_a_strangers_models_folder_makes_timm_load_nothing(alien, no_network):
    with pytest.raises(InputError, match="model_args"):
        from_config(config_of("test_vit", pretrained=False) | {"model_args": alien})
    assert no_network == []


def test_patches_and_stem_are_checked_by_what_the_config_says(folder):
    publish(folder, **VIT, patch_size=[8, 8], img_size=32, dynamic_img_size=True)
    arch = f"local-dir:{folder}"
    with pytest.raises(InputError, match="patches of 8 pixels do not fill images of 36"):
        build(arch, image_size=36)
    with pytest.raises(InputError, match="pretrained weights are of patches"):
        build(arch, stem="convolutions")
    assert build(arch, patch_size=4).network.patch_embed.num_patches == 64
    stem = build(arch, pretrained=False, stem="convolutions").network.patch_embed
    assert stem(torch.rand(1, 1, 32, 32)).shape == (1, 16, 48)


def test_params_take_such_names_and_know_what_they_can_of_them(tmp_path):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    params = tmp_path / "params.yaml"
    params.write_text(
        text.replace("arch: vit_tiny_patch16_224", "arch: local-dir:/gone by now/Röntgen"), encoding="utf-8"
    )
    assert read_all(params)["vit"].arch == "local-dir:/gone by now/Röntgen"
    params.write_text(
        params.read_text(encoding="utf-8").replace("pretrained: false  # as above", "pretrained: true"),
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="pretrained weights are of patches"):
        read_all(params)


def test_maps_and_onnx_are_of_the_published_network(folder, tmp_path, no_network):
    publish(folder, **VIT, patch_size=8, img_size=64, dynamic_img_size=True)
    own = NETWORK | {"arch": f"local-dir:{folder}"}
    models = make_models(tmp_path / "models", networks={"densenet": own, "vit": own | {"stem": "convolutions"}})
    shutil.rmtree(folder)
    ensemble = Ensemble.load(models, precision="fp32")
    image = torch.randint(0, 256, (32, 32), dtype=torch.uint8).numpy()
    assert heat_maps(ensemble, image, [3]).max() > 0
    export(models, tmp_path / "whole.onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(tmp_path / "whole.onnx")
    given, _ = session.run(None, {"images": image[None, None]})
    with torch.inference_mode():
        expected, _ = Whole(ensemble).eval()(torch.from_numpy(image[None, None]))
    torch.testing.assert_close(torch.from_numpy(given), expected, atol=1e-4, rtol=1e-4)
    assert no_network == []


def test_a_training_goes_on_to_the_same_bytes_unless_the_folders_files_changed(folder, tmp_path, capsys):
    publish(folder, **VIT, patch_size=8, img_size=32)
    make_data(tmp_path, train=40)
    prepare_of(tmp_path)
    own = recipe(batch_size=8, accumulation_steps=1, epochs=3, lr=1e-3, layer_decay=0.5, head_lr=1e-2, probe_epochs=1)

    def train(name: str):
        places = {"packed": tmp_path / ".packed", "prepared": tmp_path / ".prepared", "folder": tmp_path / name}
        options = NETWORK | {"arch": f"local-dir:{folder}", "pretrained": True, "normalise": "pretrained"}
        resume = {"augmentation": AUGMENTATION, "precision": "fp32", "resume": tmp_path / "resume" / name}
        return train_base("train_vit", own, **options, **places, **resume)

    list(train("whole"))
    cut = train("cut")
    next(cut)
    cut.close()
    kept = shutil.copytree(tmp_path / "resume/cut", tmp_path / "kept")
    list(train("cut"))
    for name in ("model.safetensors", "config.json", "training_history.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    shutil.copytree(kept, tmp_path / "resume/cut")
    weights = load_file(folder / "model.safetensors")
    weights["fc_norm.bias"] += 1
    save_file(weights, folder / "model.safetensors")
    capsys.readouterr()
    list(train("cut"))
    assert "of other params, data or code" in "".join(capsys.readouterr())
    one, other = (read_json(tmp_path / name / "config.json")["published"] for name in ("whole", "cut"))
    assert one.partition("@")[0] == other.partition("@")[0] == f"local-dir:{folder.name}"
    assert one != other == find(f"local-dir:{folder}", fetch=False).origin(weights=True)


def test_the_state_of_weights_on_this_machine_is_of_their_content_and_of_the_files_that_are_used(folder, tmp_path):
    assert local_state(ARCH, True) is local_state(ARCH, False) is local_state("hf-hub:owner/small", True) is None
    publish(folder, **VIT)
    own, arch = tmp_path / "own.safetensors", f"local-dir:{folder}"
    shutil.copy(folder / "model.safetensors", own)
    states = {"own": local_state(ARCH, str(own)), "shape": local_state(arch, False), "theirs": local_state(arch, True)}
    states["shape and own"] = local_state(arch, str(own))
    assert len({*states.values()}) == 4
    own.write_bytes(own.read_bytes() + b" ")
    save_file({"of another training": torch.ones(1)}, folder / "model.safetensors")
    assert local_state(ARCH, str(own)) != states["own"]
    assert local_state(arch, True) != states["theirs"]
    assert local_state(arch, False) == states["shape"]
    edit(folder, note="another")
    assert local_state(arch, False) != states["shape"]


GONE = "No such file or directory, and vit begins with its weights"


def test_weights_that_are_gone_are_those_of_the_record_where_it_is_of_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = {"arch": ARCH, "pretrained": "own.safetensors"}
    member = MemberParams(**own)
    with pytest.raises(InputError, match=GONE):
        state_of("vit", member)
    record = {"params": {"params.yaml": {"vit": own | {"epochs": 3}}, MEMBERS: {"weights.vit": "a"}}}
    further = {"params": {"params.yaml": {"more.wide": own}, MEMBERS: {"weights.wide": "b"}}}
    write_json(tmp_path / "dvc.lock", {"stages": {"train_vit": record, "train@wide": further}})
    assert state_of("vit", member) == "a"
    assert state_of("more.wide", member) == "b"
    for other in (own | {"pretrained": "other.safetensors"}, own | {"arch": "local-dir:gone"}):
        with pytest.raises(InputError, match=GONE):
            state_of("vit", MemberParams(**other))
    with pytest.raises(InputError, match="No such file"):
        state_of("more.other", member)
    (tmp_path / "own.safetensors").mkdir()
    assert state_of("vit", member) == "a"
    with pytest.raises(InputError, match=r"own.safetensors: Is a directory, and more.other begins with its weights"):
        state_of("more.other", member)
    assert state_of("vit", None) is None
    write_json(tmp_path / "dvc.lock", {"stages": {"train_vit": "x"}})
    with pytest.raises(InputError, match="not as DVC writes it"):
        state_of("vit", member)
