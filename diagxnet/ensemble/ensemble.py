"""The trained ensemble, for new radiographs: a folder of models is all that it needs.

ensemble = Ensemble.load("models")
images = np.stack([decode(path, ensemble.image_size, crop=ensemble.crop) for path in paths])  # images.decode.decode
prediction = ensemble.predict(images)
prediction.probabilities[0, ensemble.findings.keys.index("edema")]
"""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json
from diagxnet.data.findings import Findings, check_same
from diagxnet.data.members import CONFIG, GIVEN, member_folder, table_configs
from diagxnet.ensemble.calibration import RULES, Calibration, not_learned, probabilities, read_calibration
from diagxnet.ensemble.local import Local, read_local
from diagxnet.features.stacked import fill
from diagxnet.features.views import Views
from diagxnet.stacking.learners import apply_meta, load_meta
from diagxnet.training.checkpoint import load_model
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.networks import BaseModel, from_config, model_folders
from diagxnet.training.precision import create_accelerator

CALIBRATION = "calibration.json"
BATCH_SIZE = 64


@dataclass(frozen=True)
class Prediction:
    """What the ensemble says of images; findings in the order of `Ensemble.findings`.

    probabilities: [images, findings] float64 in 0..1, the ensemble's, calibrated. logits: [images, findings] float32,
    the ensemble's, not calibrated. base_logits: [images, models, findings] float32, models as in `Ensemble.base`. All
    are NaN for the findings of `Ensemble.not_learned`.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    base_logits: np.ndarray


@dataclass(frozen=True)
class Ensemble:
    """Base models, meta-learner, calibration and thresholds of a `models` folder, loaded.

    findings: what it predicts. image_size: side in pixels of the images that `predict` takes. base: for each member, in
    order, its networks, one or one a fold and seed, whose mean counts. meta: the meta-learner. calibration: by model
    and finding, as in models/calibration.json. accelerator: device and precision. views: of each image, whose logits
    are averaged (see features.views). crop: what of a film those images are (see images.decode.square). tables:
    config.json of each member that is a table of predictions, which has no network in `base`. calibrated_on: in words,
    the sample of another hospital that `calibration` is of; empty: val of the models' own.
    """

    findings: Findings
    image_size: int
    base: dict[str, list[BaseModel]]
    meta: nn.Module
    calibration: Calibration
    accelerator: Accelerator
    views: int = 1
    tables: Mapping[str, dict] = field(default_factory=dict)
    crop: str = "guide"
    calibrated_on: str = ""

    @classmethod
    def load(
        cls,
        folder: str | Path = "models",
        *,
        precision: str = "auto",
        given: Collection[str] = (),
        calibration: str | Path | None = None,
    ) -> "Ensemble":
        """The ensemble in `folder`, on the best device at hand.

        folder: what the pipeline writes to `models`: the base models and meta with their config.json, calibration.json.
        precision: auto, fp32, bf16 or fp16, as `train.precision`. given: the members that are tables of predictions,
        whose scores of new images the caller has. calibration: of another hospital, a file of stages.recalibrate;
        None: the models' own. Raises InputError where a file is missing, damaged, of another version, or the models, or
        the calibration, do not belong together.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder (give the models folder that dvc repro wrote)")
        own = _calibration(folder / CALIBRATION)
        members, findings, image_size, views, crop = _members(folder)
        check_same(list(own["ensemble"]), folder / CALIBRATION, findings.keys, folder / "meta" / CONFIG)
        accelerator = create_accelerator(precision)
        tables = table_configs(folder, members)
        _check_given(folder, tables, given)
        base = {name: [] if name in tables else _load(member_folder(folder, name), accelerator) for name in members}
        meta = load_meta(folder / "meta")
        local = Local(own, "") if calibration is None else read_local(Path(calibration), folder, members, findings)
        parts = base, meta, local.calibration, accelerator
        return cls(findings, image_size, *parts, views, tables, crop, local.source)

    def predict(
        self, images: np.ndarray, *, batch_size: int = BATCH_SIZE, given: Mapping[str, np.ndarray] | None = None
    ) -> Prediction:
        """Calibrated probabilities and logits of `images`, in their order.

        images: [images, image_size, image_size] uint8, grey, as `diagxnet.images.decode.decode` gives them and
        data/packed/images.npy holds them; a memory map is read a batch at a time. batch_size: images per forward pass.
        given: logits [images, findings] of each member that is a table of predictions (see `tables.given.new_scores`).
        Raises InputError for another shape or type.
        """
        base_logits = self.base_logits(images, batch_size=batch_size)
        for place, name in enumerate(self.base):
            if name in self.tables:
                base_logits[:, place] = given[name]
        base_logits, _ = fill(base_logits)
        logits = apply_meta(self.meta, torch.from_numpy(base_logits)).numpy()
        unknown = [self.findings.keys.index(key) for key in self.not_learned]
        logits[:, unknown], base_logits[..., unknown] = np.nan, np.nan
        return Prediction(probabilities(logits, self.calibration["ensemble"]), logits, base_logits)

    def base_logits(self, images: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Logits [images, models, findings] float32 of the base models, as stack_features computes them."""
        if images.dtype != np.uint8 or images.shape[1:] != (self.image_size, self.image_size):
            raise InputError(
                f"images are {images.dtype} {list(images.shape)}: these models read uint8 [images, {self.image_size}, "
                f"{self.image_size}] (make them with diagxnet.images.decode.decode)"
            )
        base_logits = np.zeros((len(images), len(self.base), len(self.findings)), np.float32)
        if not len(images):
            return base_logits
        rows = np.arange(len(images))
        for position, networks in enumerate(self.base.values()):
            for network in networks:
                source = ImageSource(images, rows)
                given = predict_logits(
                    Views(network, self.views), source, len(images), batch_size=batch_size, accelerator=self.accelerator
                )
                base_logits[:, position] += given / np.float32(len(networks))
        return base_logits

    @property
    def lacks(self) -> dict[str, tuple[str, ...]]:
        """By member the keys of the findings that its table of predictions lacks, where it lacks any."""
        lacking = {
            name: tuple(key for key in self.findings.keys if key not in own["scores"])
            for name, own in self.tables.items()
        }
        return {name: keys for name, keys in lacking.items() if keys}

    @property
    def not_learned(self) -> tuple[str, ...]:
        """Keys of the findings that had no known label in training: nothing is predicted for them."""
        return not_learned(self.calibration)

    def thresholds(self, rule: str = "youden") -> np.ndarray:
        """Thresholds [findings] float64 on the ensemble's calibrated probability; a finding is present at or above.

        rule: `youden` or `specificity_90` (see `ensemble.calibration`). NaN for a finding of fewer than two
        classes on val, for which there is no threshold: no comparison with it holds.
        """
        if rule not in RULES:
            raise InputError(f"threshold rule {rule!r}: must be one of {', '.join(RULES)}")
        known = (own.thresholds for own in self.calibration["ensemble"].values())
        return np.array([np.nan if each is None else each[rule] for each in known])


def _check_given(folder: Path, tables: Mapping[str, dict], given: Collection[str]) -> None:
    for name in tables:
        if name not in given:
            raise InputError(
                f"{folder}: {name} is a table of predictions ({tables[name][GIVEN]}) and says nothing of new images: "
                f"diagxnet.predict and stages.external take its scores of them as --scores {name}=FILE; an export has "
                f"no place for them (or train without it: dvc exp run -S '~tables.{name}')"
            )
    for name in given:
        if name not in tables:
            raise InputError(f"--scores {name}: no member of {folder} is a table of that name (leave it out)")


def _members(folder: Path) -> tuple[list[str], Findings, int, int, str]:
    """The members that the meta-learner of `folder` was trained on, the findings, the side in pixels of the images that
    all of them read, the views of each, and the crop; checked to belong together."""
    meta = _config(folder / "meta")
    members = meta.get("models")
    if not isinstance(members, list) or not members:
        raise InputError(f"{folder / 'meta' / CONFIG}: names no base models (run dvc repro)")
    places = [member_folder(folder, name) for name in members]
    configs = [_config(place) for place in places]
    findings = _findings(folder / "meta" / CONFIG, meta)
    for place, config in zip(places, configs, strict=True):
        check_same(_findings(place / CONFIG, config).names, place / CONFIG, findings.names, folder / "meta" / CONFIG)
    trained = [config for config in configs if GIVEN not in config]
    sizes = {(config.get("image_size"), config.get("crop", "guide")) for config in trained}
    if len(sizes) != 1 or len({config.get("folds") for config in trained}) > 1:
        raise InputError(f"{folder}: {', '.join(members)} and meta are not of one run (run dvc repro)")
    image_size, crop = sizes.pop()
    return members, findings, image_size, meta.get("views", 1), crop


def _findings(path: Path, config: dict) -> Findings:
    try:
        return Findings(tuple(config["findings"]))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: names no findings (run dvc repro)") from None


def _calibration(path: Path) -> Calibration:
    try:
        return read_calibration(path)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: damaged (delete it and run dvc repro evaluate)") from None


def _config(place: Path) -> dict:
    try:
        return read_json(place / CONFIG)
    except FileNotFoundError:
        raise InputError(f"{place / CONFIG}: no trained model here (run dvc repro)") from None
    except ValueError as error:
        raise InputError(f"{place / CONFIG}: damaged: {error} (delete it and run dvc repro)") from None


def _load(folder: Path, accelerator: Accelerator) -> list[BaseModel]:
    places = itertools.chain(*model_folders(folder))
    return [load_model(place, from_config).to(accelerator.device).requires_grad_(False) for place in places]
