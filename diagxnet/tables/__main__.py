"""Judges and stacks predictions that others made, beside readers; see docs/members.md.

    python -m diagxnet.tables --truth groundtruth.csv --model NAME=FILE --reader NAME=FILE --out FOLDER

Writes FOLDER/metrics.json, in the form of metrics/evaluation.json, and FOLDER/report.html. For research only.
"""

import argparse
import sys
from pathlib import Path

from diagxnet.console.commands import run_command
from diagxnet.console.errors import InputError
from diagxnet.data.files import write_json
from diagxnet.tables.aligned import align
from diagxnet.tables.figures import name_of
from diagxnet.tables.measure import COMBINED, Judged, Settings, judge
from diagxnet.tables.named import named
from diagxnet.tables.page import sentences, write_page

TAKEN = {*COMBINED, "findings", "comparison", "readers", "stack", "counts", "settings", "notes"}
"""Keys of metrics.json, beside which a model's name stands."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: both files are written; 1: the input is bad; 2: the command line is."""
    options = parser().parse_args(arguments)
    return run_command("tables", lambda: tables(options))


def parser() -> argparse.ArgumentParser:
    defaults = Settings()
    options = argparse.ArgumentParser(
        prog="python -m diagxnet.tables",
        description="Judges and stacks tables of predictions, beside readers. For research only.",
    )
    options.add_argument("--truth", type=Path, required=True, metavar="FILE", help="labels: 1, 0, -1 or blank")
    for kind, text in (("model", "scores of a model"), ("reader", "a reader's calls, 1 or 0")):
        options.add_argument(f"--{kind}", action="append", metavar="NAME=FILE", help=f"{text}; repeatable")
    options.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of metrics.json and report.html")
    for name, text in (
        ("folds", "of patients"),
        ("repeats", "times that patients are dealt into folds"),
        ("bootstrap", "resamples of patients for each interval"),
        ("min_positives", "positives and negatives for a finding to be in means"),
        ("seed", "of folds and resamples"),
    ):
        value = getattr(defaults, name)
        flag = f"--{name.replace('_', '-')}"
        options.add_argument(flag, type=int, default=value, metavar="N", help=f"{text} (default: {value})")
    return options


def tables(options: argparse.Namespace) -> int:
    """Does what `options` say, and prints what it found."""
    flags = {"--model": options.model, "--reader": options.reader}
    models, readers = (named(flag, own or (), TAKEN) for flag, own in flags.items())
    if not models:
        raise InputError("there is no model to judge (give --model NAME=FILE, once for each)")
    if both := models.keys() & readers.keys():
        raise InputError(f"{min(both)} is a model and a reader (give each a name of its own)")
    names = ("folds", "repeats", "bootstrap", "min_positives", "seed")
    settings = Settings(**{name: getattr(options, name) for name in names})
    least = {"folds": 2, "repeats": 1, "bootstrap": 2, "min_positives": 1, "seed": 0}
    for name, value in least.items():
        if getattr(settings, name) < value:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} is {getattr(settings, name)} (give {value} or more)")
    aligned = align(options.truth, models, readers)
    print("\n".join(f"tables: {note}" for note in aligned.notes), file=sys.stderr, flush=True)
    judged = judge(aligned, settings, shown=True)
    write_json(options.out / "metrics.json", judged.evaluation)
    write_page(options.out / "report.html", judged)
    print(figures_text(judged))
    print("\n".join(sentences(judged)))
    print(options.out / "report.html")
    return 0


def figures_text(judged: Judged) -> str:
    """The models' macro figures, a line each."""
    width = max(len("macro"), *(len(name_of(model)) for model in judged.scored.models))
    lines = [f"{'macro':{width}}  {'AUROC (95% interval)':25}  AUPRC (95% interval)"]
    for model in judged.scored.models:
        cells = []
        for metric in ("auroc", "auprc"):
            own = judged.evaluation[model][metric]
            ends = own["ci"]["macro"]
            cells.append(f"{own['macro']:.3f} ({ends['lower']:.3f} to {ends['upper']:.3f})")
        lines.append(f"{name_of(model):{width}}  {cells[0]:25}  {cells[1]}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
