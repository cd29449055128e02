"""
Charts of a benchmark as SVG files. The same figures give the same bytes.

Runs in: the contributor's terminal, in the development environment (pygal).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pygal
from pygal.style import Style

from measuring.logs.part import Bars, Lines

# Fonts that every machine has; colours that the colour-blind can tell apart (Okabe and Ito).
STYLE: Final = Style(
    font_family="sans-serif",
    background="#ffffff",
    plot_background="#ffffff",
    colors=("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"),
    value_font_size=12,
)
ROW_HEIGHT: Final = 42
POINTS: Final = 100


def draw(charts: Iterable[Bars | Lines], folder: Path) -> None:
    """Write each into a file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        drawn = _bars(chart) if isinstance(chart, Bars) else _lines(chart)
        (folder / f"{chart.name}.svg").write_text(_plain(drawn.render(is_unicode=True)), encoding="utf-8")


def _options(title: str, height: int) -> dict[str, object]:
    # Neither scripts, which a page with the picture does not run, nor names that differ from one run to the next.
    options = {"title": title, "style": STYLE, "js": (), "no_prefix": True, "pretty_print": False}
    return {**options, "width": 760, "height": height, "legend_at_bottom": True, "legend_at_bottom_columns": 2}


def _bars(chart: Bars) -> "pygal.HorizontalBar":
    drawn = pygal.HorizontalBar(
        **_options(f"{chart.title} ({chart.unit})", 150 + ROW_HEIGHT * len(chart.bars)),
        print_values=True,
        print_values_position="top",
        value_formatter=lambda value: f"{value:.3g}" if value < 100 else f"{value:.0f}",
    )
    for what, value in chart.bars.items():
        drawn.add(what, round(value, 2))
    return drawn


def _lines(chart: Lines) -> "pygal.XY":
    drawn = pygal.XY(
        **_options(f"{chart.title} ({chart.unit})", 380),
        x_title=chart.x_unit,
        show_dots=False,
        value_formatter=lambda value: f"{value:.0f}",
    )
    for what, points in chart.lines.items():
        every = max(1, len(points) // POINTS)
        drawn.add(what, [(round(x, 1), round(y, 1)) for x, y in points[::every]])
    return drawn


def _plain(svg: str) -> str:
    """Without the comments (one is the date), and with a newline at its end."""
    return re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL).rstrip() + "\n"
