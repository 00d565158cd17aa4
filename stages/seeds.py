"""`python -m stages.seeds` tells how much of a figure is one training's luck: the workspace beside experiments that
differ from it in `seed` alone."""

import argparse
import json
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json
from diagxnet.params.checked import parse, read_yaml
from diagxnet.reporting.wording import flat
from diagxnet.trainings import spread_table, spreads
from stages.report import open_revision
from stages.running import run

EVALUATION = "metrics/evaluation.json"
NONE = (
    "no experiment of this commit differs from the workspace in seed alone (make some: "
    "dvc exp run -n seed-43 -S seed=43)"
)


def others(named: list[str], here: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Content of evaluation.json by experiment. here: flat params of the workspace.

    named: none for all experiments of this commit that differ in `seed`, and in nothing else. Raises InputError where
    a named one differs in more, or not at all, or has no metrics.
    """
    found, seeds = {}, {here["seed"]: "the workspace"}
    for rev in named or _experiments():
        files = open_revision(rev)
        there = flat(parse(files.read_text("params.yaml", encoding="utf-8"), f"params.yaml of {rev}"))
        differing = [key for key in here | there if here.get(key) != there.get(key) and key != "seed"]
        if differing or there["seed"] in seeds:
            if named:
                twin = f"has the seed of {seeds.get(there['seed'])}, {there['seed']}"
                reason = f"differs in {', '.join(differing)}, and not in seed alone" if differing else twin
                raise InputError(
                    f"{rev}: {reason} (name experiments that dvc exp run -S seed=... made of these params)"
                )
            continue
        seeds[there["seed"]] = rev
        try:
            found[rev] = json.loads(files.read_text(EVALUATION, encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{EVALUATION} of {rev}: not in git (run that experiment again)") from None
    if not found:
        raise InputError(NONE)
    return found


def _experiments() -> list[str]:
    with Repo() as repo:
        return [name for each in repo.experiments.ls().values() for name, _ in each]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.seeds", description=__doc__)
    parser.add_argument("rev", nargs="*", help="experiments or commits (none: all experiments of this commit)")
    here = flat(read_yaml(Path("params.yaml")))
    if here != flat(read_yaml(Path("dvc.lock"))["stages"]["evaluate"]["params"]["params.yaml"]):
        raise InputError("params.yaml is not what the metrics here are of (run dvc repro, or git checkout params.yaml)")
    found = others(parser.parse_args().rev, here)
    print(f"seeds {here['seed']} (workspace), and of {', '.join(found)}")
    for line in spread_table(spreads([read_json(Path(EVALUATION)), *found.values()])):
        print(line)
    print(
        "Standard errors of one training's figure: over trainings (standard deviation), over resampled patients, and "
        "over both. 1.96 times that over both is half of its 95% interval."
    )


if __name__ == "__main__":
    run("seeds", main, timed=False)
