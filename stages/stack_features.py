"""Logits of each base model for each image of stack, val and test, under crossfit also of train; reads no labels."""

from pathlib import Path

from diagxnet.data.files import read_json
from diagxnet.features.stack import stack_features
from diagxnet.params.checked import read_params
from diagxnet.params.stack import StackParams
from diagxnet.params.train import TrainParams
from stages.running import is_first, run


def main() -> dict[str, float]:
    params = read_params(train=TrainParams, stack=StackParams)
    return stack_features(
        read_json("models/more/members.json")["members"] if is_first() else (),
        Path("models"),
        Path("data/packed"),
        Path("data/prepared"),
        Path("data/stacked"),
        precision=params.train.precision,
        batch_size=params.stack.batch_size,
        views=params.stack.views,
    )


if __name__ == "__main__":
    run("stack_features", main)
