"""The training of one member: params in, a model folder and live curves out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diagxnet.data.files import read_json, write_json
from diagxnet.data.members import FIRST, LEFT_OUT, MORE, member_folder
from diagxnet.params.augment import AugmentParams
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from diagxnet.params.member import MemberParams, MoreParams
from diagxnet.params.seed import Seed
from diagxnet.params.stack import StackParams
from diagxnet.params.train import TrainParams
from diagxnet.training.base import train_base
from diagxnet.training.history import timing
from diagxnet.training.recipe import Recipe, compose
from stages.live import live
from stages.running import is_first

NETWORK = ("arch", "pretrained", "normalise", "dropout", "drop_path", "patch_size", "stem", "batch_norm")
NETWORK += ("grad_checkpointing",)


def options(params: SimpleNamespace, member: MemberParams) -> tuple[Recipe, dict[str, Any], str]:
    """How params.yaml has `member` trained: the recipe, the network's options, the precision."""
    own, shared = member.model_dump(), params.train.model_dump()
    precision = shared.pop("precision")
    del shared["monitor"], own["seeds"]
    network = {key: own.pop(key) for key in NETWORK}
    if own["weight_decay"] is None:
        del own["weight_decay"]
    return compose(**(shared | own), seed=params.seed), network, precision


def members(params: SimpleNamespace) -> dict[str, MemberParams]:
    """The members by name, those left out not among them; params: all sections."""
    every = {name: getattr(params, name) for name in FIRST} | getattr(params, MORE)
    return {name: member for name, member in every.items() if member is not None}


def folds(params: SimpleNamespace) -> int | None:
    """How many models of each kind crossfit trains; None under holdout."""
    return params.stack.folds if params.stack.method == "crossfit" else None


def train(name: str) -> dict[str, float]:
    """Trains the member `name` of params.yaml; returns its timing."""
    section = {name: MemberParams | None} if name in FIRST else {MORE: MoreParams}
    params = read_params(
        data=DataParams, seed=Seed, augment=AugmentParams, train=TrainParams, stack=StackParams, **section
    )
    member = getattr(params, name) if name in FIRST else getattr(params, MORE)[name]
    folder = member_folder(Path("models"), name)
    if member is None:
        print(f"train_{name}: {name} is null in params.yaml: left out of the ensemble")
        write_json(folder / "config.json", LEFT_OUT)
        return {}
    recipe, network, precision = options(params, member)
    epochs = []
    for epoch in live(
        name,
        train_base(
            f"train_{name}",
            recipe,
            **network,
            augmentation=params.augment.model_dump(),
            precision=precision,
            crop=params.data.crop,
            packed=Path("data/packed"),
            prepared=Path("data/prepared"),
            folder=folder,
            resume=Path(".resume") / name,
            folds=folds(params),
            seeds=member.seeds,
        ),
        monitor=params.train.monitor,
    ):
        epochs.append(epoch)
    if not is_first():
        return {}  # of what is written it has nothing on its machine's disk
    history = read_json(folder / "training_history.json")
    return timing(epochs, history)
