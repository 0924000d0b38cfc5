"""The envelope of an X12 set, its hierarchy, and sets that hold no facts."""

from __future__ import annotations

import pytest

from cohortlake.core.convert import Problem
from cohortlake.core.readers.x12 import records
from cohortlake.core.x12 import to_fhir
from tests.x12_sets import converted, errors, example, only_first_set, warnings

ENVELOPES = [
    # what is replaced, by what, severity, reason
    ("SE*58*0001", "SE*60*0001", "error", "SE-01 counts more segments than came: some are lost"),
    ("SE*58*0001", "SE*50*0001", "warning", "SE-01 counts fewer segments than came"),
    ("SE*58*0001", "SE*X*0001", "error", "SE-01 is no count"),
    ("SE*58*0001", "SE*5²*0001", "error", "SE-01 is no count"),
    ("SE*58*0001", "SE*58*000²", "error", "SE-02 is not ST-02: the trailer is of another"),
    ("SE*58*0001", "SE*58*0002", "error", "SE-02 is not ST-02: the trailer is of another"),
    ("SE*58*0001", "SE*58*1", "warning", "SE-02 is not ST-02: the trailer is of another"),
    ("GE*1*101", "GE*1*102", "warning", "GE-02 is not GS-06: the trailer is of another"),
    ("IEA*1*000000101", "IEA*1*000000102", "warning", "IEA-02 is not ISA-13: the trailer is of another"),
    ("GE*1*101~", "", "warning", "the functional group has no GE: cut off after this set?"),
    ("IEA*1*000000101~", "", "warning", "the interchange has no IEA: cut off after this set?"),
    ("GS*HC", "GS*HP", "warning", "GS-01 is not HC, the group of a 837"),
    ("ST*837*0001*005010X222A1", "ST*837*0001*005010X222A2", "warning", "ST-03 and GS-08 name different guides"),
    ("005010X222A1", "005010X224A2", "error", "the guide of this 837 is none that is read: those are"),
    ("005010X222A1", "004010X098A1", "error", "the guide of this 837 is none that is read: those are"),
    ("ST*837", "ST*850", "error", "the transaction set is none that is read"),
]


@pytest.mark.parametrize(("changed", "instead", "severity", "reason"), ENVELOPES)
def test_the_envelope_is_checked(changed, instead, severity, reason):
    text = "~".join(only_first_set(example("837p.edi"))) + "~"
    assert changed in text
    (record,) = records(text.replace(changed, instead).encode())
    found = [problem for problem in to_fhir(record).problems if problem.reason.startswith(reason)]
    assert [problem.severity for problem in found] == [severity]


def test_a_parent_that_is_another_provider_is_an_error_as_whose_claim_it_is_cannot_be_told():
    lines = only_first_set(example("837p.edi"))
    first, last = lines.index("HL*1**20*1"), next(n for n, line in enumerate(lines) if line.startswith("SE*"))
    second = [
        line.replace("HL*1**", "HL*4**").replace("HL*2*1*", "HL*5*1*").replace("HL*3*2", "HL*6*5")
        for line in lines[first:last]
    ]
    told = errors(converted([*lines[:last], *second, *lines[last:]]))
    assert told == [("HL-02 names another parent than the one before it", "HL[5]-02, segment 65 of the set")]


def test_faults_beyond_a_limit_are_counted():
    lines = only_first_set(example("837p.edi"))
    at = lines.index("HL*2*1*22*1")
    result = converted([*lines[:at], *["ZZZ*1"] * 150, *lines[at:]])
    assert len(errors(result)) == 100
    assert result.problems[-1] == Problem("further faults of the set are not listed", "50 more", "warning")


@pytest.mark.parametrize(
    ("kind", "group"), [("999", "FA"), ("997", "FA"), ("277", "HN"), ("276", "HR"), ("270", "HS"), ("271", "HB")]
)
def test_a_set_that_holds_no_facts_is_checked_and_said_to_make_nothing(kind, group):
    isa, gs, *_, ge, iea = only_first_set(example("837p.edi"))
    lines = [isa, gs.replace("HC", group, 1), f"ST*{kind}*0001*005010X231A1", "AK1*HC*1", "SE*3*0001", ge, iea]
    result = converted(lines)
    assert (result.resources, result.error) == ([], None)
    assert any(reason.startswith(f"{kind} (") and "nothing is made of it" in reason for reason, _ in warnings(result))
    assert errors(converted([*lines[:4], "SE*9*0001", *lines[5:]], is_counted=False))


def test_an_interchange_acknowledgment_is_said_to_make_nothing():
    isa = example("837p.edi")[0]
    (record,) = records(f"{isa}~TA1*000000101*250310*0915*A*000~IEA*0*000000101~".encode())
    result = to_fhir(record)
    assert result.error is None
    assert [reason.split(" ")[0] for reason, _ in warnings(result)] == ["TA1"]
