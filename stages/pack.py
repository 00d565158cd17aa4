"""Decodes every image once into data/packed.

The decoding processes import this module, as Python has it for those that are spawned: what is heavy is imported in
`main`, so that they start in a fifth of the time.
"""

from pathlib import Path

from stages.running import run


def main() -> dict[str, float]:
    from diagxnet.images.pack import pack
    from diagxnet.params.checked import read_params
    from diagxnet.params.data import DataParams
    from diagxnet.reading.columns import Columns

    data = read_params(data=DataParams).data
    return pack(
        Path(data.root),
        "data/inventory.json",
        Path("data/packed"),
        size=data.image_size,
        bad_images=data.bad_images,
        work=Path(".resume/pack"),
        linked=data.linked,
        crop=data.crop,
        columns=Columns(path=data.columns.path, view=data.columns.view, study=data.columns.study),
        test=data.test,
    )


if __name__ == "__main__":
    run("pack", main)
