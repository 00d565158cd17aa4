"""Trains the base model `vit` into models/vit."""

from diagxnet.params.base import VitParams
from stages.base_model import train
from stages.running import run


def main() -> dict[str, float]:
    return train("vit", VitParams)


if __name__ == "__main__":
    run("train_vit", main)
