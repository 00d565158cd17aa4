"""benchmarks.figures: each figure stands where it says, is read where it says, and a difference is told."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.entries import ENTRIES, NUMBER, REPRO, Entry
from benchmarks.figures import agreeing, chosen, in_clone, repeat, values, written
from diagxnet.console.errors import InputError
from tests.conftest import ROOT


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_figure_stands_in_the_page_named_and_has_a_place_it_is_read_from(entry: Entry) -> None:
    count = len(entry.keys) or re.compile(entry.output).groups
    assert len(written(entry)) == count > 0
    assert all(re.fullmatch(NUMBER, figure) for figure in written(entry))
    assert bool(entry.keys) == bool(entry.file) != bool(entry.output)


def test_the_recorded_runs_figures_are_those_that_the_readme_says() -> None:
    recorded = [entry for entry in ENTRIES if entry.command == REPRO]
    assert len(recorded) == 7
    for entry in recorded:
        for text, value in zip(written(entry), values(entry, ROOT, ""), strict=True):
            assert agreeing(text, value) == (len(text.partition(".")[2]),) * 2, (entry.name, text, value)


@pytest.mark.parametrize(
    ("text", "value", "same"),
    [("0.876", 0.87561, 3), ("0.876", 0.8771, 2), ("0.876", 0.912, 1), ("0.876", 0.7, 0), ("-0.0022", -0.00219, 4)],
)
def test_digits_agree_as_far_as_both_round_alike(text: str, value: float, same: int) -> None:
    assert agreeing(text, value) == (same, len(text.partition(".")[2]))


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch) -> list[str]:
    """A clone is a folder, and a command that runs there leaves a metric; which ran, in their order."""
    ran = []

    def in_clone(folder: Path, command: str, data: Path | None) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "m.json").write_text(json.dumps({"a": {"auroc": 0.5}}), encoding="utf-8")
        ran.append(command)
        return "hit 0.36 of it"

    monkeypatch.setattr(figures, "in_clone", in_clone)
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("it is 0.500, and hits 0.37\n", encoding="utf-8")
    return ran


def test_a_command_of_several_figures_runs_once_and_after_what_must_stand_before_it(drawn, tmp_path, capsys) -> None:
    entries = [
        Entry("one", "page.md", r"is (0\.500)", "score", 1, "m.json", ("a.auroc",), first="train"),
        Entry("two", "page.md", r"hits (0\.37)", "score", 1, output=r"hit (0\.36)", first="train"),
    ]
    assert not repeat(entries, tmp_path, None)
    assert drawn == ["train", "score"]
    assert not repeat(entries[::-1], tmp_path, None)
    one, two, *_ = capsys.readouterr().out.splitlines()
    assert one.endswith("3 of 3 decimals")
    assert two.endswith("1 of 2 decimals")
    assert repeat(entries[:1], tmp_path, None)


def test_a_command_runs_in_a_clone_of_the_last_commit_with_the_readers_data(tmp_path, monkeypatch) -> None:
    source, data = tmp_path / "source", tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_text("theirs", encoding="utf-8")

    def commit(text: str) -> None:
        (source / "page.md").write_text(text, encoding="utf-8")
        for command in (["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", text]):
            subprocess.run(["git", *command], cwd=source, check=True)

    subprocess.run(["git", "init", "-q", source], check=True)
    commit("first")
    (source / "page.md").write_text("not committed", encoding="utf-8")
    monkeypatch.setattr(figures, "ROOT", source)
    command = "cat page.md /your/a.txt; git config user.name"
    assert in_clone(tmp_path / "new" / "demo", command, data) == "firsttheirsfigures\n"
    with pytest.raises(InputError, match=r"^false \| cat: ended with 1 in .*demo"):
        in_clone(tmp_path / "new" / "demo", "false | cat", None)
    commit("second")
    with pytest.raises(InputError, match="a clone of another commit"):
        in_clone(tmp_path / "new" / "demo", command, data)


def test_without_names_all_run_that_have_their_data_and_fit_the_time(tmp_path: Path) -> None:
    everything = {entry.name for entry in ENTRIES}
    assert {entry.name for entry in chosen([], None, 10_000)} == {e.name for e in ENTRIES if not e.folder}
    for folder in {entry.folder for entry in ENTRIES} - {""}:
        (tmp_path / folder).mkdir()
    assert {entry.name for entry in chosen([], tmp_path, 10_000)} == everything
    assert {entry.command for entry in chosen([], None, 10)} == {REPRO}


def test_an_unknown_name_and_missing_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^figure: no such figure \(known: demo, "):
        chosen(["figure"], None, 60)
    with pytest.raises(InputError, match="has no folder nih-cxr-1k"):
        chosen(["nih"], tmp_path, 60)
