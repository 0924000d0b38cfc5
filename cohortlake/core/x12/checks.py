"""What a transaction set must hold to beyond its loops: envelope, counts, hierarchy, sums (X12.5, X12.6 and the TR3s).

A set that may have lost or gained foreign segments is not to be trusted: an error. What is odd and loses nothing is a
warning: a count that is too small (nothing is gone), a trailer of the group or interchange that does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

from cohortlake.core.convert import Problem
from cohortlake.core.hl7v2.primitives import NUMBER
from cohortlake.core.readers.x12 import TransactionSet
from cohortlake.core.readers.x12_text import Segment, whole
from cohortlake.core.x12.declared import SetFile
from cohortlake.core.x12.loops import Node

# Diagnoses that lines may point at: the principal one and the others.
POINTED = frozenset(("ABK", "BK", "ABF", "BF"))
Severity = Literal["error", "warning"]


def envelope(found: TransactionSet, declared: SetFile) -> Iterator[Problem]:
    """Faults of the envelope, as far as the set's own record shows them."""
    start, end = found.body[0], found.body[-1]
    if found.gs is None:
        yield Problem("there is no GS: the functional group is not declared", "GS")
    elif found.gs.text(1) != declared.group:
        yield Problem(f"GS-01 is not {declared.group}, the group of a {declared.transaction}", "GS-01", "warning")
    if found.gs is not None and start.text(3) and found.gs.text(8) and start.text(3) != found.gs.text(8):
        yield Problem("ST-03 and GS-08 name different guides: ST-03 is taken", start.at(3), "warning")
    if found.isa.text(15) == "T":
        yield Problem("ISA-15 marks the interchange as a test", "ISA-15", "warning")
    if end.name == "SE":
        yield from _count(end, len(found.body))
        yield from _control("SE-02", end.text(2), "ST-02", start.text(2), end.at(2), "error")
    if found.gs is not None:
        ge, iea = found.ge, found.iea
        if ge is None:
            yield Problem("the functional group has no GE: cut off after this set?", "GE", "warning")
        else:
            yield from _control("GE-02", ge.text(2), "GS-06", found.gs.text(6), "GE-02", "warning")
        if iea is None:
            yield Problem("the interchange has no IEA: cut off after this set?", "IEA", "warning")
        else:
            yield from _control("IEA-02", iea.text(2), "ISA-13", found.isa.text(13), "IEA-02", "warning")
    if not found.is_utf8:
        yield Problem("the text is not UTF-8: taken as Windows-1252", "", "warning")


def _count(end: Segment, came: int) -> Iterator[Problem]:
    said = whole(end.text(1))
    if said is None:
        yield Problem("SE-01 is no count", end.at(1))
    elif said > came:
        yield Problem("SE-01 counts more segments than came: some are lost", f"{end.at(1)}, came: {came}")
    elif said < came:
        yield Problem("SE-01 counts fewer segments than came", f"{end.at(1)}, came: {came}", "warning")


def _control(name: str, one: str, of: str, other: str, place: str, severity: Severity) -> Iterator[Problem]:
    if one != other:
        is_number = whole(one) is not None and whole(one) == whole(other)
        reason = f"{name} is not {of}: the trailer is of another"
        yield Problem(reason, place, "warning" if is_number else severity)


def hierarchy(root: Node) -> Iterator[Problem]:
    """Faults of HL numbers: a loop's parent is taken by order; a number that says otherwise is an error."""
    levels: dict[str, list[Node]] = {}
    for node in root.within():
        if node.segments and node.segments[0].name == "HL":
            head = node.segments[0]
            number, parent = head.text(1), head.text(2)
            if number in levels:
                yield Problem("HL-01 repeats a number of the set", head.at(1), "warning")
            around = node.parent.segments[0] if node.parent and node.parent.segments else None
            if around is not None and around.name == "HL" and parent != around.text(1):
                is_other = node.parent is not None and any(n.name == node.parent.name for n in levels.get(parent, ()))
                reason = "HL-02 names another parent than the one before it" if is_other else "HL-02 names no parent"
                yield Problem(reason, head.at(2), "error" if is_other else "warning")
            levels.setdefault(number, []).append(node)


def pointers(root: Node) -> Iterator[Problem]:
    """Lines that point at a diagnosis which their claim does not have (SV1-07, by the order of HI): warnings."""
    for claim in (node for node in root.within() if node.own("CLM")):
        kinds = [value for s in claim.own("HI") for at in range(1, len(s.elements)) for value in s.repetitions(at)]
        known = sum(value[0] in POINTED and any(value[1:]) for value in kinds)
        for segment in (s for line in claim.children for s in line.own("SV1")):
            said = [whole(segment.text(7, at)) for at in range(1, 5)]
            if any(number is not None and not 1 <= number <= known for number in said):
                yield Problem("SV1-07 points at no diagnosis of the claim", segment.at(7), "warning")


def _amount(text: str) -> Decimal | None:
    return Decimal(text) if NUMBER.fullmatch(text) else None


def _sum(texts: Iterator[str]) -> Decimal | None:
    amounts = [_amount(text) for text in texts if text]
    found = [amount for amount in amounts if amount is not None]
    return sum(found, Decimal(0)) if len(found) == len(amounts) else None


def balances(root: Node) -> Iterator[Problem]:
    """Sums that do not agree (837: CLM-02 of the lines; 835, chapter 1.10.2: claims, lines, payment): warnings."""
    for node in root.within():
        head = node.segments[0] if node.segments else None
        if head is None:
            continue
        if head.name == "CLM":
            at = {"SV1": 2, "SV2": 3}
            lines = (s.text(at[s.name]) for child in node.children for s in child.segments if s.name in at)
            yield from _told(_sum(lines), _amount(head.text(2)), "CLM-02 is not the sum of its lines", head.at(2))
        elif head.name == "CLP":
            adjusted = _sum(text for inner in (node, *node.children) for text in _adjustments(inner))
            paid, reason = _less(_amount(head.text(3)), adjusted), "CLP-04 is not CLP-03 less its adjustments"
            yield from _told(paid, _amount(head.text(4)), reason, head.at(4))
        elif head.name == "SVC":
            paid = _less(_amount(head.text(2)), _sum(_adjustments(node)))
            reason = "SVC-03 is not SVC-02 less its adjustments"
            yield from _told(paid, _amount(head.text(3) or "0"), reason, head.at(3))
    yield from _payment(root)


def _payment(root: Node) -> Iterator[Problem]:
    head = next(iter(root.own("BPR")), None)
    if head is not None:
        claims = _sum(s.text(4) for node in root.within() for s in node.own("CLP"))
        taken = _sum(s.text(at) for s in root.own("PLB") for at in range(4, len(s.elements), 2))
        reason = "BPR-02 is not the sum of its claims less PLB"
        yield from _told(_less(claims, taken), _amount(head.text(2)), reason, head.at(2))


def _adjustments(node: Node) -> Iterator[str]:
    return (segment.text(at) for segment in node.own("CAS") for at in range(3, len(segment.elements), 3))


def _less(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one - other


def _told(summed: Decimal | None, said: Decimal | None, reason: str, place: str) -> Iterator[Problem]:
    if summed is not None and said is not None and summed != said:
        yield Problem(reason, place, "warning")
