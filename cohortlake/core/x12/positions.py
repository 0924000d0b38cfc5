"""Positions: numbers of items in a resource's lists that are known only when all of it is made."""

from __future__ import annotations

from typing import Any

from cohortlake.core.x12.run import Position


def settled(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource with the positions in it resolved; one that is nowhere is left out."""
    settled: dict[str, Any] = _settle(resource, resource)
    return settled


def _settle(value: Any, root: dict[str, Any]) -> Any:
    if isinstance(value, Position):
        items = root.get(value.name, ())
        return next(
            (i["sequence"] for i in items if i.get(value.element, {}).get("reference") == value.reference), None
        )
    if isinstance(value, dict):
        inner = {name: _settle(item, root) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item is not None and item != []}
    if isinstance(value, list):
        return [item for item in (_settle(item, root) for item in value) if item is not None]
    return value
