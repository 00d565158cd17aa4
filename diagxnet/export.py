"""Writes a trained ensemble as one ONNX file, from grey images to calibrated probabilities.

    python -m diagxnet.export ensemble.onnx

Input `images`: uint8 [batch, 1, size, size], as `diagxnet.images.decode.decode` makes them of the metadata's size and
crop. Outputs: `probabilities`, calibrated, and `logits`, both float32 [batch, findings], NaN where a finding was not
learned. The metadata also hold the keys of the findings, of those not learned, and the thresholds. For research only:
not a medical device.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from diagxnet.console.commands import run_command
from diagxnet.console.errors import InputError, one_line
from diagxnet.data.files import replacing
from diagxnet.data.hierarchy import pairs
from diagxnet.ensemble.calibration import RULES, parents_of
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.features.views import views_of
from diagxnet.training.augment import to_float
from diagxnet.training.networks import BaseModel, along_paths

INSTALL = "python -m pip install -c constraints.txt onnx onnxscript"
MOST_BYTES = 2_000_000_000
"""One ONNX file holds no more, since protobuf does not."""


class Whole(nn.Module):
    """The ensemble as one network: uint8 [batch, 1, size, size] to probabilities and logits [batch, findings]."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.base = nn.ModuleList(nn.ModuleList(networks) for networks in ensemble.base.values())
        self.views = ensemble.views
        self.learner = ensemble.meta  # `meta` is a name that torch.fx uses itself
        own = list(ensemble.calibration["ensemble"].values())
        for name in ("slope", "intercept"):
            values = np.array([getattr(each, name) for each in own], np.float32)  # None becomes NaN
            self.register_buffer(f"{name}s", torch.from_numpy(values))
        self.register_buffer("learned", ~self.slopes.isnan())
        self.parents = pairs(parents_of(ensemble.calibration["ensemble"]), ensemble.findings.keys)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        views = views_of(to_float(images), self.views)
        means = [torch.stack([_logits(each, view) for each in folds for view in views]).mean(0) for folds in self.base]
        logits = torch.where(self.learned, self.learner(torch.stack(means, dim=1)), torch.nan)
        probabilities = torch.sigmoid(self.slopes * logits + self.intercepts)
        if self.parents:  # as data.hierarchy.cap
            columns = list(probabilities.unbind(1))
            for child, parent in self.parents:
                columns[child] = torch.minimum(columns[child], columns[parent])
            probabilities = torch.stack(columns, dim=1)
        return probabilities, logits


def _logits(model: BaseModel, images: Tensor) -> Tensor:
    """As BaseModel computes them, without its autocast contexts, which the exporter would have to drop."""
    logits = model.network.forward_head(model.network.forward_features(model.normalise(images)))
    return along_paths(logits, model.parents)


def main(arguments: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="python -m diagxnet.export", description="Writes the ensemble as ONNX.")
    options.add_argument("file", type=Path, metavar="FILE", help="where to write it (.onnx)")
    options.add_argument("--models", default="models", metavar="DIR", help="trained ensemble (default: models)")
    text = "another hospital's, of stages.recalibrate (default: the models' own)"
    options.add_argument("--calibration", type=Path, metavar="FILE", help=text)
    chosen = options.parse_args(arguments)
    return run_command("export", lambda: export_to(chosen.models, chosen.file, chosen.calibration))


def export_to(models: str, file: Path, calibration: Path | None) -> int:
    """Writes the ensemble of `models` to `file` and says how large it is; returns the exit status 0."""
    export(models, file, calibration)
    print(f"{file}: {file.stat().st_size / 1e6:,.1f} MB")
    return 0


def export(models: str | Path, file: Path, calibration: Path | None = None) -> None:
    """Writes the ensemble in the folder `models` to `file`. calibration: see `Ensemble.load`. Raises
    InputError where packages are missing, the models cannot be loaded, or they are too large for one file."""
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise InputError(f"{package} is not installed, which export needs ({INSTALL})") from None
    ensemble = Ensemble.load(models, precision="fp32", calibration=calibration)
    whole = Whole(ensemble).cpu().eval()
    size = sum(tensor.nbytes for tensor in whole.state_dict().values())
    if size > MOST_BYTES:
        raise InputError(f"{models}: {size / 1e9:.1f} GB of weights, more than the 2 GB that one ONNX file holds")
    example = torch.zeros((2, 1, ensemble.image_size, ensemble.image_size), dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            whole,
            (example,),
            input_names=["images"],
            output_names=["probabilities", "logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:  # an operation that ONNX has not, as of Hiera's masks
        cause = one_line(error.__cause__ or error, 200)
        raise InputError(f"{models}: torch cannot write one of its networks as ONNX: {cause} (leave it out)") from error
    keys = ensemble.findings.keys
    thresholds = {rule: dict(zip(keys, map(_known, ensemble.thresholds(rule)), strict=True)) for rule in RULES}
    program.model.metadata_props.update(
        findings=",".join(keys),
        image_size=str(ensemble.image_size),
        crop=ensemble.crop,
        thresholds=json.dumps(thresholds),
    )
    if ensemble.calibrated_on:
        program.model.metadata_props["calibration"] = ensemble.calibrated_on
    program.model.metadata_props["not_learned"] = ",".join(ensemble.not_learned)
    try:
        with replacing(file) as temporary:
            program.save(temporary, external_data=False)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror} (give another place)") from None


def _known(threshold: float) -> float | None:
    return None if threshold != threshold else float(threshold)


if __name__ == "__main__":
    sys.exit(main())
