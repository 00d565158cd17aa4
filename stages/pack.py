"""Decodes every image once into data/packed."""

from pathlib import Path

from diagxnet.data.pack import pack
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from stages.running import run


def main() -> dict[str, float]:
    data = read_params(data=DataParams).data
    return pack(
        Path(data.root),
        "data/inventory.json",
        Path("data/packed"),
        size=data.image_size,
        bad_images=data.bad_images,
        work=Path(".resume/pack"),
    )


if __name__ == "__main__":
    run("pack", main)
