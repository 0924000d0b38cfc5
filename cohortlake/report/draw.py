"""Inline SVG from small pure functions. Colours come from the page's style sheet, by class."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from markupsafe import Markup

BAR_WIDTH = 100
BAR_HEIGHT = 10


def element(name: str, *children: str, **attributes: object) -> Markup:
    """An element. Text and attributes are escaped, `Markup` children are not; `a_b` is written `a-b`, `a_` as `a`."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{}{}>{}</{}>").format(name, written, Markup("").join(children), name)


def number(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def rect(x: float, y: float, width: float, height: float, **attributes: object) -> Markup:
    return element("rect", x=number(x), y=number(y), width=number(width), height=number(height), **attributes)


def label(x: float, y: float, text: str, **attributes: object) -> Markup:
    return element("text", text, x=number(x), y=number(y), **attributes)


def path(d: str, **attributes: object) -> Markup:
    return element("path", d=d, **attributes)


def _strip(*children: str, class_: str) -> Markup:
    """A drawing as wide as its cell; a number beside it says the same, so readers of the page skip it."""
    box = f"0 0 {BAR_WIDTH} {BAR_HEIGHT}"
    return element(
        "svg", *children, viewBox=box, preserveAspectRatio="none", class_=f"strip {class_}", aria_hidden="true"
    )


def bar(value: float, whole: float, kind: str = "plain", start: float = 0) -> Markup:
    """A bar from `start` of length `value` on an axis from 0 to `whole`; what is there at all can be seen."""
    if whole <= 0 or value <= 0:
        return _strip(class_="bar")
    width = min(BAR_WIDTH, max(0.8, BAR_WIDTH * value / whole))
    left = min(BAR_WIDTH - width, max(0.0, BAR_WIDTH * start / whole))
    return _strip(rect(left, 0, width, BAR_HEIGHT, class_=f"fill-{kind}"), class_="bar")


def interval(low: float, middle: float, high: float, reach: float) -> Markup:
    """An interval and its middle, on an axis from -reach to reach with a line at 0."""
    if reach <= 0:
        return _strip(class_="interval")

    def at(value: float) -> float:
        return BAR_WIDTH * (0.5 + 0.5 * max(-1.0, min(1.0, value / reach)))

    half = BAR_HEIGHT / 2
    return _strip(
        element("line", x1="50", x2="50", y1="0", y2=str(BAR_HEIGHT), class_="zero"),
        rect(at(low), half - 1, max(0.5, at(high) - at(low)), 2, class_="fill-plain"),
        rect(at(middle) - 0.6, 0, 1.2, BAR_HEIGHT, class_="fill-ink"),
        class_="interval",
    )


def histogram(title: str, labels: Sequence[str], real: Sequence[int], made: Sequence[int]) -> Markup:
    """Two distributions over the same bins as shares: the real one as filled bars, the synthetic one as outlines."""
    width, height, foot = 220, 72, 14
    both = [[value / max(1, sum(values)) for value in values] for values in (real, made)]
    top = max(max(shares, default=0) for shares in both) or 1
    step = width / max(1, len(labels))
    drawn = []
    for shares, kind in zip(both, ("real", "made"), strict=True):
        for index, share in enumerate(shares):
            tall = height * share / top
            drawn.append(rect(index * step + 1, height - tall, max(1, step - 2), tall, class_=f"bin-{kind}"))
    ends = [label(0, height + foot - 2, labels[0])]
    if len(labels) > 1:
        ends.append(label(width, height + foot - 2, labels[-1], text_anchor="end"))
    return element(
        "svg",
        element("title", title),
        *drawn,
        *ends,
        viewBox=f"0 0 {width} {height + foot}",
        class_="histogram",
        role="img",
    )


def ribbon(x1: float, y1: float, x2: float, y2: float, wide: float, class_: str) -> Markup:
    """A flow from left to right: a curve, `wide` units wide."""
    middle = (x1 + x2) / 2
    points = [f"{number(x)} {number(y)}" for x, y in ((x1, y1), (middle, y1), (middle, y2), (x2, y2))]
    return path(f"M{points[0]}C{' '.join(points[1:])}", class_=class_, stroke_width=number(wide))


def width_of(rows: int) -> float:
    """A flow's width: it grows with the number of digits, so that hundreds can be seen beside millions."""
    return 0 if rows <= 0 else 2.5 + 3 * log10(rows)
