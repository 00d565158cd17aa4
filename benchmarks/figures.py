"""The figures of README and docs: what each takes, and whether it comes out again.

    python -m benchmarks.figures --list
    python -m benchmarks.figures [NAME ...] --folder F [--data /your] [--minutes 60]

Without names, all that fit `--minutes`. Each command runs in a clone of the last commit below F, as a reader would type
it there; /your, in a command, is the folder of `--data`, which holds data by the names that the list says. A page's
figures without an entry stand beside their command there; seconds are no figures here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.entries import ENTRIES, Entry
from diagxnet.console.commands import run_command
from diagxnet.console.errors import InputError
from diagxnet.console.progress import hours

ROOT = Path(__file__).resolve().parents[1]
YOUR, HOUR = "/your", 60


def values(entry: Entry, folder: Path, printed: str) -> list[float]:
    """The entry's figures, of what its command printed or left in `folder`, a clone."""
    if entry.output:
        found = re.search(entry.output, printed)
        if found is None:
            raise InputError(f"{entry.name}: its figures are not in what the command printed")
        return [float(each) for each in found.groups()]
    whole = json.loads((folder / entry.file).read_text(encoding="utf-8"))
    figures = []
    for key in entry.keys:
        value = whole
        for part in key.split("."):
            value = value[part]
        figures.append(float(value))
    return figures


def written(entry: Entry) -> tuple[str, ...]:
    """The entry's figures as its page has them; InputError where the passage is not there."""
    found = re.search(entry.written, (ROOT / entry.page).read_text(encoding="utf-8"))
    if found is None:
        raise InputError(f"{entry.name}: {entry.page} has no such passage (see benchmarks/entries.py)")
    return found.groups()


def agreeing(text: str, value: float) -> tuple[int, int]:
    """How many of the decimals of `text`, a figure as written, `value` has when rounded; and how many there are."""
    decimals = len(text.partition(".")[2])
    same = (n for n in range(decimals, 0, -1) if f"{value:.{n}f}" == f"{float(text):.{n}f}")
    return next(same, 0), decimals


def in_clone(folder: Path, command: str, data: Path | None) -> str:
    """What `command` prints in the clone `folder` of the last commit, made where it is not there."""
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        for key, value in (("user.name", "figures"), ("user.email", "figures@localhost")):
            subprocess.run(["git", "config", key, value], cwd=folder, check=True)
    heads = {subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=each) for each in (ROOT, folder)}
    if len(heads) > 1:
        raise InputError(f"{folder}: a clone of another commit than {ROOT} (remove it, or give another --folder)")
    command = command.replace(YOUR, str(data)) if data else command
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    if done.returncode:
        raise InputError(f"{command}: ended with {done.returncode} in {folder} (what it said stands above)")
    return done.stdout


def repeat(entries: Sequence[Entry], folder: Path, data: Path | None) -> bool:
    """Runs each command once, and prints what its entries agree in; whether all do to the last digit."""
    printed: dict[tuple[str, str], str] = {}
    exact = True
    for entry in entries:
        for command in filter(None, (entry.first, entry.command)):
            if (entry.clone, command) not in printed:
                print(f"{entry.clone}: {command}", file=sys.stderr, flush=True)
                started = time.monotonic()
                printed[entry.clone, command] = in_clone(folder / entry.clone, command, data)
                print(f"{entry.clone}: took {hours(time.monotonic() - started)}", file=sys.stderr, flush=True)
        found = values(entry, folder / entry.clone, printed[entry.clone, entry.command])
        for text, value in zip(written(entry), found, strict=True):
            same, decimals = agreeing(text, value)
            exact &= same == decimals
            print(
                f"{entry.name:<16} {entry.page:<18} {text:>8} {value:>9.4f}  {same} of {decimals} decimals", flush=True
            )
    return exact


def listed(entry: Entry) -> str:
    """What the entry takes, as lines for a person."""
    before = f"{entry.first}; " if entry.first else ""
    return (
        f"{entry.name}: {', '.join(written(entry))} in {entry.page}\n"
        f"    data {f'/your/{entry.folder}' if entry.folder else 'drawn'}, seed {entry.seed}, {entry.minutes} min\n"
        f"    {before}{entry.command}"
    )


def chosen(names: Sequence[str], data: Path | None, minutes: float) -> list[Entry]:
    """The entries of `names`; without any, those whose data are there and whose commands fit into `minutes`."""
    known = {entry.name: entry for entry in ENTRIES}
    if wrong := [name for name in names if name not in known]:
        raise InputError(f"{wrong[0]}: no such figure (known: {', '.join(known)})")
    entries = [known[name] for name in names]
    lacking = {entry.folder for entry in entries if entry.folder and not (data and (data / entry.folder).is_dir())}
    if lacking:
        raise InputError(
            f"{data or '--data'}: has no folder {sorted(lacking)[0]} (give the folder that holds it: --data)"
        )
    if names:
        return entries
    spent: dict[tuple[str, str], float] = {}
    for entry in ENTRIES:
        at_hand = not entry.folder or bool(data and (data / entry.folder).is_dir())
        cost = {(each.clone, each.command): each.minutes for each in ENTRIES if each.clone == entry.clone}
        cost = {key: minutes for key, minutes in cost.items() if key[1] in (entry.first, entry.command)}
        if at_hand and sum((spent | cost).values()) <= minutes:
            spent |= cost
            entries.append(entry)
    return entries


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the list; without any, all that fit")
    parser.add_argument("--list", action="store_true", help="say what each takes, and run nothing")
    parser.add_argument("--folder", type=Path, help="of the clones; an earlier run there is gone on with")
    parser.add_argument("--data", type=Path, help="holds the data by the names of the list: /your")
    parser.add_argument("--minutes", type=float, default=HOUR, help=f"of all commands together ({HOUR})")
    given = parser.parse_args()
    if given.list:
        return run_command("figures", lambda: print("\n".join(map(listed, ENTRIES))) or 0)
    if given.folder is None:
        parser.error("--folder: where to clone and run (or --list)")
    data = given.data.resolve() if given.data else None

    def work() -> int:
        return 0 if repeat(chosen(given.names, data, given.minutes), given.folder.resolve(), data) else 3

    return run_command("figures", work)


if __name__ == "__main__":
    sys.exit(main())
