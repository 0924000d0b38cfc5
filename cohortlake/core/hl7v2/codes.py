"""Codes, code systems and assigning authorities as FHIR has them; what is not known is kept, and counted."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from cohortlake.core.catalog.mapping import Target
from cohortlake.core.hl7v2.run import URN, Run, Scope
from cohortlake.core.readers.hl7v2 import Value

# Of four arcs at least: nobody is given a shorter one (`1.2` and `2.6.1` are versions of something).
OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){3,}")
HL7_TABLE = re.compile(r"HL7[ -]?n?(\d{4})", re.IGNORECASE)
V2 = "http://terminology.hl7.org/CodeSystem/v2-"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def text_of(value: Value, component: int = 1, subcomponent: int = 1) -> str:
    """A leaf of a value, without blanks around it; empty where there is none."""
    if len(value) < component or len(value[component - 1]) < subcomponent:
        return ""
    return value[component - 1][subcomponent - 1].strip()


def system_uri(name: str, run: Run) -> str:
    """The URI of a code system as v2 names it (table 0396, an OID, a URI); a local name is a URN of its sender."""
    known = run.declared.names.systems.get(name) or run.declared.names.systems.get(name.upper())
    if known:
        return known
    table = HL7_TABLE.fullmatch(name)
    if table:
        return V2 + table[1]
    if OID.fullmatch(name):
        return f"urn:oid:{name}"
    if re.match(r"(?:https?://|urn:)\S+$", name):
        return name
    run.codes["code systems", name] += 1
    return f"{run.facility}:system:{quote(name)}"


def authority(value: Value, scope: Scope) -> str | None:
    """The URI of an assigning authority (HD: namespace, universal id, its type)."""
    namespace, universal, kind = (text_of(value, n) for n in (1, 2, 3))
    known = scope.run.authorities.get(namespace)
    if known:
        return known
    if OID.fullmatch(universal):
        return f"urn:oid:{universal}"
    if UUID.fullmatch(universal):
        return f"urn:uuid:{universal.lower()}"
    if kind in ("URI", "URL") and re.match(r"[a-z][a-z0-9+.-]*:\S+$", universal):
        return universal
    name = namespace or universal
    return f"{URN}:authority:{quote(name)}" if name else None


def target(code: str, table: str, run: Run) -> Target | None:
    """What a code means by a concept map; None, and counted, for one that the map lacks."""
    code_map = run.declared.maps[table]
    found = code_map.codes.get(code)
    if found is None:
        run.codes[table, code] += 1
        return code_map.unmapped
    return found if found.system or not code_map.target else found.model_copy(update={"system": code_map.target})


def coding(code: str, display: str, system: str, version: str, scope: Scope) -> dict[str, Any] | None:
    """A Coding. Where the scope's table has a concept map and the code is of that table, it is what the map says."""
    if not code and not display:
        return None
    run, table = scope.run, scope.table
    number = table.partition(".")[0] if table else ""
    uri = system_uri(system, run) if system else V2 + number if number and code else None
    if table and table in run.declared.maps and code and uri in (V2 + number, None):
        found = target(code, table, run)
        if found is not None:
            made = {"system": found.system, "code": found.code, "display": found.display or display}
            return {name: value for name, value in made.items() if value}
    made = {"system": uri, "version": version if code else "", "code": " ".join(code.split()), "display": display}
    return {name: value for name, value in made.items() if value}
