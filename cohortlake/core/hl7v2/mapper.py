"""One message to FHIR resources, as the catalog declares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cohortlake.core.catalog.source import Location
from cohortlake.core.convert import Converted, Options, Problem
from cohortlake.core.errors import CatalogError
from cohortlake.core.hl7v2.datatypes import Datatype
from cohortlake.core.hl7v2.declared import Hl7v2, MessageMap, SegmentMap, load_hl7v2
from cohortlake.core.hl7v2.groups import Node, group
from cohortlake.core.hl7v2.run import IDS, Run, Scope
from cohortlake.core.hl7v2.source import MessageSource
from cohortlake.core.language.compiler import Compiler
from cohortlake.core.language.declared import declaration_error
from cohortlake.core.language.identity import identity, resource_id
from cohortlake.core.language.parts import CONSTANT, NOTHING, Bits, Part, Test
from cohortlake.core.language.required import complete
from cohortlake.core.readers.hl7v2 import Message, Segment, leaf

ELEMENTS: Location = ("elements",)
EMPTY = Part(lambda _: NOTHING, CONSTANT)


@dataclass
class CompiledMap:
    """A segment map that is ready to run.

    `fields` are those that it reads or leaves out with a reason, by segment; of the segments in `own` only those of the
    group that it is made in.
    """

    declared: SegmentMap
    when: Test | None
    keys: list[list[Part | None]]
    template: Part
    fields: dict[str, frozenset[int]]
    own: frozenset[str]

    def takes(self, segment: Segment, node: Node, made: set[tuple[str, int]]) -> frozenset[int]:
        """The fields that it takes of a segment of a group; `made` are the maps that were made, by name and group."""
        name = segment.name
        if name == self.declared.segment:
            is_taken = (self.declared.name, id(segment)) in made
        else:
            is_taken = name not in self.own or (self.declared.name, id(node)) in made
        return self.fields.get(name, frozenset()) if is_taken else frozenset()


@dataclass
class Mapper:
    """The compiled declarations."""

    declared: Hl7v2
    maps: dict[str, CompiledMap] = field(default_factory=dict)
    bits: Bits = field(default_factory=Bits)

    def __post_init__(self) -> None:
        datatypes = {name: Datatype(datatype) for name, datatype in self.declared.datatypes.items()}
        for name, datatype in datatypes.items():
            compiler = self._compiler(datatype.declared.fhir, f"datatypes/{name}.yaml", datatypes)
            datatype.template = _template(compiler, datatype.declared.elements, datatype.declared.fhir)
            datatype.keys = _keys(compiler, datatype.declared.key or [])
            if datatype.declared.display is not None:
                datatype.display = compiler.element(datatype.declared.display, "string", ("display",))
        for name, declared in self.declared.resources.items():
            self.maps[name] = self._compile(declared, datatypes)

    def _compile(self, declared: SegmentMap, datatypes: dict[str, Datatype]) -> CompiledMap:
        compiler = self._compiler(declared.name, f"resources/{declared.name}.yaml", datatypes)
        source = compiler.source
        when = compiler.test(declared.when, ("when",)) if declared.when else None
        keys = _keys(compiler, declared.key)
        template = compiler.object(declared.elements, declared.resource, ELEMENTS) or EMPTY
        left_out = {(name, int(number)) for place in declared.left_out for name, number in [place.split("-")]}
        fields: dict[str, set[int]] = {}
        for name, position in source.fields | left_out:
            fields.setdefault(name, set()).add(position)
        by_segment = {name: frozenset(positions) for name, positions in fields.items()}
        return CompiledMap(declared, when, keys, template, by_segment, frozenset(source.own))

    def _compiler(self, name: str, file: str, datatypes: dict[str, Datatype]) -> Compiler[MessageSource]:
        path = self.declared.folder / file

        def fail(at: Location, reason: str) -> CatalogError:
            place = ".".join((name, *map(str, at[1:]))) if at[:1] == ELEMENTS else at[0]
            return declaration_error(path, at, f"{place}: {reason}")

        return Compiler(name, MessageSource(datatypes, self.bits), self.declared.maps, fail)

    def to_fhir(self, message: Message, options: Options) -> Converted:
        """The resources of a message, problems and counts of what is not mapped."""
        code, event = message.text(9, 1), message.text(9, 2) or _event(message)
        found = self.declared.messages.get(code)
        if found is None:
            return Converted(problems=[*message.problems, Problem("no map for this message type", f"MSH-9: {code}")])
        trigger = found.triggers.get(event)
        makes = trigger.makes if trigger and trigger.makes is not None else found.makes
        passing = trigger.refers_to if trigger and trigger.refers_to is not None else found.refers_to
        held = self.bits.of({segment.name for segment in message.segments})
        run = Run(self.declared, message, options, _variables(found, event), held)
        if trigger is None:
            run.warn("no map for this event: taken as the message type alone says", f"MSH-9: {code}^{event}")
        root = group(message.segments, self.declared.groups)
        maps = [self.maps[name] for name in makes]
        scopes = _identify(run, root, maps)
        for compiled, scope, reference in scopes:
            meta = run.passing if compiled.declared.name in passing else run.meta
            _make(run, compiled, scope, reference, meta)
        _count_unmapped(run, root, maps, scopes)
        if not run.resources:
            run.problems["", ""] = Problem("the message holds nothing that a map makes", f"MSH-9: {code}^{event}")
        if run.clock.assumed:
            run.warn(f"times without a zone are taken as {options.zone}", "MSH-7")
        return Converted(
            list(run.resources.values()), [*message.problems, *run.problems.values()], run.unmapped, run.codes
        )


def _event(message: Message) -> str:
    """The event of EVN-1, for a sender whose MSH-9 has none."""
    return next((leaf(segment.values(1)) for segment in message.segments if segment.name == "EVN"), "")


def _variables(found: MessageMap, event: str) -> dict[str, str]:
    trigger = found.triggers.get(event)
    return {**found.set, **(trigger.set if trigger else {})}


def _template(compiler: Compiler[MessageSource], template: dict[str, Any], kind: str) -> Part | None:
    if any(name.startswith("$") for name in template):
        return compiler.element(template, kind, ELEMENTS)
    return compiler.object(template, kind, ELEMENTS)


def _keys(compiler: Compiler[MessageSource], keys: list[list[Any]]) -> list[list[Part | None]]:
    return [[compiler.element(part, "string", ("key",)) for part in key] for key in keys]


Placed = tuple[CompiledMap, Scope, str]


def _identify(run: Run, root: Node, maps: list[CompiledMap]) -> list[Placed]:
    """Which resources there will be, before any is made, so that each may refer to any other."""
    placed: list[Placed] = []
    seen: dict[str, int] = {}
    for node in root.within():
        for compiled in maps:
            declared = compiled.declared
            for segment in node.segments.get(declared.segment, ()):
                scope = Scope(run, node, segment)
                if compiled.when and not compiled.when(scope):
                    continue
                place = f"{segment.name}[{segment.number}]"
                parts = identity(compiled.keys, scope)
                if parts is None:
                    run.warn(f"no {declared.resource} is made: it has nothing to be known by", place)
                    run.unmapped[f"{segment.name} (not identified)"] += 1
                    continue
                reference = f"{declared.resource}/{resource_id(IDS, declared.resource, parts)}"
                seen[reference] = seen.get(reference, 0) + 1
                if declared.is_repeatable and seen[reference] > 1:
                    parts = [*parts, f"repeat {seen[reference]}"]
                    reference = f"{declared.resource}/{resource_id(IDS, declared.resource, parts)}"
                node.make(declared.name, reference, segment)
                placed.append((compiled, scope, reference))
    return placed


def _make(run: Run, compiled: CompiledMap, scope: Scope, reference: str, meta: dict[str, Any]) -> None:
    kind, _, name = reference.partition("/")
    with run.codes.within((kind, name)):
        values, _ = compiled.template.make(scope)
    resource = {"resourceType": kind, "id": name, "meta": meta, **(values[0] if values else {})}
    segment = scope.segment
    place = f"{segment.name}[{segment.number}]" if segment else ""
    for path in list(complete(resource, kind, kind)):
        run.warn(f"{path} is required and was not sent: marked as absent", place)
    run.put(resource)


def _count_unmapped(run: Run, root: Node, maps: list[CompiledMap], placed: list[Placed]) -> None:
    """Count each field that holds something and that no map takes; and deletes, which make nothing."""
    made = {(compiled.declared.name, id(scope.segment)) for compiled, scope, _ in placed}
    made |= {(compiled.declared.name, id(scope.node)) for compiled, scope, _ in placed}
    for node in root.within():
        for segments in node.segments.values():
            for segment in segments:
                taken = frozenset[int]().union(*(compiled.takes(segment, node, made) for compiled in maps))
                _count_fields(run, segment, taken)
    for segment in root.stray:
        _count_fields(run, segment, frozenset())


def _count_fields(run: Run, segment: Segment, taken: frozenset[int]) -> None:
    for position in range(1, len(segment.fields)):
        if segment.is_delete(position):
            run.unmapped[f"{segment.name}-{position} (delete)"] += 1
        elif position not in taken and segment.values(position):
            run.unmapped[f"{segment.name}-{position}"] += 1


@cache
def mapper() -> Mapper:
    """The project's mapper. Raises CatalogError where its declarations are wrong."""
    return Mapper(load_hl7v2())
