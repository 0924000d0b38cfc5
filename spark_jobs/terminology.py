"""Codings that a silo's concept maps add to a part of silver, beside those that came.

The typed columns have them as codings like others. What says which map made one is an extension, which silver does not
type; so the root element stands in `_rest` too, whole, as it does for all that the columns do not hold.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog import Node
from cohortlake.core.fhir.render import resources
from cohortlake.core.readers.json_exact import elements
from cohortlake.core.terminology.translate import Translated, Translator, dumps_exact, loads_exact
from spark_jobs.fhir_types import UNMAPPED

# What is said of a record, not of what it tells.
ABOUT = frozenset({"meta"})


@dataclass
class Mapped:
    """A part's rows with the codings added; how many each map added, and the codes that it lacks, as `map: code`."""

    rows: pa.Table
    added: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


def map_codings(rows: pa.Table, tree: Node, translator: Translator) -> Mapped:
    """A part of silver with the codings that the maps add to its CodeableConcepts."""
    mapped = Mapped(rows)
    if not translator.maps or not rows.num_rows:
        return mapped
    systems = pa.array(translator.systems, pa.string())
    lacking: dict[int, set[tuple[str, str]]] = {}
    for root in tree.children.values():
        if root.name in ABOUT or not _has_concepts(root):
            continue
        touched = _touched(mapped.rows[root.name].combine_chunks(), root, systems)
        if touched:
            _map_root(mapped, tree, root, touched, translator, lacking)
    if lacking:
        mapped.rows = _flagged(mapped.rows, lacking)
    return mapped


def _has_concepts(node: Node) -> bool:
    return node.type == "CodeableConcept" or any(_has_concepts(child) for child in node.children.values())


def _touched(values: pa.Array, root: Node, systems: pa.Array) -> list[int]:
    """The rows in which a concept of the element has a coding of one of the systems."""
    found: set[int] = set()
    for codes, places in _systems(values, root, pa.array(np.arange(len(values)))):
        found |= set(places.filter(pc.fill_null(pc.is_in(codes, systems), False)).to_pylist())
    return sorted(found)


def _systems(values: pa.Array, node: Node, places: pa.Array) -> Iterator[tuple[pa.Array, pa.Array]]:
    """The systems of the codings in concepts, with the row that each is of."""
    if node.is_list:
        places = places.take(pc.list_parent_indices(values))
        values = pc.list_flatten(values)
    for child in node.children.values():
        if node.type == "CodeableConcept" and child.name == "coding":
            codings = pc.struct_field(values, "coding")
            of = places.take(pc.list_parent_indices(codings))
            yield pc.struct_field(pc.list_flatten(codings), "system"), of
        elif _has_concepts(child):
            yield from _systems(pc.struct_field(values, child.name), child, places)


def _map_root(
    mapped: Mapped,
    tree: Node,
    root: Node,
    touched: list[int],
    translator: Translator,
    lacking: dict[int, set[tuple[str, str]]],
) -> None:
    """Add codings to one root element of the rows touched; `lacking` gains the codes that a map lacks, by row."""
    at = pa.array(touched, pa.int64())
    column, rest = mapped.rows[root.name].combine_chunks(), mapped.rows["_rest"].combine_chunks()
    texts = resources(tree.name, pa.table({root.name: column.take(at)})).to_pylist()
    typed, kept = column.take(at).to_pylist(), rest.take(at).to_pylist()
    known: dict[str, tuple[str | None, Translated]] = {}
    changed: list[int] = []
    for number, row in enumerate(touched):
        held = {name: text for name, (_, text) in elements(kept[number]).items()} if kept[number] else {}
        text = held.get(root.name) or elements(texts[number])[root.name][1]
        if text not in known:
            known[text] = _mapped_text(text, root, translator)
        made, said = known[text]
        mapped.added.update(said.added)
        mapped.unknown.update({f"{label}: {code}": count for (label, code), count in said.unknown.items()})
        if said.unknown:
            lacking.setdefault(row, set()).update(said.unknown)
        if made is not None:
            _map_value(typed[number], root, translator, Translated(), is_typed=True)
            held[root.name] = made
            kept[number] = "{" + ",".join(f"{dumps_exact(name)}:{value}" for name, value in held.items()) + "}"
            changed.append(number)
    if changed:
        rows = [touched[number] for number in changed]
        new = {root.name: (column, typed), "_rest": (rest, kept)}
        for name, (old, values) in new.items():
            replaced = _replaced(old, rows, [values[number] for number in changed])
            mapped.rows = mapped.rows.set_column(mapped.rows.column_names.index(name), name, replaced)


def _mapped_text(text: str, root: Node, translator: Translator) -> tuple[str | None, Translated]:
    """An element's JSON text with the codings added, or None where there are none to add; and what the maps said."""
    value, said = loads_exact(text), Translated()
    _map_value(value, root, translator, said)
    return (dumps_exact(value) if said.added else None), said


def _map_value(value: Any, node: Node, translator: Translator, said: Translated, *, is_typed: bool = False) -> None:
    """Add codings to the concepts in a value, in place; `is_typed` leaves out what silver's columns do not have."""
    if isinstance(value, list):
        for item in value:
            _map_value(item, node, translator, said, is_typed=is_typed)
    elif isinstance(value, dict) and node.type == "CodeableConcept":
        codings = value.get("coding") or []
        added = translator.codings(codings, said)
        if added:
            names = node.children["coding"].children
            shaped = [{name: coding.get(name) for name in names} for coding in added]
            value["coding"] = [*codings, *(shaped if is_typed else copy.deepcopy(added))]
    elif isinstance(value, dict):
        for child in node.children.values():
            _map_value(value.get(child.name), child, translator, said, is_typed=is_typed)


def _replaced(column: pa.Array, rows: list[int], values: list[Any]) -> pa.Array:
    """A column with other values in some rows."""
    places = np.arange(len(column))
    places[rows] = len(column) + np.arange(len(rows))
    return pa.concat_arrays([column, pa.array(values, column.type)]).take(pa.array(places))


def _flagged(rows: pa.Table, lacking: Mapping[int, set[tuple[str, str]]]) -> pa.Table:
    """The rows with the codes that a map lacks in `_unmapped`, beside those that are there."""
    column = rows["_unmapped"].combine_chunks().cast(UNMAPPED)
    at = sorted(lacking)
    values = []
    for row, before in zip(at, column.take(pa.array(at)).to_pylist(), strict=True):
        values.append([*(before or []), *({"map": label, "code": code} for label, code in sorted(lacking[row]))])
    index = rows.column_names.index("_unmapped")
    return rows.set_column(index, "_unmapped", _replaced(column, at, values))
