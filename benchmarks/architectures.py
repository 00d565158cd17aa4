"""Do the architectures that timm has go the whole way: training, stacking, heat map, export?

    python -m benchmarks.architectures [--size 96] [--only PART]

Each learns from drawn images in which quarter a bright disc lies, four findings, for a few epochs of the real loop.
`learned` is its AUROC on other images. `alike` is the largest difference of logits between images in a batch and alone.
`hits` is the share of heat maps of a true finding whose brightest place lies in its quarter: 0.25 by chance. `export`
is the largest difference of ONNX Runtime's probabilities. One line a family of timm, as a Markdown table.
"""

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import torch

from diagxnet.console.errors import InputError, one_line
from diagxnet.console.progress import Progress
from diagxnet.data.findings import Findings
from diagxnet.data.members import member_folder
from diagxnet.ensemble.calibration import FindingCalibration, write_calibration
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.export import export
from diagxnet.params.member import MemberParams
from diagxnet.params.whole import read_all
from diagxnet.prediction.saliency import heat_maps
from diagxnet.stacking.learners import create_members
from diagxnet.training.checkpoint import save_model
from diagxnet.training.image_source import ImageSource
from diagxnet.training.loop import Examples, fit
from diagxnet.training.networks import base_config, create_base
from diagxnet.training.precision import create_accelerator
from diagxnet.training.resume import ResumeState
from stages.base_model import options

ARCHITECTURES = (
    "densenet121", "resnet10t", "regnetx_002", "efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto",
    "ghostnet_050", "repvit_m0_9", "fastvit_t8", "mambaout_femto", "vit_tiny_patch16_224",
    "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "coatnet_pico_rw_224",
    "maxvit_rmlp_pico_rw_256", "poolformer_s12", "caformer_s18", "hiera_tiny_224", "pvt_v2_b0", "mvitv2_tiny",
    "xcit_nano_12_p16_224", "efficientformerv2_s0", "edgenext_xx_small", "mobilevit_xxs", "tiny_vit_5m_224",
    "mixer_s32_224", "levit_128s", "focalnet_tiny_srf", "inception_next_atto", "starnet_s1",
)  # fmt: skip
FINDINGS = Findings(("Upper Left", "Upper Right", "Lower Left", "Lower Right"))
IMAGES, TESTED, MAPPED, EPOCHS = 192, 64, 12, 6


def drawn(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [count, size, size] uint8 with a disc in a quarter, or none in one of five; and which, [count, 4]."""
    chance = np.random.default_rng(seed)
    images = chance.normal(100, 20, (count, size, size))
    quarter = chance.integers(0, 5, count)
    across, down = np.meshgrid(np.arange(size), np.arange(size))
    for image, own in zip(images, quarter.tolist(), strict=True):
        if own < 4:
            top, left = own // 2 * size / 2, own % 2 * size / 2
            y, x = chance.uniform(0.15, 0.35, 2) * size
            image[(down - top - y) ** 2 + (across - left - x) ** 2 < (size / 10) ** 2] += 90
    return images.clip(0, 255).astype(np.uint8), quarter[:, None] == np.arange(4)


def trained(arch: str, size: int, folder: Path) -> tuple[torch.nn.Module, float]:
    """The network after the epochs, and its AUROC on images that it never saw."""
    torch.manual_seed(0)
    model = create_base(arch, findings=4, image_size=size)
    examples = []
    for seed, count in enumerate((IMAGES, TESTED)):
        images, targets = drawn(count, size, seed)
        source = ImageSource(images, np.arange(count), seed=0)
        examples.append(Examples(source, targets.astype(np.float32), np.ones_like(targets)))
    params = SimpleNamespace(**read_all())
    params.train = params.train.model_copy(update={"ema": None, "accumulation_steps": 1, "class_weights": "none"})
    recipe, _, _ = options(params, MemberParams(arch=arch, epochs=EPOCHS, scheduler="onecycle", patience=None))
    accelerator = create_accelerator("fp32")
    with Progress(0, "", shown=False) as progress:
        state = ResumeState(folder / "state", "architectures")
        *_, last = fit(model, *examples, recipe, accelerator=accelerator, state=state, progress=progress)
    return model, last.record["val_auroc"]


def ensemble_of(model: torch.nn.Module, arch: str, size: int, folder: Path) -> Ensemble:
    names = FINDINGS.names
    network = {"pretrained": False, "dropout": 0.0, "patch_size": None, "stem": "patches", "batch_norm": False}
    save_model(member_folder(folder, "one"), model, base_config(arch, findings=names, image_size=size, **network), {})
    convex = {"init": "average", "inputs": "logits"}
    config = {"arch": "convex", "options": convex, "models": ["one"], "findings": list(names), "members": 1, "views": 1}
    save_model(folder / "meta", create_members("convex", 1, 4, 1, **convex), config, {})
    own = FindingCalibration(1.0, 0.0, "platt", 20, 60, {"youden": 0.5, "specificity_90": 0.5})
    calibration = {name: dict.fromkeys(FINDINGS.keys, own) for name in ("one", "average", "ensemble")}
    write_calibration(folder / "calibration.json", calibration, "image", "one")
    return Ensemble.load(folder, precision="fp32")


def hits(ensemble: Ensemble, images: np.ndarray, targets: np.ndarray) -> float:
    half, found = images.shape[1] // 2, []
    for image, own in zip(images, targets, strict=True):
        if own.any() and len(found) < MAPPED:
            quarter = int(own.argmax())
            heat = heat_maps(ensemble, image, [quarter])[0]
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            found.append(heat.max() > 0 and (row // half) * 2 + column // half == quarter)
    return float(np.mean(found))


def exported(ensemble: Ensemble, images: np.ndarray, folder: Path) -> float:
    file = folder / "one.onnx"
    with contextlib.redirect_stdout(io.StringIO()):
        export(folder, file)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    probabilities, _ = session.run(None, {"images": images[:, None]})
    return float(np.abs(probabilities - ensemble.predict(images).probabilities).max())


def steps(arch: str, size: int, folder: Path) -> Iterator[str]:
    """The cells of a row, in their order; InputError where a step cannot be."""
    model, learned = trained(arch, size, folder)
    yield f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M"
    yield f"{learned:.3f}"
    ensemble = ensemble_of(model, arch, size, folder)
    images, targets = drawn(TESTED, size, seed=1)
    alone = np.concatenate([ensemble.predict(images[n : n + 1]).logits for n in range(4)])
    yield f"{np.abs(ensemble.predict(images[:4]).logits - alone).max():.0e}"
    yield f"{hits(ensemble, images, targets):.2f}"
    yield f"{exported(ensemble, images[:4], folder):.0e}"


def main() -> None:
    commands = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands.add_argument("--size", type=int, default=96, help="side of the images in pixels")
    commands.add_argument("--only", default="", help="those whose name has this in it")
    chosen = commands.parse_args()
    print("| timm | parameters | learned | alike | hits | export | s |\n|---|---:|---:|---:|---:|---:|---:|")
    for arch in ARCHITECTURES:
        if chosen.only not in arch:
            continue
        started, cells = time.monotonic(), []
        with tempfile.TemporaryDirectory() as folder:
            try:
                cells += steps(arch, chosen.size, Path(folder))
            except InputError as error:
                cells.append(one_line(error, 160))
            except Exception as error:  # whatever an architecture does, the table goes on
                cells.append(one_line(f"{type(error).__name__}: {error}", 160))
        print(f"| `{arch}` | {' | '.join(cells)} | {time.monotonic() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
