"""What must hold before a batch is published: checks derived from what the catalog and FHIR R4 declare.

This module says what is checked; `expectations/` turns each check into a Great Expectations expectation. Kinds are
those of Kahn et al., "A Harmonized Data Quality Assessment Terminology and Framework", eGEMs 2016;4(1):1244.

A check judges each row of a table, or (`is_fact`) one number about a table or a delivery. Its severity says what a
failure means: `quarantine` keeps the failing rows back, `fail` stops the publish, `warn` is counted and shown. A fact
has no rows to keep back, so `quarantine` stops the publish too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cohortlake.core.catalog import Catalog, Feed, Node, Silo, Table
from cohortlake.core.catalog.silo import Severity
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import Element, elements
from cohortlake.core.forms import choices, form_checks
from cohortlake.core.rules import (
    FHIR_DATES,
    FHIR_ID,
    Check,
    Columns,
    Kind,
    Matches,
    OneOf,
    Ordered,
    Present,
    Resolves,
    Rule,
    Unique,
    ValueOrReason,
    WellFormed,
    Within,
)

SEVERITIES: tuple[Severity, ...] = ("warn", "quarantine", "fail")
# The elements that say whose record it is.
PATIENT_ELEMENTS = ("subject", "patient")
DELIVERY = "delivery"


def silo_types(catalog: Catalog, silo: str, made: Iterable[str] = ()) -> list[str]:
    """The resource types that a silo delivers: those of its mappings, else those of its feeds.

    Of a format that is converted it is only known what was `made` of a batch.
    """
    declared = catalog.silos[silo]
    if declared.is_converted:
        found = set(made)
    elif declared.format == "csv":
        found = {mapping.resource for mapping in catalog.mappings[silo].values()}
    else:
        found = {feed.resource for feed in declared.feeds.values() if feed.resource}
    return sorted(found)


def silo_checks(catalog: Catalog, silo: str, made: Iterable[str] = ()) -> list[Check]:
    """Every check of a silo's delivery that R4 and its protocol say; `made` as in `silo_types`.

    Raises CatalogError for an element not typed.
    """
    declared = catalog.silos[silo]
    checks = list(_delivery_checks(declared))
    for resource_type in silo_types(catalog, silo, made):
        tree = catalog.resources[resource_type]
        checks += r4_checks(tree)
        checks.append(_fact(resource_type, "keys are unique", "conformance", "fail", Within(0, 0), "duplicate_keys"))
        # The columns of a tabular feed are checked where they are read; its value sets are of columns, too.
        if declared.format != "csv":
            for feed in declared.feeds.values():
                if feed.resource == resource_type:
                    checks += _feed_checks(tree, feed, declared)
    return strictest(checks)


def strictest(checks: Iterable[Check]) -> list[Check]:
    """One check a name: where two declarations say the same, the more severe."""
    found: dict[str, Check] = {}
    for check in checks:
        held = found.get(check.name)
        if held is None or SEVERITIES.index(check.severity) > SEVERITIES.index(held.severity):
            found[check.name] = check
    return list(found.values())


def _walk(node: Node, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node, Element]]:
    """Every typed element with its path and R4's definition; what is inside a Reference is the Reference's own."""
    known = elements(node.type)
    for child in node.children.values():
        yield (*at, child.name), child, known[child.name]
        if child.children and child.type != "Reference":
            yield from _walk(child, (*at, child.name))


def r4_checks(tree: Node) -> Iterator[Check]:
    """What R4 says of each record of a type, as far as silver types it."""
    table = tree.name
    page = f"https://hl7.org/fhir/R4/{table.lower()}.html"
    yield Check(table, f"{table}.id is present", "completeness", "quarantine", Present(), "id", "the lake's key")
    yield Check(table, f"{table}.id is a FHIR id", "conformance", "quarantine", Matches(FHIR_ID), "id", "FHIR R4 id")
    yield from _required(tree, page)
    for at, node, element in _walk(tree):
        path = ".".join(at)
        name = f"{table}.{path}"
        if element.codes:
            # A code at the root decides how the record is read; one within it, only how a part of it is.
            severity: Severity = "quarantine" if len(at) == 1 else "warn"
            yield Check(table, f"{name} is a known code", "conformance", severity, OneOf(element.codes), path, page)
        if element.type in FHIR_DATES:
            well = WellFormed(element.type)
            yield Check(table, f"{name} is a FHIR {element.type}", "conformance", "quarantine", well, path, page)
        if element.type == "Period" and not _repeats(tree, at):
            # Invariant per-1: if present, start shall have a lower value than end.
            ordered, datatypes = Ordered(), "https://hl7.org/fhir/R4/datatypes.html#Period"
            yield Check(table, f"{name} ends after it starts", "conformance", "quarantine", ordered, path, datatypes)
        if node.type == "Reference":
            targets = element.targets or ()
            is_patient = path in PATIENT_ELEMENTS and "Patient" in targets
            severity = "quarantine" if is_patient else "warn"
            yield Check(table, f"{name} resolves", "conformance", severity, Resolves(targets), path, page)
    yield from form_checks(tree)


def _repeats(tree: Node, path: tuple[str, ...]) -> bool:
    """Whether an element on the path is a list."""
    node = tree
    for name in path:
        node = node.children[name]
        if node.is_list:
            return True
    return False


def _required(tree: Node, page: str) -> Iterator[Check]:
    """R4's elements of minimum 1 at the root; a choice only where all its types are typed here."""
    choices: dict[str, list[str]] = {}
    for element in elements(tree.type).values():
        if not element.minimum:
            continue
        if element.choice:
            choices.setdefault(f"{element.choice}[x]", []).append(element.name)
        elif element.name in tree.children:
            choices[element.name] = [element.name]
    for path, names in choices.items():
        if all(name in tree.children for name in names):
            yield from presence(tree.name, path, page)


def presence(table: str, path: str, reason: str) -> Iterator[Check]:
    """The two checks of an element that each record must have.

    A record that neither has it nor says why is kept back; one that says why is counted as a record without it.
    """
    name = f"{table}.{path}"
    yield Check(table, f"{name} has a value or a reason", "conformance", "quarantine", ValueOrReason(), path, reason)
    yield Check(table, f"{name} is present", "completeness", "warn", Present(), path, reason)


def _feed_checks(tree: Node, feed: Feed, silo: Silo) -> Iterator[Check]:
    table, reason = tree.name, f"protocol {silo.name} {silo.protocol.version}"
    for path in feed.required:
        _is_typed(tree, path, silo)
        yield from presence(table, path, reason)
    for path in feed.expected:
        _is_typed(tree, path, silo)
        yield Check(table, f"{table}.{path} is present", "completeness", "warn", Present(), path, reason)
    for path, codes in feed.value_sets.items():
        _is_typed(tree, path, silo)
        name = f"{table}.{path} is in the protocol's value set"
        yield Check(table, name, "conformance", "quarantine", OneOf(tuple(codes)), path, reason)


def _is_typed(tree: Node, path: str, silo: Silo) -> None:
    if path.endswith("[x]"):
        if choice_elements(tree, path):
            return
    else:
        node: Node | None = tree
        for name in path.split("."):
            node = node.children.get(name) if node else None
        if node:
            return
    raise CatalogError(
        f"silo {silo.name}: {tree.name}.{path} is checked, but silver does not type it",
        f"Add it to catalog/resources/{tree.name}.yaml, or mend the path.",
    )


def choice_elements(tree: Node, path: str) -> list[str]:
    """The typed elements of a choice at the root: `medication[x]` is `medicationCodeableConcept`, ..."""
    return list(choices(tree).get(path.removesuffix("[x]"), ()))


def _fact(table: str, what: str, kind: Kind, severity: Severity, rule: Rule, fact: str, reason: str = "") -> Check:
    return Check(table, f"{table} {what}", kind, severity, rule, f"{table}.{fact}", reason, is_fact=True)


def _delivery_checks(silo: Silo) -> Iterator[Check]:
    reason = f"protocol {silo.name} {silo.protocol.version}"
    for feed, declared in silo.feeds.items():
        volume = declared.volume
        enough, shrink = Within(volume.min_rows, None), Within(None, volume.max_drop_percent)
        yield _fact(feed, "delivers enough records", "completeness", volume.severity, enough, "records", reason)
        yield _fact(feed, "does not shrink", "completeness", volume.severity, shrink, "drop_percent", reason)
    fresh = Within(None, silo.freshness.max_age_days)
    yield _fact(silo.name, "is fresh", "completeness", silo.freshness.severity, fresh, "age_days", reason)


def gold_checks(table: Table) -> list[Check]:
    """The checks of a curated table that its declaration says."""
    name, reason = table.name, f"catalog/tables/{table.name}/table.yaml"
    required = {*table.key, *(column for column, declared in table.columns.items() if declared.is_required)}
    checks = [
        Check(
            name, f"{name}.{column} is present", "completeness", "fail" if column in table.key else "warn",
            Present(), column, reason,
        )
        for column in table.columns
        if column in required
    ]  # fmt: skip
    one = Within(0, 0)
    key, columns = Unique(tuple(table.key)), Columns(tuple(table.columns))
    checks.append(Check(name, f"{name} key is unique", "conformance", "fail", key, ", ".join(table.key), reason))
    checks.append(Check(name, f"{name} has no undeclared column", "conformance", "fail", columns, "columns", reason))
    for column, declared in table.columns.items():
        typed = OneOf((declared.type.upper(),))
        checks.append(_fact(f"{name}.{column}", "has its type", "conformance", "fail", typed, "type", reason))
        if declared.references:
            checks.append(_fact(f"{name}.{column}", "resolves", "conformance", "warn", one, "unresolved", reason))
    checks.append(_fact(name, "does not shrink", "completeness", "warn", Within(None, 50), "drop_percent", reason))
    if name == "patients":
        checks.append(_fact(name, "is not empty", "completeness", "fail", Within(1, None), "rows", reason))
    return checks
