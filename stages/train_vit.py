"""Trains the member `vit` into models/vit."""

from stages.base_model import train
from stages.running import run

if __name__ == "__main__":
    run("train_vit", lambda: train("vit"))
