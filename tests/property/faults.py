"""Views that both engines must refuse: each has one fault that the specification calls an error, or forbids.

A fault that shows only where a path meets an item comes with a resource in which it does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from cohortlake.core.fhir.definitions import Element, elements
from tests.property.paths import kind
from tests.property.resources import resources
from tests.property.views import View, views
from tests.property.vocabulary import vocabularies


class Fault(NamedTuple):
    """What is wrong, a view in which it is, and a resource that shows it."""

    name: str
    view: View
    resource: dict[str, Any]


class Way(NamedTuple):
    """A path that leads to an item of a resource, that item's type, and whether the path's last step is a choice."""

    path: str
    element: Element


# Faults of form, made in a view that was right.


def _columns(select: View) -> Iterator[View]:
    yield from select.get("column", ())
    for inner in (*select.get("select", ()), *select.get("unionAll", ())):
        yield from _columns(inner)


def _with_path(draw: DrawFn, view: View, change: Callable[[str], Any]) -> None:
    column = draw(st.sampled_from(list(_columns(view))))
    column["path"] = change(column["path"])


def _duplicate(draw: DrawFn, view: View) -> None:
    view["select"].append({"column": [dict(next(_columns(view)), path="id")]})


def _bad_grammar(draw: DrawFn, view: View) -> None:
    end = draw(st.sampled_from((".", ")", " and", " =", "[", ".exists(", " 'a", " ?", " b")))
    _with_path(draw, view, lambda path: path + end)


def _unknown_function(draw: DrawFn, view: View) -> None:
    _with_path(draw, view, lambda path: f"({path}).{draw(st.sampled_from(('last2', 'exist', 'ofTypes')))}()")


def _unknown_constant(draw: DrawFn, view: View) -> None:
    _with_path(draw, view, lambda path: draw(st.sampled_from(("%nowhere", "id.where($this = %k9)", "%`row index`"))))


def _path_of_another_type(draw: DrawFn, view: View) -> None:
    _with_path(draw, view, lambda path: draw(st.sampled_from((1, True, None, ["id"], {}))))


def _no_path(draw: DrawFn, view: View) -> None:
    draw(st.sampled_from(list(_columns(view)))).pop("path")


def _bad_name(draw: DrawFn, view: View) -> None:
    name = draw(st.sampled_from(("", "1a", "_a", "a-b", "a b", "ä", "a.b", None, 1)))
    draw(st.sampled_from(list(_columns(view))))["name"] = name


def _no_resource(draw: DrawFn, view: View) -> None:
    view["resource"] = draw(st.sampled_from(("Patent", "", "patient", None, 1)))


def _no_select(draw: DrawFn, view: View) -> None:
    view["select"] = draw(st.sampled_from(([], [{}], [{"column": []}], [{"forEach": "id"}], [{"select": [{}]}])))


def _two_iterations(draw: DrawFn, view: View) -> None:
    given = draw(st.lists(st.sampled_from(("forEach", "forEachOrNull", "repeat")), min_size=2, max_size=3, unique=True))
    iterations: View = {name: ["extension"] if name == "repeat" else "extension" for name in given}
    view["select"].append({**iterations, "column": [{"name": "iterated", "path": "url"}]})


def _bad_constant(draw: DrawFn, view: View) -> None:
    right = {"name": "right", "valueString": "a"}
    wrong = draw(
        st.sampled_from(
            (
                {"name": "right", "valueCode": "b"},
                {"name": "rowIndex", "valueInteger": 1},
                {"name": "none"},
                {"name": "two", "valueInteger": 1, "valueString": "a"},
                {"name": "1a", "valueInteger": 1},
                {"valueInteger": 1},
            )
        )
    )
    view["constant"] = [*view.get("constant", ()), right, wrong]


def _unlike_branches(draw: DrawFn, view: View) -> None:
    right = [{"name": "one", "path": "id", "type": "string"}, {"name": "two", "path": "true", "type": "boolean"}]
    wrong = draw(
        st.sampled_from(
            (
                right[:1],
                right[::-1],
                [*right, {"name": "three", "path": "id"}],
                [right[0], {**right[1], "name": "three"}],
                [right[0], {"name": "two", "path": "id", "type": "string"}],
                [right[0], {**right[1], "collection": True}],
            )
        )
    )
    branches: list[View] = [{"column": right}, {"column": wrong}]
    view["select"].append({"unionAll": draw(st.permutations(branches))})


FORMS: Sequence[Callable[[DrawFn, View], None]] = (
    _duplicate,
    _bad_grammar,
    _unknown_function,
    _unknown_constant,
    _path_of_another_type,
    _no_path,
    _bad_name,
    _no_resource,
    _no_select,
    _two_iterations,
    _bad_constant,
    _unlike_branches,
)


@st.composite
def malformed(draw: DrawFn) -> Fault:
    """A view that is wrong whatever the data."""
    vocabulary = draw(vocabularies())
    view = copy.deepcopy(draw(views(vocabulary)))
    form = draw(st.sampled_from(FORMS))
    form(draw, view)
    return Fault(form.__name__.strip("_"), view, {"resourceType": vocabulary.resource, "id": "1"})


# Faults of type, shown by an item that is there.


def _ways(resource: Any, type_name: str, path: str = "") -> Iterator[Way]:
    for name, value in resource.items():
        element = elements(type_name).get(name)
        if element is None:
            continue
        step = f"{element.choice}.ofType({element.type})" if element.choice else name
        found = f"{path}.{step}".lstrip(".") + ("[0]" if element.is_list else "")
        yield Way(found, element)
        item = value[0] if element.is_list else value
        if isinstance(item, dict):
            yield from _ways(item, element.type, found)


def _mistyped(way: Way) -> Iterator[str]:
    """Paths that start at an item and ask of it what its type does not have."""
    path, element = way
    name, found = element.type, kind(element.type)
    yield f"{path}.nowhere"
    yield f"{path}.resourceType"
    yield f"{path}.first(1)"
    yield f"{path}.where()"
    if element.choice:
        yield path.replace(f"{element.choice}.ofType({name})", element.name)
    if found != "complex":
        yield f"{path}.value"
    if found != "string":
        yield f"{path}.join(',')"
        yield f"{path} + 'a'"
    if found not in ("integer", "decimal"):
        yield f"{path} * 2"
        yield f"-{path}"
    if found not in ("date", "decimal", "time") and name != "Period":
        yield f"{path}.lowBoundary()"
    if found != "boolean":
        yield f"{path}.exists({'id' if found == 'complex' else '$this'} & '')"
    if name != "Reference":
        yield f"{path}.getReferenceKey()"
    yield f"{path}.getResourceKey()"
    if found in ("complex", "boolean"):
        yield f"{path} < {path}"


@st.composite
def mistyped(draw: DrawFn) -> Fault:
    """A view whose path, column or condition is of a type that it cannot be, with a resource that meets it."""
    vocabulary = draw(vocabularies())
    resource = draw(resources(vocabulary))
    ways = list(_ways(resource, vocabulary.resource))
    way = draw(st.sampled_from(ways or [Way("id", elements(vocabulary.resource)["id"])]))
    if not ways:
        resource["id"] = "1"
    root = f"{vocabulary.resource}."
    view: View = {"resource": vocabulary.resource, "select": [{"column": [{"name": "c", "path": "true"}]}]}
    column = view["select"][0]["column"][0]
    name = draw(st.sampled_from(("path", "path", "where", "column")))
    if name == "where" and kind(way.element.type) != "boolean":
        view["where"] = [{"path": way.path}]
    elif name == "column" and kind(way.element.type) == "complex":
        column["path"] = way.path
        if draw(st.booleans()):
            column["type"] = "Quantity" if way.element.type != "Quantity" else "string"
    else:
        name = "path"
        column["path"] = root * draw(st.booleans()) + draw(st.sampled_from(list(_mistyped(way))))
    return Fault(f"{name} of another type", view, resource)
