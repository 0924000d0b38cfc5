"""Generate cohortlake/core/fhir/r4.json from the published FHIR R4 StructureDefinitions.

The input is the jar `ca.uhn.hapi.fhir:hapi-fhir-validation-resources-r4` (any 8.x) from Maven Central, which holds
HL7's `profiles-types.xml`, `profiles-resources.xml` and the value sets unchanged:

    python tools/fhir_r4.py hapi-fhir-validation-resources-r4-8.4.0.jar

The output has one line a type. Each element is a row: name, type, max > 1, min, codes of a required binding (or null),
target resource types of a Reference (or null), name of the choice that it belongs to (or null). The minimum of a choice
is one of its types, not each.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

NS = {"f": "http://hl7.org/fhir"}
MODEL = "org/hl7/fhir/r4/model/"
OUTPUT = Path(__file__).parent.parent / "cohortlake/core/fhir/r4.json"
FHIRPATH_TYPE = "http://hl7.org/fhirpath/System."
FHIR_TYPE_EXTENSION = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"


def value(node: ElementTree.Element, path: str) -> str | None:
    found = node.find(path, NS)
    return None if found is None else found.get("value")


def resources(jar: zipfile.ZipFile, name: str, kind: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(jar.read(MODEL + name))  # noqa: S314 (HL7's own file, from a hash-checked jar)
    return root.findall(f"f:entry/f:resource/f:{kind}", NS)


def code_lists(jar: zipfile.ZipFile) -> dict[str, list[str]]:
    """Value set URL -> its codes, for the value sets that enumerate whole code systems or list their codes."""
    systems: dict[str, list[str]] = {}
    sets: dict[str, list[str]] = {}
    for file in ("valueset/valuesets.xml", "valueset/v3-codesystems.xml"):
        for system in resources(jar, file, "CodeSystem"):
            codes = [str(value(c, "f:code")) for c in system.findall(".//f:concept", NS)]
            if codes:
                systems[str(value(system, "f:url"))] = codes
    for file in ("valueset/valuesets.xml",):
        for value_set in resources(jar, file, "ValueSet"):
            codes = []
            for include in value_set.findall("f:compose/f:include", NS):
                listed = [str(value(c, "f:code")) for c in include.findall("f:concept", NS)]
                listed = listed or systems.get(str(value(include, "f:system")), [])
                if not listed or include.find("f:filter", NS) is not None:
                    codes = []
                    break
                codes += listed
            if codes:
                sets[str(value(value_set, "f:url"))] = sorted(set(codes))
    return sets


def element_type(node: ElementTree.Element) -> str:
    """The FHIR type code; primitives' own `value` and ids carry it in an extension."""
    code = str(value(node, "f:code"))
    if code.startswith(FHIRPATH_TYPE):
        extension = node.find(f"f:extension[@url='{FHIR_TYPE_EXTENSION}']/f:valueUrl", NS)
        return str(extension.get("value")) if extension is not None else "string"
    return code


def element_rows(element: ElementTree.Element, name: str, codes: dict[str, list[str]]) -> list[list[object]]:
    """One row for an element, or one for each type of a choice element (`value[x]` -> `valueQuantity`, ...)."""
    path = str(value(element, "f:path"))
    many = value(element, "f:max") not in ("0", "1")
    minimum = int(value(element, "f:min") or 0)
    content = value(element, "f:contentReference")
    if content:
        return [[name, content.lstrip("#"), many, minimum, None, None, None]]
    bound = None
    if value(element, "f:binding/f:strength") == "required":
        bound = codes.get((value(element, "f:binding/f:valueSet") or "").split("|")[0])
    rows: list[list[object]] = []
    for node in element.findall("f:type", NS):
        code = element_type(node)
        targets = [str(t.get("value")).rsplit("/", 1)[-1] for t in node.findall("f:targetProfile", NS)] or None
        if code in ("BackboneElement", "Element") and "." in path:
            code = path
        label, choice = name, None
        if name.endswith("[x]"):
            choice = name[:-3]
            label = choice + code[0].upper() + code[1:]
        own_codes = bound if code in ("code", "Coding", "CodeableConcept") else None
        rows.append([label, code, many, minimum, own_codes, targets, choice])
    return rows


def main(jar_path: str) -> None:
    types: dict[str, list[list[object]]] = {}
    primitives: list[str] = []
    resource_types: list[str] = []
    with zipfile.ZipFile(jar_path) as jar:
        codes = code_lists(jar)
        for file in ("profile/profiles-types.xml", "profile/profiles-resources.xml"):
            for definition in resources(jar, file, "StructureDefinition"):
                if value(definition, "f:derivation") == "constraint":
                    continue
                name, kind = str(value(definition, "f:type")), value(definition, "f:kind")
                if kind == "primitive-type":
                    primitives.append(name)
                    continue
                if kind not in ("complex-type", "resource"):
                    continue
                if kind == "resource" and value(definition, "f:abstract") != "true":
                    resource_types.append(name)
                for element in definition.findall("f:snapshot/f:element", NS):
                    path = str(value(element, "f:path"))
                    if "." not in path:
                        types.setdefault(name, [])
                        continue
                    parent, leaf = path.rsplit(".", 1)
                    types.setdefault(parent, []).extend(element_rows(element, leaf, codes))
    lines = [f"{json.dumps(key)}:{json.dumps(rows, separators=(',', ':'))}" for key, rows in sorted(types.items())]
    body = ",\n".join(lines)
    head = f'"primitives":{json.dumps(sorted(primitives))},\n"resources":{json.dumps(sorted(resource_types))}'
    OUTPUT.write_text("{" + head + ',\n"types":{\n' + body + "}}\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
