"""What a member's `arch` names, timm's own or a published folder, and networks with the weights that go with it."""

import inspect
import logging
import math
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download
from timm.models import PretrainedCfg, build_model_with_cfg, resolve_model_input_args
from torch import nn

from diagxnet.console.errors import InputError, one_line
from diagxnet.data.files import read_json
from diagxnet.data.members import CONFIG
from diagxnet.training.published import FOLDER, HUB, folder_state

PICKLED = (
    "holds other objects beside weights, and to load them could run code (where you trust it, save its weights alone: "
    "python -c \"import torch; m = torch.load('{file}', weights_only=False, map_location='cpu'); "
    "torch.save(m.state_dict() if hasattr(m, 'state_dict') else m['state_dict'], 'weights.pth')\")"
)
COPY = "no network here? Copy the repository's files into a folder, and name that: arch: local-dir:FOLDER"
OURS = re.compile(r"in_chans|num_classes|dynamic_img_(size|pad)|(\w+_)?drop(out)?(_\w+)?")
"""Arguments that params.yaml and the data decide, not who published a network: films are grey and of one size."""

ELSEWHERE = {"hf_hub_id": None, "hf_hub_filename": None, "url": None, "state_dict": None, "custom_load": False}
"""What a record of weights may say of other places and ways to load them: those beside it are meant."""


@dataclass(frozen=True)
class Architecture:
    """What a network is made of. name: timm's; model_args: what else timm builds it with; published: timm's record of
    the weights that were published with it, None of timm's own."""

    name: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    published: PretrainedCfg | None = None

    @property
    def weights(self) -> PretrainedCfg:
        """timm's record of pretrained weights: where they are, what they read."""
        return self.published or timm.get_pretrained_cfg(self.name)

    def origin(self, *, weights: bool) -> str:
        """Where what is `published` is from, and which state of it: `hf-hub:owner/name@commit`, or of a folder its own
        name and the MD5 of its config, and of its `weights` where they are used: `local-dir:name@hash`."""
        if self.published.hf_hub_id:
            return HUB + self.published.hf_hub_id
        folder = Path(self.published.file).resolve()
        return f"{FOLDER}{folder.name}@{folder_state(folder, weights=weights)}"


def find(arch: str, *, fetch: bool) -> Architecture:
    """What `arch` names: a model of timm; `hf-hub:owner/name`, a repository of Hugging Face's hub in timm's form (also
    `@revision`); or `local-dir:FOLDER`, a folder with what such a repository holds.

    fetch: whether the hub may be asked; else its cache on this machine alone is. Raises InputError where there is none.
    """
    if arch.startswith(FOLDER):
        folder = Path(arch.removeprefix(FOLDER))
        if not folder.is_dir():
            raise InputError(f"arch = {arch!r}: no such folder")
        return _read(arch, folder)
    if arch.startswith(HUB):
        folder = _cached(arch, fetch)
        repository = f"{arch.removeprefix(HUB).partition('@')[0]}@{folder.name}"
        found = _read(arch, folder)
        at_hub = replace(found.published, source="hf-hub", hf_hub_id=repository, file=None)
        return replace(found, published=at_hub)
    if not timm.is_model(arch):
        hint = f"; {HUB}OWNER/NAME is on Hugging Face's hub, {FOLDER}FOLDER a copy of that" if {*"/:"} & {*arch} else ""
        raise InputError(f"arch = {arch!r}: timm knows no such model (see timm.list_models(){hint})")
    try:
        timm.get_pretrained_cfg(arch)
    except RuntimeError as error:  # an unknown tag
        raise InputError(f"arch = {arch!r}: {one_line(error, 200)} (see timm.list_pretrained())") from None
    return Architecture(arch)


@cache
def _cached(arch: str, fetch: bool) -> Path:
    """The folder of a commit in the hub's cache, whose name is the commit, with the config in it. A process asks once,
    so that all its networks are of one commit."""
    repository, _, revision = arch.removeprefix(HUB).partition("@")
    try:
        with _warnings_off():
            file = hf_hub_download(repository, CONFIG, revision=revision or None, local_files_only=not fetch)
    except Exception as error:  # the hub's have no common base
        if fetch:
            raise InputError(f"arch = {arch!r}: no {CONFIG} from the hub: {one_line(error, 200)} ({COPY})") from error
        raise InputError(
            f"arch = {arch!r}: not fetched yet, and only pretrained: true fetches (set that, or copy the repository's "
            f"files into a folder, and name that: arch: {FOLDER}FOLDER)"
        ) from error
    return Path(file).parent


def _read(arch: str, folder: Path) -> Architecture:
    """What the config in `folder` says; `arch` is for messages."""
    where = f"arch = {arch!r}: {CONFIG}"
    try:
        content = read_json(folder / CONFIG)
        name = content.get("architecture") if isinstance(content, dict) else None
        if not isinstance(name, str):
            raise InputError(
                f"{where} names no architecture of timm (files in the names of others: python -m diagxnet.weights)"
            )
        if not timm.is_model(name):
            raise InputError(f"{where}: timm knows no architecture {name!r} (see timm.list_models())")
        found = resolve_model_input_args(f"{FOLDER}{folder}")
        name = timm.models.get_arch_name(name)
        registered = timm.get_pretrained_cfg(name)  # by which it is built again, where this config is not
        weights = PretrainedCfg(**found["pretrained_cfg"])
        if not (_finite(weights.mean) and _finite(weights.std) and min(weights.std) > 0):
            raise ValueError(f"mean {weights.mean}, std {weights.std}")
        weights = replace(
            weights,
            first_conv=weights.first_conv or registered.first_conv,
            fixed_input_size=registered.fixed_input_size,
            classifier=registered.classifier,
            num_classes=0,  # the classifier is new, also where theirs has as many outputs
            **ELSEWHERE,
        )
        return Architecture(name, network_args(arch, found.get("pretrained_model_args", {})), weights)
    except FileNotFoundError:
        raise InputError(f"{where} is not in that folder") from None
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where} cannot be read: {one_line(error, 200)} (copy it again, or take another state of it)"
        ) from error


def _finite(values: Any) -> bool:
    """Whether `values` are numbers, one at least."""
    numbers = isinstance(values, list | tuple) and all(isinstance(value, int | float) for value in values)
    return numbers and len(values) > 0 and all(map(math.isfinite, values))


def network_args(arch: str, model_args: Any) -> dict[str, Any]:
    """Those of the published `model_args` of `arch` that shape a network (see OURS); InputError where one does not."""
    if not isinstance(model_args, Mapping):
        raise InputError(f"arch = {arch!r}: model_args = {model_args!r}: must be arguments by name")
    if alien := sorted(_no_network() & model_args.keys()):
        raise InputError(f"arch = {arch!r}: model_args: {alien[0]} is no argument of a network")
    return {key: value for key, value in model_args.items() if value not in (None, "") and not OURS.fullmatch(key)}


@cache
def _no_network() -> set[str]:
    """Arguments by which timm loads weights, or builds something else than a network."""
    own = {*inspect.signature(timm.create_model).parameters, *inspect.signature(build_model_with_cfg).parameters}
    return own | {"device", "dtype", "features_only", "pruned"}


def create_pretrained(architecture: Architecture, pretrained: bool | str, options: dict[str, Any]) -> nn.Module:
    """timm's network of `architecture` and `options` with weights: True, those that go with it, or of a file.

    Its new classifier is zero, so that all images begin at even odds (He et al., "Masked Autoencoders", CVPR 2022,
    fine-tune from a standard deviation of 2e-5). A random one, of EfficientNet's logits of 5 and more, bends the body
    while it is unlearned.

    Raises InputError where they cannot be had, or where they lack a tensor.
    """
    arch, published = architecture.name, architecture.published
    if published:
        options = options | {"pretrained_cfg": published, "pretrained_model_args": dict(architecture.model_args)}
    if isinstance(pretrained, str):
        if not Path(pretrained).is_file():
            raise InputError(f"pretrained = {pretrained!r}: no such file (true takes the weights of arch)")
        options = options | {"pretrained_cfg_overlay": {"file": pretrained, "source": None, "custom_load": False}}
    try:
        with _warnings_off():
            network = timm.create_model(arch, pretrained=True, **options)
            random = _not_loaded(network, timm.create_model(arch, pretrained=True, **options))
    except Exception as error:  # the hub's errors have no common base: network, cache, missing entry, wrong shapes
        raise _refused(architecture, pretrained, error) from error
    if random:
        raise InputError(
            f"{_said(pretrained)}: these are no weights of {arch}: nothing in them for {len(random)} of its tensors, "
            f"{random[0]} first"
        )
    for name in _classifiers(network):
        for tensor in network.get_submodule(name).parameters():
            nn.init.zeros_(tensor)
    return network


def _refused(architecture: Architecture, pretrained: bool | str, error: Exception) -> InputError:
    """What to say where timm builds no network with weights."""
    where, arch, reason = _said(pretrained), architecture.name, one_line(error, 300)
    if isinstance(error.__cause__, pickle.UnpicklingError):
        return InputError(f"{where}: {PICKLED.format(file=pretrained if isinstance(pretrained, str) else 'FILE')}")
    if isinstance(pretrained, str):
        return InputError(f"{where}: these are no weights of {arch}: {reason}")
    if architecture.published is None:
        mend = "give the path of a file of weights, or false to train from scratch"
        return InputError(f"{where}: timm's hub gave no weights for {arch}: {reason} ({mend})")
    if architecture.published.hf_hub_id:
        return InputError(f"{where}: no {arch} from {architecture.published.hf_hub_id}: {reason} ({COPY})")
    return InputError(f"{where}: no {arch} from {architecture.published.file}: {reason} (copy that folder again)")


def _said(pretrained: bool | str) -> str:
    return f"pretrained = {pretrained!r}" if isinstance(pretrained, str) else "pretrained = true"


@contextmanager
def _warnings_off() -> Iterator[None]:
    """Keeps what timm, torch and the hub warn of off the screen, pages of retries among it: the outcome is checked."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _classifiers(network: nn.Module) -> list[str]:
    """Names of the layers that give the logits: two of a distilled transformer."""
    names = network.pretrained_cfg["classifier"]
    return [names] if isinstance(names, str) else [*names]


def _not_loaded(network: nn.Module, again: nn.Module) -> list[str]:
    """Names of the tensors, but for the new classifier's, that kept random values: they differ between two loadings.

    timm loads a file that lacks tensors with a warning alone; going on from there is how others lost weeks.
    """
    new = tuple(_classifiers(network))
    twin = again.state_dict()
    return [
        name
        for name, tensor in network.state_dict().items()
        if not name.startswith(new) and not tensor.equal(twin[name])
    ]
