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
from dataclasses import dataclass
from pathlib import Path

from diagxnet.console.commands import run_command
from diagxnet.console.errors import InputError
from diagxnet.console.progress import hours
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.findings import key_of
from diagxnet.statistics.comparison import label

ROOT = Path(__file__).resolve().parents[1]
NUMBER = r"([+-]?\d\.\d+)"
"""A figure."""

NOT = r"[^\n]*?"
"""What is between two figures of a line."""

YOUR, HOUR = "/your", 60


@dataclass(frozen=True)
class Entry:
    """Figures of a page that one command gives.

    written: a regular expression that finds them in `page`, a group each.
    file, keys: the JSON file and the dotted keys in it that hold them, in that order; or output: a regular expression
    with the same groups for what the command prints.
    clone: commands of one clone see each other's outputs; `first` must have run there. minutes: on two cores, without
    `first`. folder: of `--data`, or "" for what is drawn.
    """

    name: str
    page: str
    written: str
    command: str
    minutes: float
    file: str = ""
    keys: tuple[str, ...] = ()
    output: str = ""
    folder: str = ""
    seed: str = "42"
    clone: str = "demo"
    first: str = ""


def macro(*models: str, measure: str = "auroc") -> tuple[str, ...]:
    """Keys of the macro `measure` of each of `models`, then of the ends of the last one's interval."""
    ends = tuple(f"{models[-1]}.{measure}.ci.macro.{end}" for end in ("lower", "upper"))
    return (*(f"{model}.{measure}.macro" for model in models), *ends)


def on_val(model: str) -> tuple[str, str]:
    """Keys of its macro AUROC and AUPRC on val."""
    return f"{model}.val.auroc", f"{model}.val.auprc"


def gap(measure: str) -> tuple[str, ...]:
    """Keys of what the ensemble has of `measure` at home, elsewhere, and of the difference and its interval."""
    ends = ("own", "foreign", "difference", "ci.lower", "ci.upper")
    return tuple(f"external.gap.ensemble.{measure}.macro.{end}" for end in ends)


def minus(model: str) -> tuple[str, ...]:
    """Keys of the ensemble's macro AUROC minus that of `model`, and of the interval."""
    return tuple(
        f"comparison.ensemble_minus_{model}.auroc.macro.{end}" for end in ("difference", "ci.lower", "ci.upper")
    )


def row(start: str, count: int) -> str:
    """A regular expression of `count` figures on the line, or row of a table, that begins with `start`."""
    return re.escape(start) + NOT + NOT.join([NUMBER] * count)


REPRO, FOUR = "dvc repro", ("densenet", "vit", "average", "ensemble")
BASELINE = "dvc exp run -n baseline $(python -m diagxnet.recipe baseline)"
NIH = "dvc exp run -n nih -S data.root=/your/nih-cxr-1k"
ABROAD = (
    "python -m stages.external --root /your/nih-cxr-1k --out metrics/external/nih.json --data data "
    "--allow-known-patients"
)
JUDGE = (
    "python -m diagxnet.tables --truth {0}/groundtruth.csv "
    "$(for f in {0}/models/*.csv; do echo --model $(basename $f .csv)=$f; done) "
    "$(for f in {0}/{1}/*.csv; do echo --reader $(basename $f .csv)=$f; done) --out reports/judged-{1}"
)
DRAWN = "python -m diagxnet.tables.drawn reports/drawn; " + JUDGE.format("reports/drawn", "readers")
PUBLIC = "chexpert-test-predictions"
PUBLISHED = JUDGE.format(f"/your/{PUBLIC}", "radiologists")
RULES = f"python -m stages.label_rules /your/{PUBLIC}/labelers/chexpert_labels.csv /your/{PUBLIC}/groundtruth.csv"
EVALUATION, ABROAD_FILE = "metrics/evaluation.json", "metrics/external/nih.json"
DRAWN_FILE, PUBLISHED_FILE = "reports/judged-readers/metrics.json", "reports/judged-radiologists/metrics.json"
SHARE = rf"\d+ of \d+ {NUMBER} \({NUMBER} to {NUMBER}\)"
INTERVAL = rf"{NUMBER} \({NUMBER} to {NUMBER}\)"


def rule(finding: str, label: str, written: str = "") -> Entry:
    """How often `label` of `finding` is true by radiologists; written: its passage in the page, where it is no row's
    first."""
    return Entry(
        f"rules-{label.removeprefix('-1') or 'uncertain'}-{key_of(finding)}",
        "docs/data.md",
        written or row(f"| {label}, {finding} |", 3),
        RULES,
        1,
        output=rf"{finding} +(?:\d+ of [^)]+\) +){{{3 if label == 'blank' else 2}}}{SHARE}",
        folder=PUBLIC,
        seed="none",
    )


ENTRIES = (
    Entry("demo", "README.md", row("| 174 drawn radiographs |", 6), REPRO, 10, EVALUATION, macro(*FOUR)),
    Entry(
        "demo-verdict",
        "README.md",
        rf"macro AUROC {NUMBER} \(95% interval over patients {NUMBER} to {NUMBER}",
        REPRO,
        10,
        EVALUATION,
        minus("best_base"),
    ),
    Entry(
        "demo-terminal",
        "README.md",
        NOT.join(rf"{label(model)} +{NUMBER} +{NUMBER} +{INTERVAL} +{INTERVAL}\n" for model in FOUR),
        REPRO,
        10,
        EVALUATION,
        tuple(key for model in FOUR for key in (*on_val(model), *macro(model), *macro(model, measure="auprc"))),
    ),
    Entry(
        "demo-val",
        "docs/evaluation.md",
        f"On the demo that is an AUROC of {NUMBER}",
        REPRO,
        10,
        EVALUATION,
        on_val("ensemble")[:1],
    ),
    Entry(
        "demo-ece",
        "docs/evaluation.md",
        rf"174 images {NUMBER}, where a perfectly calibrated model would show {NUMBER}",
        REPRO,
        10,
        EVALUATION,
        ("ensemble.ece.macro", "ensemble.ece.if_calibrated.macro"),
    ),
    Entry(
        "demo-findings",
        "docs/demo.md",
        r"[^\n]*\n".join(rf"\| {name} \| [\d.]+ \| [\d.]+ \| {NUMBER} \|" for name in CHEXPERT.names),
        REPRO,
        10,
        EVALUATION,
        tuple(f"densenet.auroc.per_finding.{key}" for key in CHEXPERT.keys),
    ),
    Entry(
        "demo-one-thread",
        "docs/start/reviewer.md",
        rf"became {NUMBER}, {NUMBER}, {NUMBER} and {NUMBER}, and the ensemble minus DenseNet {INTERVAL}",
        f"OMP_NUM_THREADS=1 {REPRO}",
        20,
        EVALUATION,
        (*macro(*FOUR)[:4], *minus("best_base")),
        clone="one-thread",
    ),
    Entry("demo-average", "README.md", row("average of its base models (", 3), REPRO, 10, EVALUATION, minus("average")),
    Entry(
        "pointing",
        "docs/predict.md",
        row("does in ", 3),
        "python -m benchmarks.pointing",
        2,
        output=rf"mean of the findings +\d+ +{NUMBER} +{NUMBER} +{NUMBER}",
        seed="none",
        first=REPRO,
    ),
    Entry(
        "abroad-auroc",
        "docs/external.md",
        row("| AUROC |", 5),
        ABROAD,
        2,
        ABROAD_FILE,
        gap("auroc"),
        folder="nih-cxr-1k",
        first=REPRO,
    ),
    Entry(
        "abroad-auprc",
        "docs/external.md",
        row("| AUPRC |", 5),
        ABROAD,
        2,
        ABROAD_FILE,
        gap("auprc"),
        folder="nih-cxr-1k",
        first=REPRO,
    ),
    Entry(
        "abroad-ece",
        "docs/external.md",
        row("| ECE |", 5),
        ABROAD,
        2,
        ABROAD_FILE,
        gap("ece"),
        folder="nih-cxr-1k",
        first=REPRO,
    ),
    Entry(
        "baseline",
        "README.md",
        row("| the same, baseline |", 6),
        BASELINE,
        12,
        EVALUATION,
        macro(*FOUR),
        clone="baseline",
    ),
    Entry(
        "nih",
        "README.md",
        row("| 235 NIH radiographs, 7 findings |", 6),
        NIH,
        12,
        EVALUATION,
        macro(*FOUR),
        folder="nih-cxr-1k",
        clone="nih",
    ),
    Entry(
        "members",
        "docs/members.md",
        row("| mean of probabilities | |", 3),
        DRAWN,
        1,
        DRAWN_FILE,
        macro("probability_mean"),
        seed="0",
    ),
    Entry(
        "members-stack",
        "docs/members.md",
        row("what findings have in common |", 3),
        DRAWN,
        1,
        DRAWN_FILE,
        macro("ensemble"),
        seed="0",
    ),
    Entry(
        "members-vendor",
        "docs/members.md",
        row("| vendor | 0.860 |", 3),
        DRAWN,
        1,
        DRAWN_FILE,
        macro("vendor"),
        seed="0",
    ),
    Entry(
        "published-mean",
        "docs/members.md",
        rf"mean of probabilities \| {NUMBER} \({NUMBER} to {NUMBER}",
        PUBLISHED,
        6,
        PUBLISHED_FILE,
        macro("probability_mean"),
        folder=PUBLIC,
        seed="0",
    ),
    Entry(
        "published-stack",
        "docs/members.md",
        row("| stack, out of fold |", 3),
        PUBLISHED,
        6,
        PUBLISHED_FILE,
        macro("ensemble"),
        folder=PUBLIC,
        seed="0",
    ),
    *(rule(finding, "-1") for finding in ("Consolidation", "Pneumonia", "Pleural Effusion")),
    rule("Atelectasis", "-1", row("| -1, Atelectasis; Edema |", 3)),
    rule("Edema", "-1", r"\| -1, Atelectasis; Edema \|[^;]*; " + NOT + INTERVAL),
    *(rule(finding, "blank") for finding in ("Cardiomegaly", "Enlarged Cardiomediastinum")),
)


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
        raise InputError(f"{entry.name}: {entry.page} has no such passage (see benchmarks/figures.py)")
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
