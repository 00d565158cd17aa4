"""What the stages train_densenet and train_vit share: params in, a model folder and live curves out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diagxnet.data.files import read_json
from diagxnet.params.augment import AugmentParams
from diagxnet.params.base import BaseModelParams
from diagxnet.params.checked import read_params
from diagxnet.params.seed import Seed
from diagxnet.params.stack import StackParams
from diagxnet.params.train import TrainParams
from diagxnet.training.base import train_base
from diagxnet.training.history import timing
from diagxnet.training.loop import Recipe
from stages.live import live

NETWORK = ("arch", "pretrained", "dropout", "patch_size", "stem", "batch_norm")


def options(params: SimpleNamespace, name: str) -> tuple[Recipe, dict[str, Any], str]:
    """How params.yaml has the base model `name` trained: the recipe, the network's options, the precision."""
    own, shared = getattr(params, name).model_dump(), params.train.model_dump()
    precision = shared.pop("precision")
    del shared["monitor"]
    network = {"patch_size": None, "stem": "patches", "batch_norm": False}
    network |= {key: own.pop(key) for key in NETWORK if key in own}
    return Recipe(**(shared | own), seed=params.seed), network, precision


def folds(params: SimpleNamespace) -> int | None:
    """How many models of each kind crossfit trains; None under holdout."""
    return params.stack.folds if params.stack.method == "crossfit" else None


def train(name: str, section: type[BaseModelParams]) -> dict[str, float]:
    """Trains the base model `name`, whose section of params.yaml is `section`; returns its timing."""
    params = read_params(seed=Seed, augment=AugmentParams, train=TrainParams, stack=StackParams, **{name: section})
    recipe, network, precision = options(params, name)
    epochs = []
    for epoch in live(
        name,
        train_base(
            f"train_{name}",
            recipe,
            **network,
            augmentation=params.augment.model_dump(),
            precision=precision,
            packed=Path("data/packed"),
            prepared=Path("data/prepared"),
            folder=Path("models") / name,
            resume=Path(".resume") / name,
            folds=folds(params),
        ),
        monitor=params.train.monitor,
    ):
        epochs.append(epoch)
    history = read_json(Path("models") / name / "training_history.json")
    return timing(epochs, history)
