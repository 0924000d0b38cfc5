"""The flow as inline SVG."""

from __future__ import annotations

from markupsafe import Markup

from cohortlake.report.draw import element, label, number, path, rect, ribbon, width_of
from cohortlake.report.flow import COLUMNS, Card, Flow, Ribbon
from cohortlake.report.records import DONE, FAILED, StepRecord
from cohortlake.report.words import clip, count

CARD_WIDTH, CARD_HEIGHT = 138, 132
GAP = 54
LANE = 192
HEAD = 58
WIDTH = len(COLUMNS) * CARD_WIDTH + (len(COLUMNS) - 1) * GAP
NAME_LETTERS = 19
MARKS = {DONE: "✓", FAILED: "✗"}


def picture(flow: Flow) -> Markup:
    """The flow, labelled and told for those who do not see it."""
    height = HEAD + flow.lanes * LANE
    return element(
        "svg",
        element("title", "The flow of this run", id="flow-title"),
        element("desc", flow.told, id="flow-told"),
        _zones(height),
        *(_ribbon(part) for part in flow.ribbons),
        *(_moved(part) for part in flow.ribbons if part.rows),
        *(_branch(part) for part in flow.ribbons if part.held),
        *(_card(card) for card in flow.cards),
        viewBox=f"-1 0 {WIDTH + 2} {height}",
        width=WIDTH,
        height=height,
        class_="flow",
        role="img",
        aria_labelledby="flow-title flow-told",
    )


def _x(card: Card) -> float:
    return card.column * (CARD_WIDTH + GAP)


def _top(card: Card) -> float:
    return HEAD + card.lane * LANE + 6


def _middle(card: Card) -> float:
    return _top(card) + CARD_HEIGHT / 2


def _zones(height: int) -> Markup:
    """The two zones as bands, and the columns' names."""
    drawn = []
    for name, first, last in (("phi zone: identified", 1, 2), ("research zone: pseudonyms", 3, 5)):
        left = first * (CARD_WIDTH + GAP) - 14
        right = last * (CARD_WIDTH + GAP) + CARD_WIDTH + 14
        drawn.append(rect(left, 0, min(right, WIDTH) - left, height, rx=10, class_="zone"))
        drawn.append(label(left + 14, 18, name, class_="zone-name"))
    for index, name in enumerate(COLUMNS):
        drawn.append(label(index * (CARD_WIDTH + GAP), 44, name.upper(), class_="column"))
    return Markup("").join(drawn)


def _ribbon(part: Ribbon) -> Markup:
    wide, kind = (width_of(part.rows), "moves") if part.rows else (1.5, "idle")
    return ribbon(_x(part.source) + CARD_WIDTH, _middle(part.source), _x(part.target), _middle(part.target), wide, kind)


def _moved(part: Ribbon) -> Markup:
    """How many rows moved: over a level ribbon; beside the start of a bent one, on the side that it bends away from."""
    x1, x2 = _x(part.source) + CARD_WIDTH, _x(part.target)
    y1, y2 = _middle(part.source), _middle(part.target)
    over, under = y1 - width_of(part.rows) / 2 - 5, y1 + width_of(part.rows) / 2 + 13
    if y1 == y2:
        return label((x1 + x2) / 2, over, part.label, text_anchor="middle", class_="moved")
    return label(x1 + 3, under if y2 < y1 else over, part.label, class_="moved")


def _branch(part: Ribbon) -> Markup:
    """From the middle of a ribbon down into quarantine."""
    x = (_x(part.source) + CARD_WIDTH + _x(part.target)) / 2
    y, end = _middle(part.source), _top(part.source) + CARD_HEIGHT + 16
    text = f"{count(part.held)} quarantined"
    wide = 6.6 * len(text) + 18
    return element(
        "a",
        path(
            f"M{number(x - GAP / 2)} {number(y)}Q{number(x)} {number(y)} {number(x)} {number(y + 24)}V{number(end)}",
            class_="held",
            stroke_width=number(max(3, width_of(part.held) / 1.5)),
        ),
        rect(x - wide / 2, end, wide, 24, rx=12, class_="held-pill"),
        label(x, end + 16, text, text_anchor="middle", class_="held-text"),
        href="#quarantine",
    )


def _card(card: Card) -> Markup:
    x, y = _x(card), _top(card)
    lines = [
        label(x + 12, y + 20, clip(card.name, NAME_LETTERS), class_="name"),
        label(x + 12, y + 44, card.figure, class_="figure" if len(card.figure) < 11 else "figure narrow"),
        label(x + 12, y + 60, card.unit, class_="unit"),
    ]
    at = y + 76
    for note in card.notes:
        lines.append(label(x + 12, at, clip(note, NAME_LETTERS + 3), class_="note"))
        at += 14
    lines.append(_steps(card.steps, x + 12, y + CARD_HEIGHT - 10))
    box = rect(x, y, CARD_WIDTH, CARD_HEIGHT, rx=8, class_="box")
    return element("g", element("title", card.name), box, *lines, class_=f"card {card.state}")


def _steps(steps: tuple[StepRecord, ...], x: float, bottom: float) -> Markup:
    """The steps that made the card, the last one at the bottom: whether each is done, and its books balance."""
    drawn = []
    for index, step in enumerate(reversed(steps)):
        mark = MARKS.get(step.status, "·")
        kind = "off" if step.status == DONE and not step.is_balanced else step.status
        drawn.append(label(x, bottom - 13 * index, f"{mark} {step.kind}", class_=f"step {kind}"))
    return Markup("").join(drawn)
