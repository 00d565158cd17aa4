"""The one writer of HTML pages: everything that is text is escaped, everything that a page needs is in it.

A page has no script and asks for nothing from elsewhere (hospital networks are closed); its content security policy
says so to the browser. What a page sorts or shows on demand, it does by CSS. Equal content gives equal bytes.
"""

import base64
import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1.25rem 4rem; max-width: 76rem; color: #1a1a1a; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .6rem 0; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 46rem; }
nav ul { padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
a { color: #00558c; }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: separate; border-spacing: 0; font-size: .86rem; font-variant-numeric: tabular-nums;
  margin: .4rem 0; }
.caption { margin: 1rem 0 0; color: #333; font-size: .95rem; }
th, td { padding: .22rem .5rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #666; vertical-align: bottom; white-space: normal; }
td:first-child, th:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
td.text, th.text { text-align: left; white-space: normal; min-width: 6.5rem; }
tr.strong td { font-weight: 600; }
td small { display: block; color: #555; font-size: .92em; }
figure { margin: 1.2rem 0; }
figure img { display: block; max-width: 100%; min-width: calc(.68 * var(--width)); height: auto; }
figcaption { font-size: .9rem; color: #333; max-width: 46rem; }
.note { border-left: .3rem solid #b25000; padding: .3rem .8rem; background: #fff6ec; }
.verdict { border-left: .3rem solid #00558c; padding: .3rem .8rem; background: #eef6fb; font-size: 1.05rem; }
@media (max-width: 40rem) { td:first-child, th:first-child { white-space: normal; min-width: 6.5rem; max-width: 9rem;
  padding-left: 0; } }
@page { size: A4 landscape; margin: 12mm; }
@media print { html { font-size: 11px; } body { max-width: none; padding: 0; font-size: 1rem; } nav { display: none; }
  .wide { overflow: visible; } figure, tr, .note, .verdict { break-inside: avoid; }
  h2, h3, .caption { break-after: avoid; }
  figure img { min-width: 0; max-height: 170mm; width: auto; } table { font-size: 8.5px; }
  th, td { padding: .15rem .35rem; } td.text, th.text { min-width: 0; }
  td:first-child, th:first-child { position: static; } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Html(str):
    """Markup that may stand in a page as it is; any other text is escaped when it is put into an element."""


def element(tag: str, *children: object, **attributes: str) -> Html:
    """`<tag attributes>children</tag>`; children are Html or text; `class_` stands for class."""
    opening = "".join(f' {name.rstrip("_")}="{html.escape(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{opening}>{join(children)}</{tag}>")


def join(parts: Iterable[object]) -> Html:
    """The parts one after another, text escaped."""
    return Html("".join(part if isinstance(part, Html) else html.escape(str(part), quote=False) for part in parts))


def breakable(path: str) -> Html:
    """A path, whose line may break after each slash."""
    return Html(join([path]).replace("/", "/<wbr>"))


def section(title: str, *children: object) -> Html:
    """A part of the page with a heading, which `page` lists at its top."""
    return element("section", element("h2", title), *children, id=anchor(title))


def anchor(title: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in title.lower())


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    text: Sequence[int] = (),
    strong: Sequence[int] = (),
) -> Html:
    """A table that scrolls in itself on a narrow screen. text: columns of words; strong: rows to print in bold."""
    head = element("tr", *(element("th", name, **_class(column in text)) for column, name in enumerate(header)))
    lines = [
        element(
            "tr",
            *(element("td", cell, **_class(column in text)) for column, cell in enumerate(row)),
            **({"class_": "strong"} if number in strong else {}),
        )
        for number, row in enumerate(rows)
    ]
    title = (
        [element("p", caption, class_="caption")] if caption else []
    )  # beside the table, so as not to scroll with it
    whole = element("table", element("thead", head), element("tbody", *lines))
    return join([*title, element("div", whole, class_="wide")])


def figure(png: bytes, caption: str) -> Html:
    """An image as part of the page, with its caption, which is also what a screen reader says.

    On a narrow screen it scrolls in itself, no smaller than its letters can be read.
    """
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))  # of the header: PNG 1.2, 11.2.2
    image = picture(png, caption, width=str(width), height=str(height), style=f"--width: {width}px")
    return element("figure", element("div", image, class_="wide"), element("figcaption", caption))


def picture(content: bytes, text: str, kind: str = "png", **attributes: str) -> Html:
    """An image file (png or jpeg) as part of the page; text: what a screen reader says."""
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return void("img", src=source, alt=text, **attributes)


def void(tag: str, **attributes: str) -> Html:
    """`<tag attributes>`, of the elements that hold nothing (img, input)."""
    return Html(element(tag, **attributes).removesuffix(f"</{tag}>"))


def page(
    title: str, introduction: Iterable[Html], sections: Sequence[tuple[str, Sequence[Html]]], style: str = ""
) -> str:
    """A whole page: the title, the introduction, links to the sections, the sections as (title, content).

    style: CSS of this page, after that of all.
    """
    links = [element("li", element("a", name, href=f"#{anchor(name)}")) for name, _ in sections]
    head = join(
        [
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
            Html('<link rel="icon" href="data:,">'),
            element("title", title),
            element("style", Html(STYLE + style)),
        ]
    )
    main = element("main", *(section(name, *content) for name, content in sections))
    body = element("body", element("h1", title), *introduction, element("nav", element("ul", *links)), main)
    return f"<!DOCTYPE html>\n{element('html', element('head', head), body, lang='en')}\n"


def _class(is_text: bool) -> dict[str, str]:
    return {"class_": "text"} if is_text else {}
