"""Trains the meta-learner on the stack split's logits into models/meta."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diagxnet.data.files import read_json
from diagxnet.params.checked import read_params
from diagxnet.params.meta import MetaParams
from diagxnet.params.seed import Seed
from diagxnet.params.stack import StackParams
from diagxnet.params.train import TrainParams
from diagxnet.stacking.train import train_meta
from diagxnet.training.history import timing
from diagxnet.training.recipe import Recipe, compose
from stages.live import live
from stages.running import run

OPTIONS = ("hidden_dim", "dropout", "init", "inputs")
SHARED = ("optimizer", "weight_decay", "loss", "label_smoothing", "class_weights", "max_class_weight")
SHARED += ("max_grad_norm", "min_delta")


def options(params: SimpleNamespace) -> tuple[Recipe, str, dict[str, Any]]:
    """How params.yaml has the meta-learner trained: the recipe, its architecture, the architecture's options."""
    own, shared = params.meta.model_dump(), params.train.model_dump(include=set(SHARED))
    arch, network = own.pop("arch"), {key: own.pop(key) for key in OPTIONS}
    del own["ensemble_seeds"]
    return compose(**shared, **own, seed=params.seed), arch, network


def main() -> dict[str, float]:
    params = read_params(seed=Seed, train=TrainParams, stack=StackParams, meta=MetaParams)
    recipe, arch, network = options(params)
    folders = {"stacked": Path("data/stacked"), "prepared": Path("data/prepared"), "folder": Path("models/meta")}
    folders |= {"left_out": Path("data/ensemble_val.npz"), "resume": Path(".resume/meta")}
    folds = params.stack.folds if params.stack.method == "crossfit" else None
    counts = {"seeds": params.meta.ensemble_seeds, "folds": folds, "views": params.stack.views}
    training = train_meta(recipe, arch=arch, options=network, **counts, **folders)
    epochs = list(live("meta", training))
    history = read_json("models/meta/training_history.json")
    return timing(epochs, history)


if __name__ == "__main__":
    run("train_meta", main)
