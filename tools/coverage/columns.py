"""Which elements of a resource a view's columns give, and which categories of the resource the view keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from cohortlake.core.views import plan

# An element by its JSON names; an extension is named with its url: ("extension(http://…)", "valueCode").
Path = tuple[str, ...]


def columns(view: plan.ViewPlan) -> dict[str, list[Path]]:
    """The elements that each column of a view gives, by the column's name."""
    found: dict[str, list[Path]] = {}
    _select(view.select, [()], found)
    return {name: list(dict.fromkeys(paths)) for name, paths in found.items()}


def _select(select: plan.Select, focus: list[Path], found: dict[str, list[Path]]) -> None:
    items = focus if select.iteration is None else list(_reach(select.iteration, focus))
    for column in select.columns:
        found.setdefault(column.name, []).extend(_reach(column.value, items))
    for inner in (*select.selects, *select.union):
        _select(inner, items, found)


def _reach(expression: plan.Expression, focus: list[Path]) -> Iterator[Path]:
    """The elements that an expression gives or, where it computes something, that it looks at."""
    match expression:
        case plan.Focus():
            yield from focus
        case plan.Member(source=source, name=name):
            yield from ((*path, name) for path in _reach(source, focus))
        case plan.Filter(
            source=source, criteria=plan.Equality(left=plan.Member(name="url"), right=plan.Literal(value=url))
        ):
            yield from ((*path[:-1], f"extension({url})") for path in _reach(source, focus))
        case plan.Filter(source=source):
            yield from _reach(source, focus)
        case plan.Item(source=source):
            yield from _reach(source, focus)
        case plan.ResourceKey(source=source):
            yield from ((*path, "id") for path in _reach(source, focus))
        case plan.ReferenceKey(source=source):
            yield from ((*path, "reference") for path in _reach(source, focus))
        case plan.Conditional(source=source, condition=condition, then=then, otherwise=otherwise):
            items = list(_reach(source, focus))
            branches = [each for each in (then, otherwise) if each is not None]
            # Of a constant, what it is chosen by.
            if any(map(_is_constant, branches)):
                yield from _reach(condition, items)
            for each in branches:
                yield from _reach(each, items)
        case _:
            for field in fields(expression):
                for operand in _expressions(getattr(expression, field.name)):
                    yield from _reach(operand, focus)


def _is_constant(expression: plan.Expression) -> bool:
    if isinstance(expression, plan.Conditional):
        return _is_constant(expression.then) and (expression.otherwise is None or _is_constant(expression.otherwise))
    return isinstance(expression, plan.Literal)


def _expressions(value: object) -> list[plan.Expression]:
    values = value if isinstance(value, tuple) else (value,)
    return [each for each in values if isinstance(each, plan.Expression)]


@dataclass(frozen=True)
class Kept:
    """A view keeps the resources that have one of `codes` at an element."""

    path: Path
    codes: frozenset[str]


def kept(view: plan.ViewPlan) -> list[Kept]:
    """What a view's conditions of the form `category.coding.where(code = 'x').exists()` keep."""
    found = []
    for condition in view.where:
        match condition.value:
            case plan.Exists(
                source=plan.Filter(
                    source=source,
                    criteria=plan.Equality(
                        left=plan.Member(source=plan.Focus(), name=name), right=plan.Literal(value=code)
                    ),
                )
            ):
                found += [Kept((*path, name), frozenset({str(code)})) for path in _reach(source, [()])]
    return found
