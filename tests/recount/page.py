"""The worked questions of docs/analysts.md: their SQL, and the answers that the page shows."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/analysts.md"
Row = tuple[str, ...]


class Question(NamedTuple):
    """A worked question. `answer` is the table's rows below its SQL, as text."""

    title: str
    sql: str
    columns: Row
    answer: list[Row]


def questions() -> dict[int, Question]:
    """The questions by number."""
    text = PAGE.read_text(encoding="utf-8").partition("## Worked questions")[2]
    found = {}
    for part in re.split(r"(?m)^### ", text)[1:]:
        number, _, rest = part.partition(". ")
        title, _, body = rest.partition("\n")
        sql = re.search(r"```sql\n(.*?)```", body, re.DOTALL)
        assert sql, f"question {number} has no SQL"
        table = [cells(line) for line in body[sql.end() :].splitlines() if line.startswith("|")]
        assert len(table) > 2, f"question {number} shows no answer"
        found[int(number)] = Question(title, sql[1], table[0], table[2:])
    return found


def cells(line: str) -> Row:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def shown(value: object) -> str:
    """A value as the page shows it: thousands apart, no trailing .0 of years, nothing for a null."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".") if value != int(value) else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}" if value > 9999 else str(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


def rows(connection: Any, sql: str) -> list[Row]:
    """An answer as the page shows it."""
    return [tuple(map(shown, row)) for row in connection.execute(sql).fetchall()]
