"""Texts and names as SQL has them (DuckDB's; no backslash escapes)."""

from __future__ import annotations


def literal(text: object) -> str:
    """A string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted name."""
    return '"' + name.replace('"', '""') + '"'
