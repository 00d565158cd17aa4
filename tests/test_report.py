"""The pages are self-contained, escape what they are given, and open in a browser without a complaint."""

import html
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json, write_text
from diagxnet.data.members import FIRST
from diagxnet.reporting.drawing import render
from diagxnet.reporting.page import Html, breakable, element, figure, page, table
from diagxnet.reporting.sections.thresholds import CASES
from diagxnet.reporting.wording import flat, interval_text
from diagxnet.runs import history_files, read_run, shared, write_comparison
from diagxnet.statistics.scored import COMBINED
from diagxnet.statistics.scoring import Scoring
from tests.conftest import ROOT
from tests.test_evaluation import PARAMS, run
from tests.workspace import make_scored, make_workspace

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--enable-logging=stderr", "--v=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    run(root / "here")
    make_workspace(root / "there", model_seed=3)
    for name in ("summary", "evaluation"):
        (root / f"there/metrics/{name}.json").write_bytes((root / f"here/metrics/{name}.json").read_bytes())
    here = read_run("workspace", root / "here", PARAMS, "image")
    changed = PARAMS | {"meta": PARAMS["meta"] | {"hidden_dim": 64}}
    there = read_run("<b>other</b>", root / "there", changed, "image")
    write_comparison(root / "comparison.html", here, there, Scoring("image", bootstrap=30, min_positives=10, seed=0))
    return {"report": root / "here/plots/report.html", "comparison": root / "comparison.html"}


class _Links(HTMLParser):
    """Everything that a page would fetch or run, and its open tags."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_page_fetches_nothing_and_runs_nothing(pages, name):
    text = pages[name].read_text(encoding="utf-8")
    links = _Links()
    links.feed(text)
    assert all(link.startswith(("data:", "#")) or link == CASES for link in links.fetched)
    assert not {"script", "iframe", "object", "embed"} & set(links.tags)
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_text_from_outside_is_escaped(pages, name):
    text = pages[name].read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_the_report_carries_no_date_timing_or_commit(pages):
    text = re.sub(r"base64,[^\"]*", "", pages["report"].read_text(encoding="utf-8"))
    assert not re.search(r"\b20\d\d-\d\d|\bseconds?\b|\b[0-9a-f]{7,40}\b", text)


def test_the_report_holds_every_figure_and_the_params(pages):
    text = pages["report"].read_text(encoding="utf-8")
    assert text.count("data:image/png") == len(list(pages["report"].parent.glob("*.png"))) == 10
    assert "meta.hidden_dim" in text
    assert "Fracture (0 positive" in text


def test_the_comparison_lists_the_params_in_which_the_runs_differ(pages):
    text = pages["comparison"].read_text(encoding="utf-8")
    assert re.search(r"meta\.hidden_dim</td>\s*<td[^>]*>8</td>\s*<td[^>]*>64</td>", text)
    assert "meta.init" not in text


def test_the_report_names_each_group_that_is_too_small_and_counts_every_finding_in_each_group(pages):
    text = pages["report"].read_text(encoding="utf-8")
    assert re.search(r"sex: unknown</td><td>2</td><td>1</td><td>0</td><td>too small to be scored", text)
    assert re.search(r"Lung Lesion \*</td>(<td>too few<small>\d+ of \d+ positive</small></td>){3}", text)
    assert re.search(r"<td>0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)<small>\d+ of \d+ positive</small></td>", text)


def test_the_comparison_shows_the_figures_on_val_before_those_on_test(pages):
    text = pages["comparison"].read_text(encoding="utf-8")
    on_val, on_test = text.index("<h2>On val, to choose by</h2>"), text.index("<h2>Models</h2>")
    own = read_json(pages["report"].parents[1] / "metrics/evaluation.json")["ensemble"]["val"]
    row = "".join(f"<td[^>]*>{cell}</td>" for cell in ("Ensemble", "AUROC", *[f"{own['auroc']:.4f}"] * 2, r"\+0.0000"))
    assert re.search(row, text[on_val:on_test])


def test_the_comparison_says_in_words_which_run_is_better_and_how_many_it_rests_on(pages):
    text = pages["comparison"].read_text(encoding="utf-8")
    assert re.search(r'class="verdict">The ensembles? of workspace (is|and)', text)
    assert "150 test images of 75 patients" in text
    assert "Lung Lesion *" in text
    assert "fewer than 10 positives or negatives" in text


def test_runs_of_different_members_are_compared_by_the_models_that_both_have(tmp_path):
    runs = []
    for name, members in (("alone", ["vit"]), ("three", ["densenet", "vit", "convnext"])):
        make_workspace(tmp_path / name, members=members)
        write_json(tmp_path / name / "metrics/summary.json", {"training_seconds": {"total": 1.0 * len(members)}})
        older = {"val": {"auroc": {"macro": 0.8}}}
        write_json(tmp_path / name / "metrics/evaluation.json", dict.fromkeys((*members, *COMBINED), older))
        assert len(history_files(tmp_path / name)) == len(members) + 1
        assert all((tmp_path / name / file).is_file() for file in history_files(tmp_path / name))
        runs.append(read_run(name, tmp_path / name, PARAMS, "image"))
    write_comparison(tmp_path / "page.html", *runs, Scoring("image", bootstrap=10, min_positives=10, seed=0))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert set(re.findall("<td>(DenseNet|ViT|convnext|Plain average|Ensemble)</td>", text)) == {
        "ViT", "Plain average", "Ensemble",
    }  # fmt: skip
    assert "Base models that three alone has: DenseNet, convnext." in text
    assert len(re.findall("<td[^>]*>none</td>", text)) == 2 * 2 * 3  # of an older version: no figures on val


def test_a_run_compared_with_itself_is_not_distinguishable(pages, tmp_path):
    here = read_run("workspace", pages["report"].parents[1], PARAMS, "study")
    write_comparison(tmp_path / "same.html", here, here, Scoring("study", bootstrap=10, min_positives=10, seed=0))
    text = (tmp_path / "same.html").read_text(encoding="utf-8")
    assert "workspace and workspace are not distinguishable on this test set: the two rank alike in every re" in text
    assert "<td>none: alike</td>" in text
    assert "<td>0%</td>" not in text
    assert "75 test studies of 75 patients" in text
    assert not re.search(r"<td[^>]*>(better|worse)</td>", text)


def test_a_figure_keeps_its_size_and_scrolls_where_the_screen_is_narrower():
    png = render(lambda: Figure((3, 2)))
    width, height = Image.open(io.BytesIO(png)).size
    assert f'width="{width}" height="{height}" style="--width: {width}px"' in figure(png, "curves")


def test_text_is_escaped_and_markup_is_not():
    assert element("td", '<&"', Html("<b>1</b>"), title='"') == '<td title="&quot;">&lt;&amp;"<b>1</b></td>'
    assert "&lt;script&gt;" in table(("<script>",), [("<script>",)])
    assert "<script>" not in page("<script>", [], [("<script>", [figure(b"", '"<script>')])])


def test_an_interval_of_a_slope_that_nothing_holds_keeps_its_column_narrow():
    metric = {"macro": -12.453, "ci": {"macro": {"lower": -1530.79, "upper": 99.884}}}
    assert interval_text(metric, "macro") == "-12 (-1,531 to 100)"
    metric["ci"]["macro"] |= {"lower": -12.5, "upper": -3.0}
    assert interval_text(metric, "macro") == "-12.453 (-12.500 to -3.000)"


def test_a_path_may_break_after_its_slashes_and_is_escaped():
    assert breakable("a/<b>/c.png") == "a/<wbr>&lt;b&gt;/<wbr>c.png"


def test_params_are_listed_as_yaml_prints_them():
    assert flat({"a": {"b": None, "c": True, "d": 0.0, "e": 0}, "f": "x"}) == {
        "a.b": "null", "a.c": "true", "a.d": "0.0", "a.e": "0", "f": "x",
    }  # fmt: skip


def test_runs_are_paired_by_image_whatever_the_order_and_scored_with_the_first_ones_labels():
    first = make_scored(units=10)
    order = np.array([9, 3, 5, 4])
    second = first.subset(order)
    second = replace(second, targets=~second.targets, logits=second.logits + 100)
    ours, theirs = shared(first, second)
    assert ours.names.tolist() == ["image3", "image4", "image5", "image9"]
    assert theirs.names.tolist() == ours.names.tolist()
    assert (theirs.targets == ours.targets).all()
    assert theirs.logits == pytest.approx(ours.logits + 100)


def test_runs_without_a_common_test_image_are_not_compared(pages, tmp_path):
    root = pages["report"].parents[1]
    here = read_run("workspace", root, PARAMS, "image")
    strange = replace(here, test=replace(here.test, names=here.test.names + "x"))
    with pytest.raises(InputError, match="share 0 test images"):
        write_comparison(
            tmp_path / "comparison.html", here, strange, Scoring("image", bootstrap=10, min_positives=10, seed=0)
        )


def opened(path: Path, folder: Path, width: int) -> tuple[str, str, list[str]]:
    """The page as the browser shows it, what it says on the console, and what the page asks of the network."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    log = folder / "net.json"
    flags = (*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", f"--log-net-log={log}")
    done = subprocess.run(
        [BROWSER, *flags, "--dump-dom", path.as_uri()], capture_output=True, encoding="utf-8", timeout=120, check=True
    )
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    # an event a line; what the browser asks for itself (updates, the time) has no origin
    events = [line for line in log.read_text(encoding="utf-8").splitlines() if '"initiator"' in line]
    asked = [line for line in events if "not an origin" not in line and re.search(r'"url":"(https?|wss?)://', line)]
    return done.stdout, console, asked


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_browser_opens_the_page_without_a_complaint_or_a_request(pages, name, width, tmp_path):
    text, console, asked = opened(pages[name], tmp_path, width)
    assert "<h2>Models</h2>" in text
    assert console == ""
    assert asked == []


FRAMES = """<!DOCTYPE html><body><script>
addEventListener("load", () => {
  const roots = [...document.querySelectorAll("iframe")].map((frame) => frame.contentDocument.documentElement);
  document.body.dataset.wider = roots.map((root) => root.scrollWidth - root.clientWidth).join(" ");
});
</script>"""


def overflow(pages: Sequence[Path], folder: Path, width: int) -> list[int]:
    """By how many pixels each of `pages` is wider than a screen of `width`: what does not scroll in itself."""
    texts = [html.escape(path.read_text(encoding="utf-8")) for path in pages]
    frames = "".join(f'<iframe width="{width}" srcdoc="{text}"></iframe>' for text in texts)
    (folder / "frames.html").write_text(FRAMES + frames, encoding="utf-8", newline="\n")
    shown, *_ = opened(folder / "frames.html", folder, 1280)
    return [int(wider) for wider in re.search('data-wider="([^"]*)"', shown)[1].split()]


def test_only_tables_and_figures_are_wider_than_a_narrow_screen_and_scroll_in_themselves(pages, tmp_path):
    wide = tmp_path / "wide.html"
    text = pages["report"].read_text(encoding="utf-8")
    wide.write_text(text.replace("</h1>", '</h1><p style="width: 600px">x</p>'), encoding="utf-8")
    report, comparison, control = overflow([pages["report"], pages["comparison"], wide], tmp_path, 390)
    assert (report, comparison) == (0, 0)
    assert control > 0


def test_a_page_that_asked_for_something_would_be_noticed(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://example.invalid/x.png"><script>console.error("no")</script>', encoding="utf-8")
    _, console, asked = opened(bad, tmp_path, 1280)
    assert "no" in console
    assert len(asked) == 1


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def _dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments, "-q"], cwd=folder, check=True, capture_output=True)


def _compare(folder: Path, rev: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.report", rev]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=240)


@pytest.mark.slow
def test_the_stage_reads_another_revision_out_of_git_and_dvc(tmp_path):
    tracked = ("data/prepared", "data/stacked", "models/densenet", "models/vit", "models/meta")
    _git(tmp_path, "init", "-q")
    _dvc(tmp_path, "init")
    make_workspace(tmp_path)
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    write_text(tmp_path / "params.yaml", params.replace("bootstrap: 1000", "bootstrap: 100"))
    write_json(tmp_path / "metrics/summary.json", {"training_seconds": {"total": 4.0}})
    write_json(tmp_path / "metrics/evaluation.json", {model: {} for model in (*FIRST, *COMBINED)})
    _dvc(tmp_path, "add", *tracked)
    _git(tmp_path, "add", "-A")
    _git(tmp_path, "commit", "-qm", "first")
    _git(tmp_path, "tag", "first/try")
    for folder in ("data", "models"):
        shutil.rmtree(tmp_path / folder)
    make_workspace(tmp_path, model_seed=3)

    done = _compare(tmp_path, "first/try")
    assert (done.returncode, done.stdout.strip()) == (0, str(Path("reports/report-first-try.html"))), done.stderr
    text = (tmp_path / "reports/report-first-try.html").read_text(encoding="utf-8")
    assert "Paired over the 150 test images" in text
    assert "Both runs have the same params" in text
    assert "+0.000 (+0.000 to +0.000)" not in text

    unknown = _compare(tmp_path, "no-such-revision")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("report: no-such-revision: no such revision")
    assert "Traceback" not in unknown.stderr

    shutil.rmtree(tmp_path / ".dvc/cache")
    missing = _compare(tmp_path, "first/try")
    assert missing.returncode == 1
    assert "not in DVC's cache" in missing.stderr
    assert "Traceback" not in missing.stderr
