"""The template with which `dvc plots` makes pages that need no network."""

import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from dvc_render.html import HTML

from diagxnet.console.errors import InputError
from stages.plots_template import main


class Sources(HTMLParser):
    """The addresses that a page asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in ("src", "href")]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def test_a_page_of_the_template_holds_its_scripts_and_asks_for_nothing(repository: Path) -> None:
    pytest.importorskip("vl_convert")
    main()
    template = (repository / ".dvc/offline.html").read_text(encoding="utf-8")
    network = "<script src='https://localhost/vega.js'></script>"
    assert Sources(HTML().with_scripts(network).embed()).found == ["https://localhost/vega.js"]
    text = HTML(template).with_scripts(network).with_element("<p>plot</p>").embed()
    assert Sources(text).found == []
    assert "<p>plot</p>" in text
    assert "window.vegaEmbed=" in text


def test_the_missing_package_is_named_with_the_command(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(InputError, match="pip install vl-convert-python"):
        main()
