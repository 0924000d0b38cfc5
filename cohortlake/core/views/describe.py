"""A plan in words: which resources a view keeps, how its rows come about, which elements it reads."""

from __future__ import annotations

from collections.abc import Iterator

from cohortlake.core.catalog.resource import Node
from cohortlake.core.views import plan


def describe(view: plan.ViewPlan) -> Iterator[str]:
    """The plan, a line a step; what stands under an iteration is done for each of its items."""
    yield f"for each {view.resource}"
    for condition in view.where:
        yield f"  where {_path(condition.at)}"
    yield from _select(view.select, "  ")


def _select(select: plan.Select, indent: str) -> Iterator[str]:
    if select.iteration is not None:
        is_repeat = isinstance(select.iteration, plan.Descendants)
        for_none = ", or once with nulls" if select.or_null else ""
        yield f"{indent}for each {_path(select.at)}{', at every level' if is_repeat else for_none}"
        indent += "  "
    for column in select.columns:
        many = " ARRAY" if column.is_collection else ""
        yield f"{indent}{column.name} {column.shown_type}{many} = {_path(column.at)}"
    for inner in select.selects:
        yield from _select(inner, indent)
    for index, branch in enumerate(select.union):
        yield f"{indent}{'then the rows of' if index else 'the rows of'}"
        yield from _select(branch, f"{indent}  ")


def _path(at: str) -> str:
    """The path that stands at a place of the view."""
    return at.partition(" (")[2].removesuffix(")")


def reads(tree: Node, indent: str = "") -> Iterator[str]:
    """The elements of a tree, a line each, with their FHIR types."""
    for child in tree.children.values():
        yield f"{indent}{child.name} {child.type}{'[]' if child.is_list else ''}"
        yield from reads(child, f"{indent}  ")
