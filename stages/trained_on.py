"""Writes models/trained_on.npz: hashes of the patients and images that the ensemble was trained on."""

from pathlib import Path

from diagxnet.trained_on import FILE, collect, write_trained_on
from stages.running import run


def main() -> None:
    write_trained_on(Path("models") / FILE, collect(Path("data/inventory.json"), Path("data/prepared")))


if __name__ == "__main__":
    run("trained_on", main, timed=False)
