"""One document to FHIR resources, as the catalog declares it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial

from cohortlake.core.ccda.declared import Ccda, ElementMap, load_ccda
from cohortlake.core.ccda.narrative import plain
from cohortlake.core.ccda.paths import STATEMENTS, Path, Reading, Test, compile_path, compile_test
from cohortlake.core.ccda.run import Made, Run, business_id, content
from cohortlake.core.ccda.sections import add_sections
from cohortlake.core.ccda.settle import settle
from cohortlake.core.ccda.source import DocumentSource, Scope
from cohortlake.core.convert import Converted, Options, Problem
from cohortlake.core.language.compiler import Compiler
from cohortlake.core.language.parts import CONSTANT, NOTHING, Bits, Part
from cohortlake.core.language.required import complete
from cohortlake.core.readers.ccda import Node

# In the text that people read stands no entry.
NARRATIVE = "text"
# What is the same whoever the patient is; its content alone tells it apart where it has no id.
COMMON = frozenset(("Location", "Medication", "Organization", "Practitioner"))


@dataclass
class CompiledMap:
    """A map that is ready to run."""

    declared: ElementMap
    when: Test | None
    needs: Test | None
    key: Path | None
    template: Part


@dataclass
class Mapper:
    """The compiled declarations; `templates` and `names` are the maps that templates and elements' names call for."""

    declared: Ccda
    maps: dict[str, CompiledMap] = field(default_factory=dict)
    templates: dict[str, list[CompiledMap]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, list[CompiledMap]] = field(default_factory=lambda: defaultdict(list))
    bits: Bits = field(default_factory=Bits)

    def __post_init__(self) -> None:
        for name, declared in self.declared.resources.items():
            compiled = self.maps[name] = self._compile(declared)
            for template in declared.templates:
                self.templates[template].append(compiled)
            if declared.of:
                self.names[declared.of].append(compiled)

    def _compile(self, declared: ElementMap) -> CompiledMap:
        fail = partial(self.declared.fail, declared.name)
        compiler = Compiler(declared.resource, DocumentSource(self.declared, self.bits), self.declared.maps, fail)
        return CompiledMap(
            declared,
            compiler.reads(compile_test, declared.when, ("when",)) if declared.when else None,
            compiler.reads(compile_test, declared.needs, ("needs",)) if declared.needs else None,
            compiler.reads(compile_path, declared.key, ("key",)) if declared.key else None,
            compiler.object(declared.elements, declared.resource, ("elements",)) or Part(lambda _: NOTHING, CONSTANT),
        )

    def to_fhir(self, root: Node, options: Options) -> Converted:
        """The resources of a document, problems and counts of what is not mapped."""
        run = Run(self.declared, root, options, self.bits)
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
        names = STATEMENTS | self.mapper.names.keys()
        nodes = [node for node in self.run.root.within(NARRATIVE) if node.name in names]
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
            values, is_found = compiled.template.make(Scope(self.run, node, reading, self.make, self.run.held(node)))
        made.resource = values[0] if is_found else {}
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
