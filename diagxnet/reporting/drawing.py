"""How figures are drawn: as PNG files whose bytes depend on the results alone.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; line styles, markers and hatches say the same in
grey. Each panel states its n.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from diagxnet.statistics.comparison import label
from diagxnet.statistics.results import Results

SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "path.simplify": True,
}
STYLES = {
    "densenet": {"color": "#0072B2", "linestyle": (0, (5, 2)), "marker": "s", "markerfacecolor": "#0072B2"},
    "vit": {"color": "#D55E00", "linestyle": (0, (1, 1.2)), "marker": "^", "markerfacecolor": "white"},
    "average": {"color": "#009E73", "linestyle": (0, (4, 1.5, 1, 1.5)), "marker": "D", "markerfacecolor": "white"},
    "ensemble": {"color": "#000000", "linestyle": "solid", "marker": "o", "markerfacecolor": "black"},
}
FURTHER_STYLES = (
    {"color": "#A0569A", "linestyle": (0, (7, 1.5)), "marker": "v", "markerfacecolor": "#A0569A"},
    {"color": "#8A6100", "linestyle": (0, (3, 1, 1, 1, 1, 1)), "marker": "P", "markerfacecolor": "white"},
    {"color": "#1A7A94", "linestyle": (0, (2, 2)), "marker": "X", "markerfacecolor": "#1A7A94"},
    {"color": "#6B6B6B", "linestyle": (0, (8, 1.5, 2, 1.5)), "marker": "p", "markerfacecolor": "white"},
    {"color": "#A33A3A", "linestyle": (0, (1, 3)), "marker": "<", "markerfacecolor": "#A33A3A"},
    {"color": "#46712B", "linestyle": (0, (6, 3, 1, 3)), "marker": ">", "markerfacecolor": "white"},
)
"""Of members beyond the first two, in their order; the seventh has the first one's again."""

COLUMNS = 5
LEAST_COLUMNS = 3
"""Of panels: a legend needs as much room."""

DPI = 110


def render(make: Callable[..., Figure], *arguments: object) -> bytes:
    """`make(*arguments)` as PNG, under this module's settings whatever a user's matplotlibrc says.

    It has 256 colours, which takes less than half the bytes and shows no difference; and neither the date nor the
    program's version, so that equal figures are equal bytes.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        canvas = FigureCanvasAgg(make(*arguments))
        canvas.draw()
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    buffer = io.BytesIO()
    drawn.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG")
    return buffer.getvalue()


def panels(
    titles: dict[int, str], panel: Callable[[Axes, int], str], x_label: str, y_label: str, legend: Iterable[object]
) -> Figure:
    """A panel each finding. titles: by column of the findings. panel: draws one and returns its title's last line."""
    columns = min(COLUMNS, max(len(titles), LEAST_COLUMNS))
    lines = -(-len(titles) // columns)
    figure = Figure(figsize=(2.7 * columns, 0.9 + 2.9 * lines), dpi=DPI, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(titles) :]:
        axes.set_axis_off()
    for axes, (finding, title) in zip(grid.flat, titles.items(), strict=False):
        note = panel(axes, finding)
        axes.set_title(f"{title}\n{note}" if note else title)
    figure.supxlabel(x_label, fontsize=10)
    figure.supylabel(y_label, fontsize=10)
    figure.legend(handles=list(legend), loc="outside upper left", ncols=columns)
    return figure


def unit_square(axes: Axes) -> None:
    """Equal axes from 0 to 1."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xticks([0, 0.5, 1])
    axes.set_yticks([0, 0.5, 1])


def handle(text: str, **style: object) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], label=text, **style)


def gray_line(text: str) -> Line2D:
    """An entry of a legend for the grey line of what no skill, or a perfect fit, would give."""
    return handle(text, color="0.6", linewidth=0.8)


def model_styles(members: Sequence[str]) -> dict[str, dict]:
    """How each model is drawn; members: those of the run."""
    further = (name for name in members if name not in STYLES)
    return STYLES | dict(zip(further, cycle(FURTHER_STYLES), strict=False))


def model_line(results: Results, model: str) -> dict[str, object]:
    style = model_styles(results.test.members)[model]
    width = 1.7 if model == "ensemble" else 1.2
    return {"color": style["color"], "linestyle": style["linestyle"], "linewidth": width}


def model_lines(results: Results) -> list[object]:
    return [handle(label(model), **model_line(results, model)) for model in results.test.models]


def finding_panels(
    results: Results, panel: Callable[[Axes, int], str], x_label: str, y_label: str, legend: Iterable[object]
) -> Figure:
    titles = {
        int(f): finding_title(results, results.test.keys[f], "\n") for f in np.flatnonzero(results.test.scorable())
    }
    star = "; * few of one class" if results.evaluation["few"] else ""
    return panels(titles, panel, x_label + star, y_label, legend)


def finding_title(results: Results, key: str, between: str) -> str:
    counts = results.evaluation["counts"]
    positives, negatives = counts["positives"][key], counts["negatives"][key]
    star = " *" if key in results.evaluation["few"] else ""
    return (
        f"{results.evaluation['findings'][key]}{star}{between}(n = {positives + negatives:,}, {positives:,} positive)"
    )


def population(results: Results) -> str:
    counts = results.evaluation["counts"]
    star = "; * few of one class" if results.evaluation["few"] else ""
    units = "studies" if results.unit == "study" else "images"
    return f"n = {counts['units']:,} {units} of {counts['patients']:,} patients{star}"
