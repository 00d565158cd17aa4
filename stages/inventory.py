"""Checks all of params.yaml, then writes who the members are, and what is in data.root, by content."""

from pathlib import Path

from diagxnet.data.files import write_json
from diagxnet.data.members import MORE, TABLES, names
from diagxnet.params.checked import read_yaml
from diagxnet.params.whole import read_all
from diagxnet.reading.columns import columns_of
from diagxnet.reading.inventory import default_cache, take_inventory
from stages.notices import cache_notice, check_root, notices, sweep
from stages.running import run


def main() -> None:
    checked = read_all()
    data = checked["data"]
    params = read_yaml(Path("params.yaml"))
    for line in (*notices(params), *cache_notice(Path.cwd()), *sweep(Path("models"), [*params[MORE], *params[TABLES]])):
        print(line)
    check_root(data.root, Path.cwd())
    columns = columns_of(data.columns.model_dump(), data.findings, checked["evaluate"].subgroups)
    inventory = take_inventory(
        Path(data.root), cache=default_cache(), linked=data.linked, columns=columns, test=data.test
    )
    write_json("models/more/members.json", {"members": list(names(params))})
    write_json("data/inventory.json", inventory)


if __name__ == "__main__":
    run("inventory", main, timed=False)  # runs on every dvc repro: a record of its seconds would change each time
