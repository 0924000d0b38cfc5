"""One document to FHIR resources, as the catalog declares it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cohortlake.core.ccda.declared import Ccda, ElementMap, load_ccda
from cohortlake.core.ccda.narrative import plain
from cohortlake.core.ccda.paths import STATEMENTS, Path, Reading, Test
from cohortlake.core.ccda.run import Made, Run, business_id, content
from cohortlake.core.ccda.sections import add_sections
from cohortlake.core.ccda.settle import settle
from cohortlake.core.ccda.templates import Compiler, Make, Scope
from cohortlake.core.convert import Converted, Options, Problem
from cohortlake.core.hl7v2.required import complete
from cohortlake.core.readers.ccda import Node

# What is the same whoever the patient is; its content alone tells it apart where it has no id.
COMMON = frozenset(("Location", "Medication", "Organization", "Practitioner"))


@dataclass
class CompiledMap:
    """A map that is ready to run."""

    declared: ElementMap
    when: Test | None
    needs: Test | None
    key: Path | None
    template: Make


@dataclass
class Mapper:
    """The compiled declarations; `templates` and `names` are the maps that templates and elements' names call for."""

    declared: Ccda
    maps: dict[str, CompiledMap] = field(default_factory=dict)
    templates: dict[str, list[CompiledMap]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, list[CompiledMap]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for name, declared in self.declared.elements.items():
            compiled = self.maps[name] = self._compile(declared)
            for template in declared.templates:
                self.templates[template].append(compiled)
            if declared.of:
                self.names[declared.of].append(compiled)

    def _compile(self, declared: ElementMap) -> CompiledMap:
        compiler = Compiler(self.declared, declared.name)
        elements: dict[str, Any] = {}
        for group in declared.include:
            elements |= self.declared.shared.elements[group]
        elements |= declared.elements
        elements = {name: template for name, template in elements.items() if template is not None}
        return CompiledMap(
            declared,
            compiler.test(declared.when, ("when",)) if declared.when else None,
            compiler.test(declared.needs, ("needs",)) if declared.needs else None,
            compiler.path(declared.key, ("key",)) if declared.key else None,
            compiler.object(elements, declared.resource, ("elements",)),
        )

    def to_fhir(self, root: Node, options: Options) -> Converted:
        """The resources of a document, problems and counts of what is not mapped."""
        run = Run(self.declared, root, options)
        if not run.patient_key:
            place = "ClinicalDocument/recordTarget"
            return Converted(problems=[Problem("no recordTarget/patientRole: whose document it is is not said", place)])
        conversion = _Conversion(self, run)
        conversion.make_all()
        add_sections(run)
        resources = settle(run)
        for resource in resources:
            kind = resource["resourceType"]
            for path in complete(resource, kind, kind):
                reason = "required by R4 and not said: marked as absent"
                run.problems.setdefault((reason, path), Problem(reason, path, "warning"))
        if run.clock.assumed:
            reason = f"times without a zone are taken as {options.zone}"
            run.problems[reason, ""] = Problem(reason, "ClinicalDocument/effectiveTime", "warning")
        return Converted(resources, list(run.problems.values()), run.unmapped, run.codes)


@dataclass
class _Conversion:
    mapper: Mapper
    run: Run

    def make_all(self) -> None:
        """Make what the document holds, then what is left, then count what no map takes."""
        nodes = [node for node in self.run.root.within() if node.name in STATEMENTS or node.name in self.mapper.names]
        for is_leftover in (False, True):
            for node in nodes:
                for compiled in self._maps(node, is_leftover):
                    self.make(compiled.declared.name, node)
        made = {node for _, node in self.run.made}
        for node in nodes:
            if node.name in STATEMENTS and node not in made and node not in self.run.taken:
                self._count(node)

    def _count(self, node: Node) -> None:
        roots = [template.attributes.get("root", "") for template in node.elements("templateId")]
        if not any(root in self.mapper.declared.shared.wrappers for root in roots):
            self.run.unmapped[f"{node.name} {roots[0] if roots else 'without template'}"] += 1

    def _maps(self, node: Node, is_leftover: bool) -> Iterator[CompiledMap]:
        reading = Reading(node, self.run.taken)
        for compiled in self.mapper.names.get(node.name, ()):
            if compiled.declared.is_leftover == is_leftover and (not compiled.when or compiled.when(node, reading)):
                yield compiled
        if node.name not in STATEMENTS:
            return
        for template in node.elements("templateId"):
            for compiled in self.mapper.templates.get(template.attributes.get("root", ""), ()):
                if compiled.declared.is_leftover != is_leftover or (is_leftover and node in self.run.taken):
                    continue
                if not compiled.when or compiled.when(node, reading):
                    yield compiled
                    return

    def make(self, name: str, node: Node) -> Made | None:
        """The resource that a map makes of an element, made once; None where it has nothing to be known by."""
        if name == "entry":
            found = next(self._maps(node, False), None) or next(self._maps(node, True), None)
            return self.make(found.declared.name, node) if found else None
        known = self.run.made.get((name, node))
        if known:
            return known
        compiled = self.mapper.maps[name]
        reading = Reading(node, self.run.taken)
        if compiled.needs and not compiled.needs(node, reading):
            return None
        kind = compiled.declared.resource
        made = Made(name, kind, node, self._key(compiled, node, reading))
        self.run.made[name, node] = made
        with self.run.codes.within(made):
            filled = compiled.template(Scope(self.run, node, reading, self.make))
        made.resource = filled[0] if filled else {}
        return made

    def _key(self, compiled: CompiledMap, node: Node, reading: Reading) -> str:
        if compiled.key:
            parts = compiled.key.select(node, reading)
            text = "\x1f".join(
                part if isinstance(part, str) else business_part(part) or content(part) for part in parts
            )
            if text:
                return text
        known = business_id(node)
        if known:
            return known
        owner = "" if compiled.declared.resource in COMMON else self.run.patient_key
        return f"{owner}\x1f{compiled.declared.name}\x1f{content(node)}"


def business_part(node: Node) -> str:
    """An id element as text."""
    root, extension = node.attributes.get("root", "").lower(), node.attributes.get("extension", "")
    return f"{root}^{extension}" if root or extension else plain(node)


@cache
def mapper() -> Mapper:
    """The mapper of the bundled declarations. Raises CatalogError."""
    return Mapper(load_ccda())
