"""`python -m stages.report REV` compares the workspace with a revision or experiment, in reports/report-REV.html."""

import argparse
import re
import tempfile
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import SCMError, resolve_rev

from diagxnet.console.errors import InputError
from diagxnet.params.checked import read_params, read_yaml
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.params.seed import Seed
from diagxnet.runs import FILES, history_files, read_run, write_comparison
from diagxnet.statistics.scoring import Scoring
from stages.running import run

SPECIAL = re.compile(r"[^\w.-]")  # characters of a revision that a file name cannot have on every platform


def open_revision(rev: str) -> DVCFileSystem:
    """The files of a commit, branch, tag or experiment; InputError where there is none of that name."""
    try:
        with Repo() as repo:
            return DVCFileSystem(repo.root_dir, rev=resolve_rev(repo.scm, rev))
    except SCMError:
        raise InputError(f"{rev}: no such revision or experiment here (list them: dvc exp show, git log)") from None


def fetch(rev: str, folder: Path) -> None:
    """Copies what is compared of the revision `rev` (a commit, branch, tag or experiment) to `folder`."""
    files = open_revision(rev)
    for name in ("params.yaml", *FILES):
        _get(files, name, rev, folder)
    for name in history_files(folder):
        _get(files, name, rev, folder)


def _get(files: DVCFileSystem, name: str, rev: str, folder: Path) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    try:
        files.get_file(name, str(folder / name))
    except (DvcException, OSError):
        raise InputError(
            f"{name} of {rev}: not in git and not in DVC's cache (fetch it with dvc fetch, or run that again)"
        ) from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("rev", help="commit, branch, tag or experiment to compare the workspace with")
    rev = parser.parse_args().rev
    params = read_params(seed=Seed, evaluate=EvaluateParams)
    scoring = Scoring(**params.evaluate.model_dump(), seed=params.seed)
    path = Path("reports") / f"report-{SPECIAL.sub('-', rev)}.html"
    with tempfile.TemporaryDirectory() as folder:
        fetch(rev, Path(folder))
        there = read_run(rev, Path(folder), read_yaml(Path(folder) / "params.yaml"), scoring.unit)
    here = read_run("workspace", Path(), read_yaml(Path("params.yaml")), scoring.unit)
    write_comparison(path, here, there, scoring)
    print(path)


if __name__ == "__main__":
    run("report", main, timed=False)
