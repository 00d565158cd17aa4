"""The commands in README.md and docs/ are run as they are written, in a clone whose demo and trainings are small.

A fenced block of `bash` or `sh` is run, in the order of its page, unless a comment above it says what it needs that a
test lacks: `<!-- needs: a GPU -->`. `<!-- ci: NAME -->` marks the README's two, which .ci/run runs.
`<!-- timeout: 300 -->` is a limit in seconds.
"""

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from diagxnet.data.members import FIRST
from diagxnet.params.checked import read_yaml
from tests.conftest import ROOT, leaves
from tests.starts import AT_HAND
from tests.test_pipeline import SMALL, bounded, clone
from tests.test_report import opened

PAGES = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
SECONDS = 180
QUEUE_SECONDS = 300


@dataclass(frozen=True)
class Block:
    """A fenced block. notes: content of the comment right above it, by key."""

    commands: str
    notes: dict[str, str]


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"(?:<!-- (\w+): (.*?) -->\n)?^```(?:bash|sh)\n(.*?)^```$", text, re.M | re.S)
    return [Block(match[3], {match[1]: match[2]} if match[1] else {}) for match in found]


def runnable(page: str) -> list[Block]:
    return [block for block in blocks(page) if not {"ci", "needs"} & set(block.notes)]


def shell(folder: Path, commands: str, seconds: float) -> str:
    done = bounded(["bash", "-euo", "pipefail", "-c", commands], folder, seconds)
    assert done.returncode == 0, f"{commands}\n{done.stdout[-4000:]}"
    return done.stdout


def wait_for_queue(folder: Path) -> None:
    """Until no task of DVC's queue waits or runs; the workers are ended whatever happens."""
    deadline = time.monotonic() + QUEUE_SECONDS
    try:
        while time.monotonic() < deadline:
            status = shell(folder, "dvc queue status", 60)
            assert "Failed" not in status, status
            if not re.search(r"\b(Queued|Running)\b", status):
                return
            time.sleep(3)
        pytest.fail(f"the queue did not end in {QUEUE_SECONDS} s:\n{status}")
    finally:
        shell(folder, "dvc queue stop --kill || true", 60)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clone after its first `dvc repro`, committed; its recipes train for one epoch."""
    folder = clone(tmp_path_factory.mktemp("docs") / "clone", SMALL)
    for recipe in (folder / "recipes").glob("*.yaml"):
        text = re.sub(r"(?m)^  epochs: .*$", "  epochs: 1", recipe.read_text(encoding="utf-8"))
        recipe.write_text(text, encoding="utf-8", newline="\n")
    identity = "git config user.name test && git config user.email test@localhost && git config commit.gpgsign false"
    shell(folder, f"{identity} && dvc repro && git add -A && git commit -qm run", 500)
    return folder


@pytest.fixture
def workspace(first_run: Path, tmp_path: Path) -> Path:
    """A copy of that clone, with its cache, for one page's commands."""
    shutil.copytree(first_run, tmp_path / "clone", symlinks=True)
    return tmp_path / "clone"


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("bash") is None, reason="the blocks are of bash")
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_the_commands_of_a_page_run_as_they_are_written(page: str, workspace: Path) -> None:
    AT_HAND.get(page, lambda folder: None)(workspace)
    for block in runnable(page):
        shell(workspace, block.commands, float(block.notes.get("timeout", SECONDS)))
        if "dvc queue start" in block.commands:
            wait_for_queue(workspace)


def test_every_block_that_is_not_run_says_what_it_needs() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert set(block.notes) <= {"ci", "needs", "timeout"}, (page, block)
            assert all(block.notes.values()), (page, block)
        text = (ROOT / page).read_text(encoding="utf-8")
        other = re.findall(r"(?<!-->\n)^```(?:powershell|console|cmd)$", text, re.M)
        assert not other, (page, "a block of a shell that CI lacks says `<!-- needs: ... -->`")


PATH = re.compile(r"(?<![\w/.])(?:diagxnet|stages|tests|benchmarks|recipes)/[\w/]*[\w](?:\.py|\.yaml|/)?(?![\w/*{])")
"""A file or folder of this repository's code, as a page names it."""


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    """Its links lead to files and headings, its files and modules exist, and its -S keys are in params.yaml."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        file = (ROOT / page).parent.joinpath(target) if target else ROOT / page
        assert file.is_file(), target
        assert not heading or heading in anchors(file.read_text(encoding="utf-8")), (target, heading)
    for path in PATH.findall(text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"(?:python -m |from )((?:stages|diagxnet|benchmarks)[\w.]*)", text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module
    params = read_yaml(ROOT / "params.yaml")
    for key in re.findall(r"-S ['\"]?([a-z][\w.]*)=", text):
        assert key in leaves(params) or key in FIRST, key


def anchors(text: str) -> set[str]:
    """What links to the headings of a page end in."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_the_design_has_a_line_for_each_room() -> None:
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rooms = {path.name for path in (ROOT / "diagxnet").iterdir() if not path.name.startswith("__")}
    named = {path if path.endswith(".py") else path.rstrip("/") for path in re.findall(r"`([\w]+(?:/|\.py))`", text)}
    assert not rooms - named


def test_each_page_to_start_with_is_named_before_all_else_in_the_readme() -> None:
    opening = (ROOT / "README.md").read_text(encoding="utf-8").split("## ")[0]
    assert set(re.findall(r"docs/start/[\w-]+\.md", opening)) == {p for p in PAGES if p.startswith("docs/start/")}
    assert set(AT_HAND) <= set(PAGES)


def test_the_readme_fits_on_three_screens(tmp_path: Path) -> None:
    """Of 1280 x 800 pixels, in GitHub's column and about its style; no line of a block is cut."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    text = markdown.render((ROOT / "README.md").read_text(encoding="utf-8"))
    (tmp_path / "readme.html").write_text(
        f"<!doctype html><style>{GITHUB}</style><main>{text}</main>{MEASURE}", encoding="utf-8"
    )
    shown, *_ = opened(tmp_path / "readme.html", tmp_path, 1280)
    height, cut = map(int, re.search(r'data-shown="(\d+) (\d+)"', shown).groups())
    assert (height <= 3 * 800 * WIDER, cut) == (True, 0), (height, cut)


WIDER = 1.05
"""A font that stands in for the one below where it is not installed, DejaVu Sans say, takes so much more room."""

GITHUB = """
body { margin: 0; font: 16px/1.5 "Liberation Sans", Arial, Helvetica, sans-serif; }
main { box-sizing: border-box; width: 980px; padding: 32px; margin: 0 auto; }
h1 { font-size: 2em; } h2 { font-size: 1.5em; } h1, h2 { margin: 24px 0 16px; padding-bottom: .3em; }
p, ul, table, pre { margin: 0 0 16px; } li + li { margin-top: .25em; } ul { padding-left: 2em; }
table { border-collapse: collapse; } th, td { border: 1px solid; padding: 6px 13px; }
code { font: 85% Menlo, Consolas, monospace; padding: .2em .4em; }
pre { padding: 16px; overflow: auto; line-height: 1.45; font-size: 85%; } pre code { padding: 0; font-size: 100%; }
"""
"""What of GitHub's style makes a page as long as it is."""

MEASURE = """<script>
const cut = [...document.querySelectorAll("pre")].filter((each) => each.scrollWidth > each.clientWidth);
document.body.dataset.shown = `${document.documentElement.scrollHeight} ${cut.length}`;
</script>"""
