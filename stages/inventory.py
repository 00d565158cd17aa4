"""Checks all of params.yaml, then writes who the members are, and what is in data.root, by content."""

from pathlib import Path

from diagxnet.data.files import write_json
from diagxnet.data.members import MORE, names
from diagxnet.params.checked import read_yaml
from diagxnet.params.whole import read_all
from diagxnet.tables.inventory import default_cache, take_inventory
from stages.notices import check_root, notices, sweep
from stages.running import run


def main() -> None:
    root = read_all()["data"].root
    params = read_yaml(Path("params.yaml"))
    for line in (*notices(params), *sweep(Path("models"), params[MORE])):
        print(line)
    check_root(root, Path.cwd())
    write_json("models/more/members.json", {"members": list(names(params))})
    write_json("data/inventory.json", take_inventory(Path(root), cache=default_cache()))


if __name__ == "__main__":
    run("inventory", main, timed=False)  # runs on every dvc repro: a record of its seconds would change each time
