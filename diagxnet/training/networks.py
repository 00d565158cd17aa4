"""Base models: any timm network, made to read one grey channel and to end in one logit per finding."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
from accelerate import Accelerator
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from diagxnet.console.errors import InputError, one_line
from diagxnet.data.files import read_json
from diagxnet.data.findings import Findings
from diagxnet.data.hierarchy import pairs
from diagxnet.data.members import CONFIG
from diagxnet.training.checkpoint import load_model
from diagxnet.training.mean import MeanLogits
from diagxnet.training.patches import is_transformer, own_patch, patch_problems, patch_side
from diagxnet.training.paths import along_paths
from diagxnet.training.pretrained import Architecture, create_pretrained, find, network_args


class BaseModel(nn.Module):
    """A timm network that normalises its input: images [images, 1, side, side] in 0..1 to logits [images, findings].

    moments: None, and each image is brought to mean 0 and deviation 1 by itself: exposure varies from film to film and
    says nothing of the patient, and networks trained on ImageNet expect about these moments, too; or the mean and
    deviation of all images that pretrained weights were trained on, which are taken from each alike. The classifier
    computes in float32 whatever the precision around it: logits rounded to bf16 tie, which costs AUROC.

    parents: (child, parent) of the findings that the network has learned given another (see `data.hierarchy.pairs`),
    whose logits are then of the unconditional probability (`along_paths`); none while it learns.
    """

    def __init__(
        self,
        network: nn.Module,
        parents: Sequence[tuple[int, int]] = (),
        moments: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.parents, self.moments = network, tuple(parents), moments
        self._frozen: list[nn.Parameter] = []

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            normalised = self.normalise(images.float())
        features = self.network.forward_features(normalised)
        with torch.autocast(images.device.type, enabled=False):
            return along_paths(self.network.forward_head(features.float()), self.parents)

    def normalise(self, images: Tensor) -> Tensor:
        """What the network reads of float `images`."""
        if self.moments is None:
            return standardise(images)
        mean, deviation = self.moments
        return (images - mean) / deviation

    def head(self) -> list[nn.Module]:
        """What published weights say nothing of: the classifier (two of a distilled transformer), and a FeatureNorm."""
        classifiers = self.network.get_classifier()
        own = list(classifiers) if isinstance(classifiers, tuple) else [classifiers]
        normed = getattr(self.network, "fc_norm", None)  # see create_base
        return own + ([normed[-1]] if isinstance(normed, nn.Sequential) else [])

    def probe(self, on: bool) -> None:
        """on: the head alone learns, on features of the body as it is: in evaluation mode, so that the moments of its
        BatchNorm rest, as dropout and drop path do, and without gradients, so that nothing goes back through it. off:
        all learns again that did."""
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        own = {parameter for part in self.head() for parameter in part.parameters()}
        learning = [each for each in self.parameters() if each.requires_grad and each not in own]
        self._frozen = learning if on else []
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "BaseModel":
        probing = bool(self._frozen)
        super().train(mode and not probing)
        for part in self.head() if probing else ():
            part.train(mode)
        return self

    @property
    def has_batch_norm_2d(self) -> bool:
        """Whether there are convolutions with BatchNorm, a stem's among them."""
        return any(isinstance(module, nn.BatchNorm2d) for module in self.modules())


class FeatureNorm(nn.BatchNorm1d):
    """BatchNorm, without weights of its own, of pooled features [images, features] ahead of the classifier.

    What all radiographs share fills most of a transformer's features, and hides from the classifier what tells one
    from another: trained from scratch it then hardly learns. Subtracting the batch's mean mends that (He et al. 2022,
    arXiv:2111.06377, use it so for linear probing). A training batch of one image has no deviation; it is normalised
    by the running moments.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, affine=False)

    def forward(self, features: Tensor) -> Tensor:
        if self.training and len(features) == 1:
            return F.batch_norm(features, self.running_mean, self.running_var, eps=self.eps)
        return super().forward(features)


class ConvolutionalStem(nn.Module):
    """Tokens of overlapping parts of the image: 3 x 3 convolutions of stride 2, each with BatchNorm and ReLU, that
    double their channels, and one of 1 x 1, down to as many tokens as patches of `patch_size` pixels would give.

    A transformer that is trained from scratch on few images learns faster and better so (Xiao et al., "Early
    Convolutions Help Transformers See Better", NeurIPS 2021, section 4). `patch_size` is a power of 2.
    """

    def __init__(self, patch_size: int, channels: int) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        widths = [1, *(max(channels >> left, 1) for left in reversed(range(halvings)))]
        layers: list[nn.Module] = []
        for read, width in pairwise(widths):
            layers += [nn.Conv2d(read, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, channels, 1))

    def forward(self, images: Tensor) -> Tensor:
        """images: [images, 1, side, side] to tokens [images, patches, channels]."""
        return self.layers(images).flatten(2).transpose(1, 2)


def standardise(images: Tensor) -> Tensor:
    """Each of images [images, 1, side, side] at mean 0 and deviation 1; one of a single value becomes 0."""
    deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
    return (images - mean) / deviation.clamp(min=1e-3)


def moments_of(architecture: Architecture, normalise: str | Sequence[float]) -> tuple[float, float] | None:
    """See BaseModel. normalise: `image`, for None; `pretrained`, for those of the weights of `architecture`, each the
    mean over the colours, as a grey film has the same in all; or mean and deviation themselves."""
    if normalise == "image":
        return None
    if normalise != "pretrained":
        mean, deviation = normalise
        return float(mean), float(deviation)
    known = architecture.weights
    return round(sum(known.mean) / len(known.mean), 6), round(sum(known.std) / len(known.std), 6)


def create_base(
    arch: str,
    *,
    findings: int,
    image_size: int,
    pretrained: bool | str = False,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    grad_checkpointing: bool = False,
    patch_size: int | None = None,
    stem: str = "patches",
    batch_norm: bool = False,
    parents: Sequence[tuple[int, int]] = (),
    normalise: str | Sequence[float] = "image",
    model_args: Mapping[str, Any] | None = None,
    tried: bool = True,
) -> BaseModel:
    """A BaseModel on what `arch` names (see `pretrained.find`) with a logit for each of so many `findings`, for images
    of `image_size` pixels, in the memory format that is fast for it.

    pretrained: False, True (the weights that go with `arch`: timm's, or those published beside a config) or the path of
    a file of weights alone (.safetensors, or what torch.save writes of a state_dict, which is loaded with
    weights_only); timm sums the weights of the first layer over its colours, resamples position embeddings and patches
    to this size, and the new classifier is zero. Only True may fetch anything. drop_path: probability in training
    that a sample skips a residual block (stochastic depth, Huang et al., ECCV 2016), the last one; earlier ones less,
    in proportion; 0 also where the architecture has a rate of its own. grad_checkpointing: whether blocks keep their
    inputs alone for the backward pass and compute the rest anew (Chen et al., arXiv:1604.06174). patch_size: of a
    vision transformer, None for its own. stem: `patches`, or `convolutions` for a vision transformer from scratch (see
    ConvolutionalStem). batch_norm: whether a vision transformer's features pass a FeatureNorm. parents: see BaseModel.
    normalise: see `moments_of`. model_args: what timm builds `arch` with besides, of a published one that is built
    again (`base_config`). tried: whether one image of zeros goes through the model first, as windows, stages and mixers
    of tokens each want sizes of their own, and timm tells at the first image. Raises InputError where the name is
    unknown, the size does not fit, or weights that were asked for cannot be loaded: going on from random weights is
    never an option.
    """
    named, known = arch, find(arch, fetch=pretrained is True)
    arch, given = known.name, dict(known.model_args) or network_args(arch, model_args or {})
    patch = patch_size or (own_patch(given) if is_transformer(arch) else None)
    own = {"patch_size": patch, "stem": stem, "pretrained": pretrained}
    problems = patch_problems(arch, image_size=image_size, **own)
    if problems:
        raise InputError(problems[0])
    options: dict[str, Any] = given | {"in_chans": 1, "num_classes": findings, "drop_rate": dropout}
    if drop_path:
        options["drop_path_rate"] = drop_path
    try:
        if is_transformer(arch) or "img_size" in given or known.weights.fixed_input_size:
            options["img_size"] = image_size
        if patch_size is not None:
            options["patch_size"] = patch_size
        network = create_pretrained(known, pretrained, options) if pretrained else timm.create_model(arch, **options)
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = one_line(error, 200)
        raise InputError(f"arch = {named!r}: timm builds none for images of {image_size} pixels: {reason}") from error
    if not drop_path:  # some architectures have a rate of their own
        for module in network.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.0
    if stem == "convolutions":
        network.patch_embed = ConvolutionalStem(patch_side(arch, patch), network.embed_dim)
    if batch_norm:
        if not hasattr(network, "fc_norm"):
            raise InputError(f"batch_norm = true: {named} has no place for it (set it to false)")
        network.fc_norm = nn.Sequential(network.fc_norm, FeatureNorm(network.head_hidden_size))
    if grad_checkpointing:
        try:
            network.set_grad_checkpointing()
        except (AssertionError, AttributeError):
            raise InputError(f"grad_checkpointing = true: timm has none for {named} (set it to false)") from None
    model = BaseModel(network, parents, moments_of(known, normalise))
    if model.has_batch_norm_2d:  # faster there; one grey channel is channels-last as it is
        model = model.to(memory_format=torch.channels_last)
    if tried:
        _check_forward(model, named, findings, image_size)
    return model


def _check_forward(model: BaseModel, arch: str, findings: int, image_size: int) -> None:
    """InputError where `model` gives no logits for an image of this size, or passes its FeatureNorm by."""
    normed: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: normed.append(module))
        for module in model.modules()
        if isinstance(module, FeatureNorm)
    ]
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            logits = model.eval()(torch.zeros(1, 1, image_size, image_size))
        fits = logits.shape == (1, findings)
        reason = "" if fits else f"its logits are {list(logits.shape)}"
    except Exception as error:  # each of timm's families fails in a way of its own
        fits, reason = False, one_line(error, 200)
    if not fits:
        raise InputError(f"arch = {arch!r}: gives no logits for images of {image_size} pixels as set here: {reason}")
    if hooks and not normed:
        raise InputError(f"batch_norm = true: {arch} passes it by (set it to false)")
    for hook in hooks:
        hook.remove()
    model.train()


def base_config(
    arch: str,
    *,
    findings: Sequence[str],
    image_size: int,
    pretrained: bool | str,
    dropout: float,
    patch_size: int | None,
    stem: str,
    batch_norm: bool,
    crop: str = "guide",
    parents: Mapping[str, str] | None = None,
    normalise: str | Sequence[float] = "image",
) -> dict[str, Any]:
    """What `load_base` and a reader of models/ need to know of a base model. findings: their names, in order. crop: see
    `images.decode.square`. parents: of the findings that it learns given another, the other, by key. normalise: see
    `moments_of`, whose values, if any, are kept. What was published is named by timm's architecture and arguments, so
    that nothing but this is needed to build it, and by its origin (see `pretrained.Architecture`)."""
    known = find(arch, fetch=pretrained is True)
    moments = moments_of(known, normalise)
    published = known.published and {
        "model_args": dict(known.model_args),
        "published": known.origin(weights=pretrained is True),
    }
    return {
        "arch": known.name,
        "image_size": image_size,
        "crop": crop,
        "patch_size": patch_size,
        "dropout": dropout,
        "stem": stem,
        "batch_norm": batch_norm,
        "pretrained": bool(pretrained),
        "findings": list(findings),
    } | {
        **({"parents": dict(parents)} if parents else {}),
        **({"normalise": list(moments)} if moments else {}),
        **(published or {}),
    }


def from_config(config: dict[str, Any]) -> BaseModel:
    """The network that `base_config` describes, with random weights."""
    options = {key: config[key] for key in ("image_size", "dropout", "patch_size", "stem", "batch_norm")}
    options["parents"] = pairs(config.get("parents", {}), Findings(tuple(config["findings"])).keys)
    options |= {"normalise": config.get("normalise", "image"), "model_args": config.get("model_args")}
    return create_base(config["arch"], findings=len(config["findings"]), **options, tried=False)


def synchronised(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """`model`, whose BatchNorm takes its moments over the images of all processes; of one process it is as it was.

    The weights keep their names. timm's conversion, as torch's would lose the activation in timm's BatchNormAct2d.
    """
    if accelerator.num_processes == 1:
        return model
    if accelerator.device.type != "cuda":
        raise InputError(
            f"train.sync_batch_norm = true needs CUDA GPUs, this runs on {accelerator.device.type} (set it to false)"
        )
    return timm.layers.convert_sync_batchnorm(model)


def member_folders(folder: Path, folds: int | None, seeds: int) -> list[list[Path]]:
    """Where the networks of a base model are: [folds][seeds], `folder` itself where there is one of either only.

    folds: of crossfit, None without. Both count from 1: fold2/seed1.
    """
    places = [folder] if folds is None else [folder / f"fold{fold}" for fold in range(1, folds + 1)]
    return [[place / f"seed{seed}" for seed in range(1, seeds + 1)] if seeds > 1 else [place] for place in places]


def member_counts(folds: int | None, seeds: int) -> dict[str, int]:
    """What the joint config of such networks says of them, for `model_folders` to read; nothing where there is one."""
    return ({} if folds is None else {"folds": folds}) | ({} if seeds == 1 else {"seeds": seeds})


def model_folders(folder: Path) -> list[list[Path]]:
    """The folders of a trained base model's networks, [folds][seeds]; [[folder]] without crossfit and with one seed.

    Raises InputError where there is none.
    """
    try:
        config = read_json(folder / CONFIG)
    except FileNotFoundError:
        raise InputError(f"{folder / CONFIG}: no trained model here (run dvc repro)") from None
    for key in ("folds", "seeds"):
        if key in config and (not isinstance(config[key], int) or config[key] < 2):
            raise InputError(f"{folder / CONFIG}: {key} = {config[key]!r}: this is no model of ours (run dvc repro)")
    return member_folders(folder, config.get("folds"), config.get("seeds", 1))


def load_base(folder: Path) -> nn.Module:
    """The trained base model in `folder` (models/densenet), in evaluation mode; the mean of its folds and seeds.

    Reads images [images, 1, side, side] in 0..1, gives logits [images, findings].
    """
    models = [load_model(place, from_config) for places in model_folders(folder) for place in places]
    return models[0] if len(models) == 1 else MeanLogits(models).eval()
