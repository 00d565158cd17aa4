"""Brings published weights into timm's names, so that a member's `pretrained` can take them.

    python -m diagxnet.weights FILE --arch tf_efficientnet_lite0 --out weights.safetensors

Reads safetensors, or what torch.save wrote of weights alone: nothing in a file can run code. Knows the names of timm,
torchvision, torchxrayvision's DenseNet, MAE and DINOv2, Hugging Face's ViT and DINOv2 (RAD-DINO), and
EfficientNet-PyTorch. Every tensor of the architecture but its classifier must be in the file; what else is in the file
is listed, and refused where nobody said that it is no part of the network.
"""

import argparse
import pickle
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diagxnet.console.commands import run_command
from diagxnet.console.errors import InputError, one_line
from diagxnet.data.files import replacing
from diagxnet.training.pretrained import PICKLED

State = dict[str, Tensor]

WRAPPERS = ("state_dict", "model", "teacher", "net")
"""Keys under which trainings keep weights beside other things."""

PREFIX = re.compile(r"^(module|backbone|model|vit|dinov2|encoder(?=\.encoder)|_orig_mod)\.")
"""Of names, from what was wrapped around the network."""

RESIZED = re.compile(r"^(pos_embed|patch_embed\.proj\.weight)$|conv1\.weight$|conv_stem\.weight$|conv0\.weight$")
"""Tensors whose shape may differ: timm resamples them to the image's size, or sums them over colours, as it loads."""


@dataclass(frozen=True)
class Naming:
    """How a library names a network's tensors. mark: pattern of a name that no other naming has. rules: patterns and
    what stands for them in timm, all applied in order. extras: pattern of the renamed that are left out, as no part of
    the network. finish: what else, of the renamed and timm's own names in order."""

    name: str
    mark: str
    rules: tuple[tuple[str, str | Callable[[re.Match], str]], ...] = ()
    extras: str = r"(?!)"
    finish: Callable[[State, list[str]], State] = lambda state, wanted: state

    def rename(self, state: Mapping[str, Tensor], wanted: list[str]) -> State:
        renamed = {}
        for name, tensor in state.items():
            for pattern, own in self.rules:
                name = re.sub(pattern, own, name)
            renamed[name] = tensor
        return self.finish(renamed, wanted)


def _join_qkv(state: State, wanted: list[str]) -> State:
    """query, key and value, each [channels, ...], as timm's one qkv, [3 channels, ...]."""
    joined = {}
    for name, tensor in state.items():
        if ".qkv.query." in name:
            parts = [state.get(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
            if all(part is not None for part in parts):
                joined[name.replace(".query.", ".")] = torch.cat(parts)
        elif not re.search(r"\.qkv\.(key|value)\.", name):
            joined[name] = tensor
    return joined


def _number_blocks(state: State, wanted: list[str]) -> State:
    """EfficientNet's blocks, numbered through, by timm's stage and place; the convolutions of one without expansion,
    which timm calls otherwise."""
    places = list(dict.fromkeys(name.rsplit(".", 1)[0].split(".conv_")[0] for name in wanted if ".conv_dw." in name))
    expanded = {name.split(".")[1] for name in state if re.match(r"blocks\.\d+\.conv_pw\.", name)}
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "blocks" and int(parts[1]) < len(places):
            own = {} if parts[1] in expanded else {"bn2": "bn1", "conv_pwl": "conv_pw", "bn3": "bn2"}
            name = ".".join([places[int(parts[1])], own.get(parts[2], parts[2]), *parts[3:]])
        renamed[name] = tensor
    return renamed


HEADS = r"^(head|heads|fc|classifier)\."

NAMINGS = (
    Naming(
        "Hugging Face",
        r"attention\.attention\.query\.|attention\.query\.|embeddings\.cls_token",
        (
            (r"^embeddings\.cls_token", "cls_token"),
            (r"^embeddings\.position_embeddings", "pos_embed"),
            (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
            (r"^encoder\.layer\.", "blocks."),
            (r"\.attention\.attention\.(query|key|value)\.", r".attn.qkv.\1."),
            (r"\.attention\.output\.dense\.", ".attn.proj."),
            (r"\.layernorm_before\.", ".norm1."),
            (r"\.layernorm_after\.", ".norm2."),
            (r"\.intermediate\.dense\.", ".mlp.fc1."),
            (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
            (r"\.layer_scale(\d)\.lambda1", r".ls\1.gamma"),
            (r"^layernorm\.", "norm."),
        ),
        r"^embeddings\.mask_token$|^pooler\.",
        _join_qkv,
    ),
    Naming(
        "torchvision's ViT",
        r"encoder\.layers\.encoder_layer_",
        (
            (r"^class_token", "cls_token"),
            (r"^encoder\.pos_embedding", "pos_embed"),
            (r"^conv_proj\.", "patch_embed.proj."),
            (r"^encoder\.layers\.encoder_layer_", "blocks."),
            (r"\.self_attention\.in_proj_", ".attn.qkv."),
            (r"\.self_attention\.out_proj\.", ".attn.proj."),
            (r"\.ln_(\d)\.", r".norm\1."),
            (r"\.mlp\.(linear_1|0)\.", ".mlp.fc1."),
            (r"\.mlp\.(linear_2|3)\.", ".mlp.fc2."),
            (r"^encoder\.ln\.", "norm."),
        ),
    ),
    Naming(
        "EfficientNet-PyTorch",
        r"^_conv_stem\.",
        (
            (r"^_conv_(stem|head)\.", r"conv_\1."),
            (r"^_bn([01])\.", lambda found: f"bn{int(found[1]) + 1}."),
            (r"^_blocks\.", "blocks."),
            (r"\._bn([012])\.", lambda found: f".bn{int(found[1]) + 1}."),
            (r"\._expand_conv\.", ".conv_pw."),
            (r"\._depthwise_conv\.", ".conv_dw."),
            (r"\._project_conv\.", ".conv_pwl."),
            (r"\._se_(reduce|expand)\.", r".se.conv_\1."),
            (r"^_fc\.", "classifier."),
        ),
        finish=_number_blocks,
    ),
    Naming(
        "timm, torchvision, MAE, DINOv2 or torchxrayvision",
        r"",
        ((r"\.(norm|conv)\.(\d)\.", r".\1\2."),),  # torchvision's DenseNet, before 2018
        r"^(mask_token|decoder_|contrastive_|op_threshs|dino_head|ibot_head|projection)",
    ),
)
"""The last is taken where no other is recognised."""


def convert(state: Mapping[str, Tensor], arch: str) -> tuple[State, str, list[str]]:
    """The tensors of `state` under timm's names of `arch`, the naming they came in, and the names that were left out.

    The classifier stays behind: findings are others. Raises InputError where a tensor of the architecture is missing or
    has another shape, or one of the file belongs nowhere.
    """
    if not timm.is_model(arch):
        raise InputError(f"--arch {arch}: timm knows no such model (see timm.list_models())")
    with torch.device("meta"):
        network = timm.create_model(arch)
    classifiers = network.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{each}." for each in ([classifiers] if isinstance(classifiers, str) else classifiers))
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if not name.startswith(heads)}
    state = _unwrapped(state)
    naming = next(each for each in NAMINGS if any(re.search(each.mark, name) for name in state))
    renamed = naming.rename(state, list(shapes))
    left = [name for name in renamed if name not in shapes]
    unknown = [name for name in left if not re.search(f"{HEADS}|{naming.extras}", name) and not name.startswith(heads)]
    if missing := [name for name in shapes if name not in renamed and not name.endswith("num_batches_tracked")]:
        raise InputError(
            f"these are no weights of {arch} in the names of {naming.name}: {len(missing)} of its tensors are not in "
            f"them, {missing[0]} first"
        )
    if unknown:
        raise InputError(f"{len(unknown)} tensors of the file belong nowhere in {arch}, {unknown[0]} first")
    for name, shape in shapes.items():
        if name in renamed and renamed[name].shape != shape and not RESIZED.search(name):
            raise InputError(f"{name} is {list(renamed[name].shape)}, and {arch} has {list(shape)} (another --arch?)")
    return {name: renamed[name].contiguous() for name in shapes if name in renamed}, naming.name, left


def read_state(path: Path) -> State:
    """What a file of weights holds; InputError where it is none, or holds more than weights."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {PICKLED.format(file=path)}") from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"{path}: is no file of weights: {one_line(error, 200)}") from error


def _unwrapped(content: Mapping[str, object]) -> State:
    """The tensors alone, without wrappers and prefixes."""
    while key := next((each for each in WRAPPERS if isinstance(content.get(each), Mapping)), None):
        content = content[key]
    state = {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    while state and all(PREFIX.match(name) for name in state if name not in ("op_threshs",)):
        state = {PREFIX.sub("", name): tensor for name, tensor in state.items()}
    if not state:
        raise InputError("no tensors are in the file")
    return state


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m diagxnet.weights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help=".safetensors, .pth, .pt or .bin")
    parser.add_argument("--arch", required=True, help="timm's name of the architecture")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors to write")
    given = parser.parse_args(arguments)
    return run_command("weights", lambda: convert_file(given.file, given.arch, given.out))


def convert_file(file: Path, arch: str, out: Path) -> int:
    """Writes `file` in timm's names of `arch` to `out`, and says what it was; 0."""
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out}: must end in .safetensors")
    try:
        state, naming, left = convert(read_state(file), arch)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(("--", str(file))) else f"{file}: {error}") from None
    with replacing(out) as temporary:
        save_file(state, temporary)
    print(f"{out}: {len(state)} tensors of {arch}, which were in the names of {naming}")
    if left:
        print(f"left out: {', '.join(left[:8])}{f' and {len(left) - 8} more' if len(left) > 8 else ''}")
    print(f"for params.yaml: {{arch: {arch}, pretrained: {out}}}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
