"""Windows and macOS by construction: spawned processes, backslashes in tables, text that is UTF-8 everywhere."""

import ast
import multiprocessing
from pathlib import Path

import pytest

from diagxnet.images import pack as module
from tests.bad_input import pack_of, prepare_of
from tests.conftest import ROOT
from tests.radiographs import make_data

SOURCES = [path for folder in ("diagxnet", "stages", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")]
FILE_METHODS = {"read_text", "write_text"}
PROCESSES = {"run", "Popen", "check_output"}


def pack_and_prepare(root: Path) -> None:
    """The data path with two decoding processes; runs in a spawned process, as a stage does on Windows and macOS."""
    module.SECONDS_ALONE = module.SECONDS_TO_START = 0.0
    pack_of(root, workers=2)
    prepare_of(root)


def test_a_table_that_windows_wrote_gives_the_same_data_under_spawn(tmp_path: Path) -> None:
    plain, windows = tmp_path / "plain", tmp_path / "windows"
    for root in (plain, windows):
        make_data(root)
    for name in ("train.csv", "valid.csv"):
        text = (windows / name).read_text(encoding="utf-8")
        lines = [line.replace("/", "\\") if number else line for number, line in enumerate(text.splitlines())]
        assert lines[1].startswith("release\\")
        (windows / name).write_bytes(b"\xef\xbb\xbf" + "".join(line + "\r\n" for line in lines).encode())
    prepare_of(plain)
    process = multiprocessing.get_context("spawn").Process(target=pack_and_prepare, args=(windows,))
    process.start()
    process.join(240)
    process.kill()
    assert process.exitcode == 0
    for folder in (".packed", ".prepared"):
        names = sorted(path.name for path in (plain / folder).iterdir())
        assert names == sorted(path.name for path in (windows / folder).iterdir())
        for name in names:
            assert (windows / folder / name).read_bytes() == (plain / folder / name).read_bytes(), name


def unnamed(source: str) -> list[int]:
    """Lines that open text, or read a process's, in the machine's own encoding."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or "encoding" in {keyword.arg for keyword in node.keywords}:
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        modes = [text for text in texts if isinstance(text, str) and set(text) <= set("rwaxbt+")]
        opens = name == "open" and isinstance(function, ast.Name) and not any("b" in mode for mode in modes)
        opens |= name == "open" and any("b" not in mode for mode in modes)
        by_method = isinstance(function, ast.Attribute) and name in FILE_METHODS
        as_text = any(keyword.arg in ("text", "universal_newlines") for keyword in node.keywords)
        if opens or by_method or (name in PROCESSES and as_text):
            found.append(node.lineno)
    return found


def test_text_is_read_and_written_as_utf_8_whatever_the_machine_has() -> None:
    assert {
        str(path.relative_to(ROOT)): lines for path in SOURCES if (lines := unnamed(path.read_text(encoding="utf-8")))
    } == {}


@pytest.mark.parametrize(
    "source",
    ["open(p)", "open(p, 'w')", "p.open('a')", "p.read_text()", "p.write_text('x')", "subprocess.run(c, text=True)"],
)
def test_an_encoding_left_to_the_machine_would_be_found(source: str) -> None:
    assert unnamed(source) == [1]
    assert unnamed(f"{source[:-1]}, encoding='utf-8')".replace("(, ", "(")) == []


def test_git_keeps_line_feeds_on_every_platform() -> None:
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
