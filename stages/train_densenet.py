"""Trains the base model `densenet` into models/densenet."""

from diagxnet.params.base import DensenetParams
from stages.base_model import train
from stages.running import run


def main() -> dict[str, float]:
    return train("densenet", DensenetParams)


if __name__ == "__main__":
    run("train_densenet", main)
