"""What a run says before it starts: values that -S left behind, files that an experiment would lack."""

import subprocess
from pathlib import Path

import pytest

from diagxnet.console.errors import InputError
from stages.notices import cache_notice, check_root, notices
from tests.test_pipeline import _git

PARAMS = {"seed": 42, "meta": {"hidden_dim": 256, "dropout": 0.2}}
TEXT = "seed: 42\nmeta:\n  hidden_dim: 256\n  dropout: 0.2\n"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy of one commit, and the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").mkdir()
    (tmp_path / "params.yaml").write_text(TEXT, encoding="utf-8")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        _git(tmp_path, *command)
    return tmp_path


def test_a_working_copy_as_committed_says_nothing(copy: Path) -> None:
    assert notices(PARAMS) == []


def test_values_that_stay_in_params_yaml_are_named_with_those_of_the_last_commit(copy: Path) -> None:
    changed = {"seed": 1, "meta": {"hidden_dim": 64, "dropout": 0.2}}
    title = "params.yaml differs from the last commit (what -S set stays)"
    assert notices(changed) == [f"{title}: seed = 1 (was 42), meta.hidden_dim = 64 (was 256)"]


@pytest.mark.parametrize("content", [b"a: &x 1\nb: *x\n", b"a: [\n", b"\xff\xfe: [1\n", b"# \xe9\n" + TEXT.encode()])
def test_a_last_commit_whose_params_cannot_be_read_stops_no_run(copy: Path, content: bytes) -> None:
    (copy / "params.yaml").write_bytes(content)
    _git(copy, "commit", "-q", "-a", "-m", "broken")
    assert notices(PARAMS) == []


def test_many_values_are_counted(copy: Path) -> None:
    (line,) = notices(PARAMS | {f"key{number}": number for number in range(12)})
    assert line.endswith("key7 = 7 (was None), and 4 more")


def test_a_section_that_was_left_out_is_counted_and_not_printed(copy: Path) -> None:
    (line,) = notices(PARAMS | {"meta": None})
    assert line.endswith(f"meta = None (was a section of {len(PARAMS['meta'])})")


def test_code_that_git_does_not_track_is_named_and_other_files_are_not(copy: Path) -> None:
    (copy / "stages/new.py").write_text("", encoding="utf-8")
    (copy / "notes.txt").write_text("", encoding="utf-8")
    assert notices(PARAMS) == ["not in git, so queued experiments lack (git add): stages/new.py"]
    subprocess.run(["git", "add", "stages/new.py"], check=True)
    assert notices(PARAMS) == []


def test_without_git_or_a_commit_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert notices(PARAMS) == []
    monkeypatch.setenv("PATH", "")
    assert notices(PARAMS) == []


def test_a_relative_data_root_in_a_queued_experiment_is_refused_in_words(tmp_path: Path) -> None:
    queued = tmp_path / ".dvc/tmp/exps/tmp1a2b"
    (queued / "data/demo").mkdir(parents=True)
    with pytest.raises(InputError, match=r"'mine' is relative.*absolute path") as raised:
        check_root("mine", queued)
    assert "\n" not in str(raised.value)
    check_root("data/demo", queued)  # an output of the pipeline, which comes along
    check_root(str(tmp_path / "absent"), queued)
    check_root("mine", tmp_path)


@pytest.mark.parametrize("root", ["'/films/Röntgen (1)'", '"/films/Röntgen (1)"', "~/films"])
def test_quotes_and_a_tilde_that_the_shell_left_in_data_root_are_told_with_the_mend(root: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are the shell's") as raised:
        check_root(root, tmp_path)
    meant = str(Path.home() / "films") if root.startswith("~") else "/films/Röntgen (1)"
    assert f'python -m stages.configure "data.root={meant}"' in str(raised.value)


def test_a_folder_that_is_called_so_is_taken(tmp_path: Path) -> None:
    (tmp_path / "~films").mkdir()
    check_root("~films", tmp_path)
    check_root("/films/it's", tmp_path)


def test_a_cache_below_a_path_that_is_not_ascii_is_told_with_its_mend(tmp_path):
    here = tmp_path / "Röntgen"
    (here / ".dvc").mkdir(parents=True)
    assert "dvc cache dir --local" in cache_notice(here)[0]
    (here / ".dvc/config.local").write_text("[cache]\n    dir = /plain/cache\n", encoding="utf-8")
    assert cache_notice(here) == cache_notice(tmp_path) == []
