"""A row interpreter of SQL on FHIR v2: the specification's processing algorithm, step by step, one resource at a time.

Source: "Processing Algorithm" of https://build.fhir.org/ig/HL7/sql-on-fhir/en/StructureDefinition-ViewDefinition.html

It shares no code with the compiler of cohortlake.core.views, nor its type definitions, and serves as its oracle.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.engine.util import get_data

from tests.property.oracle_fhirpath import check, evaluate
from tests.property.oracle_items import R4
from tests.property.oracle_values import RefusedError

Json = Mapping[str, Any]
Row = dict[str, Any]
Variables = Mapping[str, list[Any]]
ITERATIONS = ("forEach", "forEachOrNull", "repeat")
TYPE_PREFIX = "http://hl7.org/fhir/StructureDefinition/"


def rows(view: Json, resources: Sequence[Json]) -> list[list[Row]]:
    """The rows of each resource, columns in order. Raises RefusedError for what the specification calls an error."""
    variables = _validate(view)
    return [_process_resource(view, resource, variables) for resource in resources]


def column_names(view: Json) -> list[str]:
    return [column["name"] for column in _columns(view, [])]


# Validation


def _validate(view: Json) -> Variables:
    """The constants of a view that is valid in form."""
    if view.get("resource") not in R4["type2Parent"]:
        raise RefusedError("resource: a resource type")
    if not view.get("select"):
        raise RefusedError("select: one at least")
    variables = _constants(view.get("constant", ()))
    for rule in view.get("where", ()):
        check(rule["path"], variables)
    for select in view["select"]:
        _validate_select(select, variables)
    _columns(view, [])
    return variables


def _constants(constants: Sequence[Json]) -> Variables:
    """Constants by name, with the FHIR type that `valueDate` says, and %rowIndex, 0 outside of iterations."""
    found: dict[str, list[Any]] = {"rowIndex": [0]}
    for constant in constants:
        given = [name for name in constant if name.startswith("value")]
        if constant.get("name") in found or len(given) != 1:
            raise RefusedError("constant: a name of its own and one value")
        _check_name(constant.get("name"))
        fhir_type = given[0].removeprefix("value")
        found[constant["name"]] = [ResourceNode(constant[given[0]], fhir_type[0].lower() + fhir_type[1:])]
    return found


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise RefusedError(f"name: letters, digits and underscores, found {name!r}")


def _validate_select(select: Json, variables: Variables) -> None:
    if sum(1 for name in ITERATIONS if select.get(name)) > 1:
        raise RefusedError("at most one of forEach, forEachOrNull and repeat")
    if not any(select.get(name) for name in ("column", "select", "unionAll")):
        raise RefusedError("a select without content")
    paths = [select[name] for name in ITERATIONS[:2] if name in select]
    for path in [*paths, *select.get("repeat", ()), *(column.get("path") for column in select.get("column", ()))]:
        check(path, variables)
    for column in select.get("column", ()):
        _check_name(column.get("name"))
    for inner in (*select.get("select", ()), *select.get("unionAll", ())):
        _validate_select(inner, variables)


def _columns(select: Json, before: Sequence[Json]) -> list[Json]:
    """ValidateColumns(S, C): the columns of a select, after those `before` it."""
    found = list(before)
    for columns in ([column] for column in select.get("column", ())):
        _append(found, columns)
    for inner in select.get("select", ()):
        _append(found, _columns(inner, found)[len(found) :])
    branches = [_columns(branch, found)[len(found) :] for branch in select.get("unionAll", ())]
    for branch in branches:
        if [_declared(column) for column in branch] != [_declared(column) for column in branches[0]]:
            raise RefusedError("Union Branches Inconsistent")
    return found + (branches[0] if branches else [])


def _append(found: list[Json], columns: Sequence[Json]) -> None:
    for column in columns:
        if any(column["name"] == other["name"] for other in found):
            raise RefusedError("Column Already Defined")
        found.append(column)


def _declared(column: Json) -> tuple[Any, ...]:
    """What branches of a union must have in common, as far as a column says it."""
    return column["name"], column.get("type"), column.get("collection", False)


# Processing


def _process_resource(view: Json, resource: Json, variables: Variables) -> list[Row]:
    if resource["resourceType"] != view["resource"]:
        return []
    node = ResourceNode(resource, resource["resourceType"])
    if not all(_holds(rule["path"], node, variables) for rule in view.get("where", ())):
        return []
    return list(_process({"select": view["select"]}, node, variables))


def _holds(path: str, node: ResourceNode, variables: Variables) -> bool:
    found = [get_data(item) for item in evaluate(path, node, variables)]
    if len(found) > 1 or any(not isinstance(item, bool) for item in found):
        raise RefusedError(f"where: {path} must be a boolean")
    return found == [True]


def _process(select: Json, node: ResourceNode, variables: Variables) -> Iterator[Row]:
    """Process(S, N). A select without an iteration keeps the %rowIndex around it, as a branch of a union does."""
    if not any(name in select for name in ITERATIONS):
        yield from _process_focus(select, node, variables)
        return
    foci = _foci(select, node, variables)
    for index, focus in enumerate(foci):
        yield from _process_focus(select, focus, {**variables, "rowIndex": [index]})
    if not foci and "forEachOrNull" in select:
        # Bound to 0 are the columns whose path is %rowIndex; every other one is null, whatever it computes.
        yield {column["name"]: _unbound(column) for column in _columns(select, [])}


def _unbound(column: Json) -> Any:
    value = 0 if column["path"] == "%rowIndex" else None
    return [value] if value is not None and column.get("collection") else value


def _foci(select: Json, node: ResourceNode, variables: Variables) -> list[ResourceNode]:
    if "repeat" in select:
        return list(_descendants(select["repeat"], node, variables))
    path = select["forEach"] if "forEach" in select else select["forEachOrNull"]
    return [ResourceNode.create_node(item) for item in evaluate(path, node, variables)]


def _descendants(paths: Sequence[str], node: ResourceNode, variables: Variables) -> Iterator[ResourceNode]:
    """traverse(node): each child before its own children. A path that a node's type does not have leads nowhere from
    it: `answer.item` is for items, and the root is a QuestionnaireResponse."""
    for path in paths:
        try:
            children = evaluate(path, node, variables)
        except RefusedError:
            children = []
        for child in children:
            yield child
            yield from _descendants(paths, child, variables)


def _process_focus(select: Json, focus: ResourceNode, variables: Variables) -> Iterator[Row]:
    parts = [[{column["name"]: _value(column, focus, variables)}] for column in select.get("column", ())]
    parts += [list(_process(inner, focus, variables)) for inner in select.get("select", ())]
    if select.get("unionAll"):
        parts.append([row for branch in select["unionAll"] for row in _process(branch, focus, variables)])
    for partial_rows in itertools.product(*parts):
        yield {name: value for row in partial_rows for name, value in row.items()}


def _value(column: Json, focus: ResourceNode, variables: Variables) -> Any:
    items = evaluate(column["path"], focus, variables)
    for item in items:
        _check_type(column, item)
    found = [get_data(item) for item in items]
    if column.get("collection"):
        # The algorithm gives a single item bare; the conformance cases, and "all values of a single type", an array.
        return found or None
    if len(found) > 1:
        raise RefusedError("Multiple values found but not expected for column")
    return found[0] if found else None


def _check_type(column: Json, item: Any) -> None:
    """As "implementations should report an error if the returned type does not match the type set here, or if a
    non-primitive type is returned but this field is unset"."""
    if isinstance(get_data(item), Mapping) and column.get("type", "").removeprefix(TYPE_PREFIX) != item.path:
        raise RefusedError(f"{column['name']}: a column of type {item.path} must say so")
