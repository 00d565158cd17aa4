"""Checks all of params.yaml, then writes who the members are, and by content what is in data.root and their weights."""

from pathlib import Path

from diagxnet.console.errors import InputError
from diagxnet.data.files import write_json
from diagxnet.data.members import FIRST, MORE, TABLES, names
from diagxnet.params.checked import read_yaml
from diagxnet.params.member import MemberParams
from diagxnet.params.whole import read_all
from diagxnet.reading.columns import columns_of
from diagxnet.reading.inventory import default_cache, take_inventory
from diagxnet.training.published import local_state
from stages.notices import cache_notice, check_root, notices, sweep
from stages.recorded import MEMBERS, weights_of
from stages.running import run


def main() -> None:
    checked = read_all()
    data = checked["data"]
    params = read_yaml(Path("params.yaml"))
    for line in (*notices(params), *cache_notice(Path.cwd()), *sweep(Path("models"), [*params[MORE], *params[TABLES]])):
        print(line)
    check_root(data.root, Path.cwd())
    columns = columns_of(data.columns.model_dump(), data.findings, checked["evaluate"].subgroups)
    weights = {name: state(name, checked[name]) for name in FIRST}
    weights |= {name: state(f"{MORE}.{name}", own) for name, own in checked[MORE].items()}
    inventory = take_inventory(
        Path(data.root), cache=default_cache(), linked=data.linked, columns=columns, test=data.test
    )
    write_json(MEMBERS, {"members": list(names(params)), "weights": weights})
    write_json("data/inventory.json", inventory)


def state(section: str, own: MemberParams | None) -> str | None:
    """See published.local_state. Weights that are gone are as dvc.lock has them: they are wanted only to train anew."""
    if own is None:
        return None
    try:
        return local_state(own.arch, own.pretrained)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if recorded := weights_of(Path("dvc.lock"), section, own.arch, own.pretrained):
            return recorded
        raise InputError(
            f"params.yaml: {section}: {error.filename}: {error.strerror}, and {section} begins with its weights "
            "(name it as it is from here; for a queued experiment by an absolute path)"
        ) from None


if __name__ == "__main__":
    run("inventory", main, timed=False)  # runs on every dvc repro: a record of its seconds would change each time
