"""One transaction set to FHIR resources, as the catalog declares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from cohortlake.core.convert import Converted, Options, Problem
from cohortlake.core.language.compiler import Compiler
from cohortlake.core.language.identity import identity, resource_id
from cohortlake.core.language.parts import CONSTANT, NOTHING, Bits, Part, Test
from cohortlake.core.language.required import complete
from cohortlake.core.readers.x12 import TransactionSet
from cohortlake.core.x12 import checks
from cohortlake.core.x12.coverage import unmapped
from cohortlake.core.x12.declared import X12, Guide, LoopMap, load_x12
from cohortlake.core.x12.loops import Node, structure
from cohortlake.core.x12.positions import settled
from cohortlake.core.x12.run import IDS, Run, Scope, created
from cohortlake.core.x12.source import SetSource

# As many faults of one set are told one by one; how many more there are is told too.
MAX_FAULTS = 100
EMPTY = Part(lambda _: NOTHING, CONSTANT)


@dataclass
class CompiledMap:
    """A map that is ready to run."""

    declared: LoopMap
    when: Test | None
    gives_way: Test | None
    whose: Part | None
    keys: list[list[Part | None]]
    template: Part


@dataclass(eq=False)
class Placed:
    """A resource to be: of which loop, and under which id."""

    compiled: CompiledMap
    scope: Scope
    kind: str
    name: str

    def note(self) -> None:
        """Let others refer to it."""
        made = self.scope.node.made.setdefault(self.compiled.declared.name, [])
        made.append(f"{self.kind}/{self.name}")

    def said(self) -> str:
        """What its loop says and of whom, without the counters of its lines."""
        whose = self.compiled.whose.make(self.scope)[0] if self.compiled.whose else []
        segments = (segment for node in self.scope.node.within() for segment in node.segments)
        return "\n".join([str(whose), *("*".join(s.elements) for s in segments if s.name != "LX")])


@dataclass
class Mapper:
    """The compiled declarations."""

    declared: X12
    maps: dict[str, CompiledMap] = field(default_factory=dict)
    bits: Bits = field(default_factory=Bits)

    def __post_init__(self) -> None:
        for name, declared in self.declared.resources.items():
            source = SetSource(self.declared.resources, self.bits)
            compiler = Compiler(name, source, self.declared.maps, partial(self.declared.fail, name))
            keys = [[compiler.element(part, "string", ("key",)) for part in key] for key in declared.key]
            when = compiler.test(declared.when, ("when",)) if declared.when else None
            gives_way = compiler.test(declared.gives_way, ("gives_way",)) if declared.gives_way else None
            whose = compiler.element(declared.whose, "Reference", ("whose",)) if declared.whose else None
            template = compiler.object(declared.elements, declared.resource, ("elements",)) or EMPTY
            self.maps[name] = CompiledMap(declared, when, gives_way, whose, keys, template)

    def to_fhir(self, found: TransactionSet, options: Options) -> Converted:
        """The resources of a set, its problems and counts of what is not mapped."""
        if found.ta1 is not None and not found.body:
            reason = "TA1 (Interchange Acknowledgment): nothing is made of it: it tells whether an interchange came"
            return Converted(problems=[Problem(reason, "TA1", "warning")])
        if not found.body:
            return Converted(problems=[Problem("there is no transaction set", "ST")])
        guide = self._guide(found)
        if isinstance(guide, Problem):
            return Converted(problems=[guide])
        problems = list(checks.envelope(found, guide.declared))
        if guide.declared.nothing:
            reason = f"{found.kind} ({guide.declared.title}): nothing is made of it: {guide.declared.nothing}"
            return Converted(problems=[*problems, Problem(reason, "ST-01", "warning")])
        root, faults = structure(found.body, guide)
        problems += _limited([*faults, *checks.hierarchy(root), *checks.pointers(root), *checks.balances(root)])
        if any(problem.severity == "error" for problem in problems):
            return Converted(problems=problems)
        run = Run(self.declared, found, options, self.bits, _variables(found, guide))
        resources = self._make(run, root, guide)
        if run.clock.assumed:
            run.warn(f"times without a zone are taken as {options.zone}", "BHT-05")
        missed = run.unmapped + unmapped(run, root, {**self.declared.left_out, **guide.declared.left_out})
        return Converted(resources, [*problems, *run.problems.values()], missed, run.codes)

    def _guide(self, found: TransactionSet) -> Guide | Problem:
        kind, guide = found.kind, found.guide
        known = [g for g in self.declared.guides.values() if g.declared.transaction == kind]
        if not known:
            return Problem("the transaction set is none that is read", found.body[0].at(1))
        for candidate in known:
            guides = candidate.declared.guides
            if not guides or any(guide.startswith(name) for name in guides):
                return candidate
        read = ", ".join(name for candidate in known for name in candidate.declared.guides)
        return Problem(f"the guide of this {kind} is none that is read: those are {read}", found.body[0].at(3))

    def _make(self, run: Run, root: Node, guide: Guide) -> list[dict[str, Any]]:
        resources: dict[tuple[str, str], dict[str, Any]] = {}
        for placed in _identify(run, root, [self.maps[name] for name in guide.declared.makes]):
            is_passing = placed.compiled.declared.name in guide.declared.refers_to
            with run.codes.within((placed.kind, placed.name)):
                values, _ = placed.compiled.template.make(placed.scope)
            meta = run.passing if is_passing else run.meta
            made = {"resourceType": placed.kind, "id": placed.name, "meta": meta, **(values[0] if values else {})}
            if run.has_positions:
                made, run.has_positions = settled(made), False
            for path in list(complete(made, placed.kind, placed.kind)):
                run.warn(f"{path} is required and was not sent: marked as absent", placed.scope.place)
            key = placed.kind, placed.name
            resources[key] = made if key not in resources else _merged(run, resources[key], made, placed.scope.place)
        return list(resources.values())


def _merged(run: Run, known: dict[str, Any], more: dict[str, Any], place: str) -> dict[str, Any]:
    """One resource told twice: what was told first stands, lists are joined; what is told differently is said."""
    result = dict(known)
    for name, value in more.items():
        if name not in result:
            result[name] = value
        elif isinstance(value, list):
            result[name] = [*result[name], *(item for item in value if item not in result[name])]
        elif value != result[name]:
            kind = known["resourceType"]
            run.warn(f"{kind}.{name} is told differently within the set: the first stands", place)
    return result


def _limited(faults: list[Problem]) -> list[Problem]:
    """Each fault once, errors first; beyond a limit only how many there are."""
    once = sorted(dict.fromkeys(faults), key=lambda fault: fault.severity)
    if len(once) <= MAX_FAULTS:
        return once
    more = len(once) - MAX_FAULTS
    return [*once[:MAX_FAULTS], Problem("further faults of the set are not listed", f"{more} more", "warning")]


def _variables(found: TransactionSet, guide: Guide) -> dict[str, str]:
    """What templates name as `@name`."""
    currency = next((segment.text(2) for segment in found.body if segment.name == "CUR"), "")
    return {
        **guide.declared.set,
        "sender": found.isa.text(6),
        "created": created(found),
        "currency": currency if len(currency) == 3 and currency.isalpha() else "USD",
    }


def _identify(run: Run, root: Node, maps: list[CompiledMap]) -> list[Placed]:
    """Which resources there will be, before any is made, so that each may refer to any other."""
    placed: list[Placed] = []
    for node in root.within():
        for compiled in maps:
            if node.name not in compiled.declared.loops:
                continue
            scope = Scope(run, node)
            if compiled.when and not compiled.when(scope):
                continue
            parts = identity(compiled.keys, scope)
            kind = compiled.declared.resource
            if parts is None:
                run.warn(f"no {kind} is made: it has nothing to be known by", scope.place)
                continue
            placed.append(Placed(compiled, scope, kind, resource_id(IDS, kind, parts)))
    for one in placed:
        if not one.compiled.declared.is_repeatable:
            one.note()
    kept = _told_apart(run, placed)
    for one in placed:
        if one.compiled.declared.is_repeatable:
            one.note()
    return kept


def _told_apart(run: Run, placed: list[Placed]) -> list[Placed]:
    """Of repeatable facts with one identity, those that say the same once, and the others under ids of their own.

    One that gives way (a reversal, where its correction is in the same set) is superseded by the others.
    """
    groups: dict[str, list[Placed]] = {}
    for one in placed:
        if one.compiled.declared.is_repeatable:
            groups.setdefault(one.name, []).append(one)
    dropped: set[int] = set()
    for group in groups.values():
        way = [one for one in group if one.compiled.gives_way and one.compiled.gives_way(one.scope)]
        standing = group if len(way) == len(group) else [one for one in group if one not in way]
        for one in group:
            if one not in standing:
                run.pass_over(one.scope.node, f"{one.kind} is superseded in the same set", one.scope.place)
                dropped.add(id(one))
        dropped |= _numbered(run, standing)
    return [one for one in placed if id(one) not in dropped]


def _numbered(run: Run, group: list[Placed]) -> set[int]:
    """Give those of one identity that say different things ids of their own; those that say what another said."""
    dropped: set[int] = set()
    seen: dict[str, str] = {}
    for one in group:
        said = one.said()
        if said in seen:
            run.pass_over(one.scope.node, f"{one.kind} stands twice in the set: it is one", one.scope.place)
            one.name = seen[said]
            dropped.add(id(one))
            continue
        if seen:
            run.warn(f"two {one.kind} carry one number: they are kept apart by their order", one.scope.place)
            one.name = resource_id(IDS, one.kind, [one.name, f"repeat {len(seen) + 1}"])
        seen[said] = one.name
    return dropped


@cache
def mapper() -> Mapper:
    """The project's mapper. Raises CatalogError where its declarations are wrong."""
    return Mapper(load_x12())
