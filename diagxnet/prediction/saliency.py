"""Heat maps: where in a radiograph the ensemble found a reason for a finding.

The gradient of the ensemble's logit goes through the meta-learner into each base model. DenseNet: LayerCAM (Jiang et
al. 2021, doi:10.1109/TIP.2021.3089943), which is Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) with a weight for
each place in place of the mean over all, so that it serves layers finer than the last one too: at 80 px the last has
3 x 3 cells; likewise other networks whose layers end in ReLUs after BatchNorm. ViT: gradient times token, over the
tokens that enter the last block (the class token alone leaves it). Others, whose layers hold values below 0 (ConvNeXt,
Swin): gradient times value as well (HiResCAM, Draelos and Carin 2020, arXiv:2011.08891).

No library for it: a map needs one layer's output and one gradient, which a forward hook and `torch.autograd.grad` give.
The hook hands a copy on, since DenseNet's ReLUs work in place and would overwrite the output that was kept.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagxnet.console.errors import InputError
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.training.augment import to_float
from diagxnet.training.networks import BaseModel

LEAST_CELLS = 7
"""Cells a side that a layer must have, as DenseNet-121's last has at 224 px; of those that do, the last is taken."""


def heat_maps(
    ensemble: Ensemble, image: np.ndarray, findings: Sequence[int], given: Mapping[str, np.ndarray] | None = None
) -> np.ndarray:
    """Maps [findings, image_size, image_size] float32 in 0..1 of what speaks for each finding; 0 where nothing does.

    image: [image_size, image_size] uint8. findings: positions in `ensemble.findings`. Each base model's map is brought
    to a largest value of 1 (over the mean of its folds) and weighs as much as the ensemble's logit moves with that
    model's logits. given: logits [findings] of each member that is a table of predictions: they count for the
    ensemble's logit, and have no map. Computed in float32. Raises InputError for a network in which no suitable layer
    is known.
    """
    pixels = torch.from_numpy(np.array(image)[None, None]).to(ensemble.accelerator.device)
    inputs = to_float(pixels)
    with torch.enable_grad():
        kept = [[_forward(network, inputs) for network in networks] for networks in ensemble.base.values()]
        means = [
            torch.stack([logits for logits, _ in folds]).mean(0).float().cpu()
            if folds
            else torch.from_numpy(given[name][None])
            for name, folds in zip(ensemble.base, kept, strict=True)
        ]
        stacked = torch.stack(means, dim=1)  # [1, models, findings]
        combined = ensemble.meta(torch.where(stacked.isnan(), stacked.nanmean(1, keepdim=True), stacked))
        layers = [layer for folds in kept for _, layer in folds]
        maps = []
        for finding in findings:
            by_logits, *gradients = torch.autograd.grad(combined[0, finding], [stacked, *layers], retain_graph=True)
            weights = by_logits[0].abs().sum(1)  # [models]
            following = iter(gradients)
            blended = torch.zeros(image.shape)
            for weight, networks, folds in zip(weights, ensemble.base.values(), kept, strict=True):
                cells = [
                    _cells(network, layer, next(following)) for network, (_, layer) in zip(networks, folds, strict=True)
                ]
                if cells:
                    blended += weight * _as_map(cells, image.shape)
            maps.append(blended / blended.max().clamp(min=1e-12))
    return torch.stack(maps).detach().numpy()


def _forward(network: BaseModel, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [1, findings], and the output of the layer that is mapped, from which alone gradients are tracked."""
    with _keeping(_layer(network, inputs.shape[-1])) as kept:
        logits = network(inputs)
    return logits, kept[0]


@contextmanager
def _keeping(module: nn.Module) -> Iterator[list[Tensor]]:
    kept: list[Tensor] = []

    def keep(module: nn.Module, given: tuple, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    handle = module.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def _layer(network: BaseModel, image_size: int) -> nn.Module:
    inner = network.network
    if _is_transformer(inner):
        return inner.blocks[-2]
    known = getattr(inner, "feature_info", None) or []
    fine = [each["module"] for each in known[1:] if -(-image_size // each["reduction"]) >= LEAST_CELLS]
    if len(known) < 2:
        raise InputError(f"no heat maps for {type(inner).__name__}: its layers are not known (leave out --heatmap)")
    try:
        return inner.get_submodule((fine or [known[1]["module"]])[-1])
    except AttributeError:  # timm's MViTv2 names what it has not
        raise InputError(f"no heat maps for {type(inner).__name__}: timm does not say its layers rightly") from None


def _is_transformer(inner: nn.Module) -> bool:
    return hasattr(inner, "num_prefix_tokens") and hasattr(inner, "blocks")


def _cells(network: BaseModel, layer: Tensor, gradient: Tensor) -> Tensor:
    """[1, 1, rows, columns] of what the layer's places add to the logit.

    layer: [1, tokens, channels], [1, channels, rows, columns], or channels last where timm says NHWC.
    """
    inner = network.network
    if layer.ndim == 3:
        tokens = (gradient * layer).sum(2)
        prefix = getattr(inner, "num_prefix_tokens", 0)
        if math.isqrt(tokens.shape[1] - prefix) ** 2 != tokens.shape[1] - prefix:
            prefix = 0  # XCiT and CaiT add the class token after their last block
        side = math.isqrt(tokens.shape[1] - prefix)
        return tokens[:, prefix:].reshape(1, 1, side, side)
    if network.has_batch_norm_2d:
        gradient = gradient.clamp(min=0)
    channels = 3 if getattr(inner, "output_fmt", "NCHW") == "NHWC" else 1
    return (gradient * layer).sum(channels)[:, None]


def _as_map(folds: list[Tensor], shape: tuple[int, int]) -> Tensor:
    """[size, size]: the mean of the folds' cells without what speaks against the finding, at a largest value of 1."""
    mean = torch.stack(folds).mean(0).clamp(min=0)
    grown = F.interpolate(mean, size=shape, mode="bilinear", align_corners=False)[0, 0].detach().cpu()
    return grown / grown.max().clamp(min=1e-12)
