"""Predicts findings of chest radiographs with a trained ensemble.

    python -m diagxnet.predict FILE FOLDER TABLE.csv --csv predictions.csv --heatmap maps --html study_list.html

For research only: not a medical device, not for decisions about patients.
"""

import argparse
import contextlib
import csv
import errno
import json
import os
import sys
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from diagxnet.console.commands import run_command
from diagxnet.console.errors import InputError, printable
from diagxnet.console.progress import Progress
from diagxnet.data.files import replacing
from diagxnet.data.findings import Findings
from diagxnet.ensemble.calibration import RULES
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.images.decode import ImageError
from diagxnet.prediction.inputs import list_inputs
from diagxnet.prediction.run import Outcome, run
from diagxnet.tables.given import new_scores
from diagxnet.tables.named import named

SHOWN = 5
"""Files and linked folders that were passed over are named up to this many."""

Writer = Callable[[Outcome], None]


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: all were predicted; 1: some were not, or the input is bad; 2: the command line is."""
    commands = parser()
    options = commands.parse_args(arguments)
    if options.finding and options.heatmap is None and options.html is None:
        commands.error("--finding says what to map: give --heatmap or --html too")
    if options.open and options.html is None:
        commands.error("--open shows the page that --html writes: give --html too")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path's letters may be none of the terminal's
    try:
        return run_command("predict", lambda: predict(options))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("predict: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m diagxnet.predict",
        description="Predicts findings of chest radiographs. For research only: not a medical device.",
    )
    options.add_argument("paths", nargs="+", metavar="PATH", help="image, folder or table (.csv, .csv.gz)")
    options.add_argument("--column", metavar="NAME", help="of a table: names the image (default: Path)")
    options.add_argument("--models", default="models", metavar="DIR", help="trained ensemble (default: models)")
    options.add_argument("--rule", choices=RULES, default="youden", help="thresholds to mark by (default: youden)")
    text = "another hospital's, of stages.recalibrate (default: the models' own)"
    options.add_argument("--calibration", type=Path, metavar="FILE", help=text)
    options.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="of the models")
    text = "a member that is a table: its scores of these images; repeatable"
    options.add_argument("--scores", action="append", metavar="NAME=FILE", help=text)
    options.add_argument("--csv", type=Path, metavar="FILE", help="write a table, a row an image, bad ones too")
    options.add_argument("--heatmap", type=Path, metavar="DIR", help="draw heat maps of the findings that are present")
    options.add_argument("--finding", action="append", metavar="NAME", help="map this one; repeatable")
    options.add_argument("--html", type=Path, metavar="FILE", help="write a study list with thumbnails and maps")
    options.add_argument("--open", action="store_true", help="show the page of --html in the browser")
    options.add_argument("--json", action="store_true", help="print a JSON object a line instead of text")
    return options


def predict(options: argparse.Namespace) -> int:
    """Predicts what `options` name and writes what they ask for; returns the exit status."""
    with contextlib.ExitStack() as stack:
        status = predict_into(options, stack)
    if written := [str(path) for path in (options.csv, options.heatmap, options.html) if path is not None]:
        print(f"predict: wrote {', '.join(map(printable, written))}", file=sys.stderr)
    if options.open and not webbrowser.open(options.html.resolve().as_uri()):
        print(f"predict: no browser here (open {printable(options.html.resolve())} yourself)", file=sys.stderr)
    return status


def predict_into(options: argparse.Namespace, stack: contextlib.ExitStack) -> int:
    """`predict`, whose files are whole once `stack` is left."""
    items, passed = list_inputs(options.paths, options.column)
    if passed:
        more = ", ..." if len(passed) > SHOWN else ""
        names = ", ".join(printable(path) for path in passed[:SHOWN])
        what = "no images by name or content, or linked folders"
        print(f"predict: passed over, {what}: {len(passed):,} ({names}{more})", file=sys.stderr)
    tables = named("--scores", options.scores or ())
    ensemble = Ensemble.load(options.models, precision=options.precision, given=tables, calibration=options.calibration)
    if ensemble.calibrated_on:
        print(f"predict: calibrated on {ensemble.calibrated_on}", file=sys.stderr)
    paths = [item.path.as_posix() for item in items]
    studies = [item.path.parent.as_posix() for item in items]
    scores = {
        name: new_scores(name, file, ensemble.tables[name], paths, studies, ensemble.findings)
        for name, file in tables.items()
    }
    wanted = to_map(ensemble, options.finding or ())
    printer = json_printer(ensemble) if options.json else Printer(ensemble, options.rule)
    writers: list[Writer] = [printer]
    if options.csv is not None:
        writers.append(stack.enter_context(csv_writer(options.csv, ensemble)))
    if options.heatmap is not None or options.html is not None:
        writers.append(stack.enter_context(map_writer(ensemble, options, wanted)))
    failed = 0
    with Progress(len(items), "predict", shown=len(items) > 1) as progress:
        for outcome in run(ensemble, items, rule=options.rule, scores=scores):
            failed += outcome.error is not None
            for line in complaints(outcome):
                tqdm.write(line, file=sys.stderr)
            for write in writers:
                write(outcome)
            progress.update()
    sys.stdout.flush()
    return 1 if failed else 0


def to_map(ensemble: Ensemble, wanted: Sequence[str]) -> list[str]:
    """Keys of the findings that are `wanted`, by name or key; a line on the findings that are left empty.

    InputError for one that the ensemble does not know or never learned.
    """
    names = ensemble.findings.titles
    if ensemble.not_learned:
        unknown = ", ".join(names[key] for key in ensemble.not_learned)
        print(f"predict: not learned, so left empty: {unknown} (no label in training)", file=sys.stderr)
    keys = []
    for text in wanted:
        try:
            keys.append(ensemble.findings.named(text))
        except ValueError as error:
            raise InputError(f"--finding {text}: {error} (name one that these models predict)") from None
        if keys[-1] in ensemble.not_learned:
            raise InputError(f"{names[keys[-1]]}: these models never learned it, so there is no map (leave it out)")
    return keys


def complaints(outcome: Outcome) -> Iterator[str]:
    """A line for what kept an image from being predicted, or for each doubt about it."""
    if outcome.error is not None:
        yield f"predict: {outcome.item.shown}: {outcome.error}"
    for doubt in outcome.doubts:
        yield f"predict: warning: {outcome.item.shown}: {doubt}"


class Printer:
    """Prints an image's probabilities, the largest first; an asterisk marks those at or above their threshold.

    A finding that was not learned comes last, without a number.
    """

    def __init__(self, ensemble: Ensemble, rule: str) -> None:
        self.findings, self.thresholds = ensemble.findings, ensemble.thresholds(rule)
        self.width = max(26, *map(len, self.findings.names))

    def __call__(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            return
        print(outcome.item.shown)
        for finding in (-outcome.probabilities).argsort(kind="stable"):
            key, threshold = self.findings.keys[finding], self.thresholds[finding]
            name = f"{self.findings.names[finding]:<{self.width}}"
            if np.isnan(outcome.probabilities[finding]):
                print(f"    {name} not learned")
                continue
            mark = "*" if key in outcome.present else " "
            above = "no threshold" if threshold != threshold else f"threshold {threshold:.3f}"
            print(f"  {mark} {name} {outcome.probabilities[finding]:.3f}  ({above})")


def json_printer(ensemble: Ensemble) -> Writer:
    further = {"calibration": ensemble.calibrated_on} if ensemble.calibrated_on else {}
    return lambda outcome: print(json.dumps(as_record(outcome, ensemble.findings) | further))


def as_record(outcome: Outcome, findings: Findings) -> dict:
    """`path` and `error`, or `path`, `probabilities` by finding key, `present` keys and `doubts`.

    The probability of a finding that was not learned is None.
    """
    if outcome.error is not None:
        return {"path": outcome.item.shown, "error": outcome.error}
    return {
        "path": outcome.item.shown,
        "probabilities": {
            key: None if np.isnan(value) else round(value, 6)
            for key, value in zip(findings.keys, outcome.probabilities.tolist(), strict=True)
        },
        "present": list(outcome.present),
        "doubts": list(outcome.doubts),
    }


@contextlib.contextmanager
def csv_writer(path: Path, ensemble: Ensemble) -> Iterator[Writer]:
    """Writes a row an image: path, the probabilities by finding key, present, doubts, error; whole or not at all.
    Where the calibration is another hospital's, a column says which.

    The probability of a finding that was not learned is empty.
    """
    findings, further = ensemble.findings, ensemble.calibrated_on
    with contextlib.ExitStack() as stack:
        with writing(path):
            temporary = stack.enter_context(replacing(path))
            file = stack.enter_context(temporary.open("w", encoding="utf-8", newline=""))
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", *findings.keys, "present", "doubts", "error", *(["calibration"] if further else [])])

        def write(outcome: Outcome) -> None:
            values = ["" if np.isnan(value) else f"{value:.6f}" for value in outcome.probabilities] or [""] * len(
                findings
            )
            notes = ["; ".join(outcome.present), "; ".join(outcome.doubts), outcome.error or ""]
            notes += [further] if further else []
            with writing(path):
                rows.writerow([outcome.item.shown, *values, *notes])

        yield write


@contextlib.contextmanager
def map_writer(ensemble: Ensemble, options: argparse.Namespace, wanted: Sequence[str]) -> Iterator[Writer]:
    """Draws the heat maps of each image into `--heatmap` and gathers the study list, which is written at the end.

    wanted: keys of the findings to map; where there are none, those that are present.
    """
    from diagxnet.prediction.maps import map_outcome, write_maps  # matplotlib takes a second to import
    from diagxnet.prediction.study_list import StudyList, remarks

    thresholds = ensemble.thresholds(options.rule)
    studies = StudyList(ensemble.findings, thresholds, ensemble.calibrated_on, remarks(ensemble))
    if options.html is not None:
        with writing(options.html):  # found out now, not after an hour of predictions
            check_replaceable(options.html)

    def write(outcome: Outcome) -> None:
        try:
            maps = None if outcome.error is not None else map_outcome(ensemble, outcome, wanted)
        except ImageError as error:
            raise InputError(f"{outcome.item.shown}: changed while it was predicted: it {error} (run again)") from None
        if options.heatmap is not None and maps is not None:
            with writing(options.heatmap):
                write_maps(options.heatmap, outcome, maps, ensemble.findings, thresholds)
        if options.html is not None:
            studies.add(outcome, maps)

    yield write
    if options.html is not None:
        with writing(options.html):
            studies.write(options.html)


def check_replaceable(path: Path) -> None:
    """An OSError where `replacing` could not put a file at `path`; makes its folder, but leaves nothing there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """An InputError that names `path` for what the system raises where it cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror} (give another place)") from None


if __name__ == "__main__":
    sys.exit(main())
