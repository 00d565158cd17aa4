"""Trains the member `densenet` into models/densenet."""

from stages.base_model import train
from stages.running import run

if __name__ == "__main__":
    run("train_densenet", lambda: train("densenet"))
