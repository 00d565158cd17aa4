"""Checks all of params.yaml, then writes name, size and content hash of the tables and images in data.root."""

from pathlib import Path

from diagxnet.data.inventory import default_cache, take_inventory
from diagxnet.files import write_json
from diagxnet.params.whole import read_all
from stages.running import run


def main() -> None:
    data = read_all()["data"]
    write_json("data/inventory.json", take_inventory(Path(data.root), cache=default_cache()))


if __name__ == "__main__":
    run("inventory", main, timed=False)  # runs on every dvc repro: a record of its seconds would change each time
