"""What is wrong with a set is told by its guide's loops, with segment and place; what is only odd is a warning."""

from __future__ import annotations

import pytest

from cohortlake.core.readers.x12 import parse, records
from cohortlake.core.x12.declared import load_x12
from cohortlake.core.x12.loops import Node, structure
from tests.x12_sets import EXAMPLES, converted, errors, example, only_first_set, warnings

NAMES = {"P": "837p.edi", "I": "837i.edi", "R": "835.edi"}


@pytest.mark.parametrize("name", NAMES.values())
def test_the_examples_are_without_fault(name):
    told = warnings(converted(only_first_set(example(name))))
    assert {reason.split(" ")[0] for reason, _ in told} <= {
        "times",
        "ExplanationOfBenefit",
        "ExplanationOfBenefit.type",
    }


def test_loops_are_nested_as_the_guide_has_them():
    (record, _) = records((EXAMPLES / "837p.edi").read_bytes())
    root, faults = structure(parse(record.payload).body, load_x12().guides["837P"])
    assert faults == []

    def told(node: Node) -> str:
        return node.name + (f"({' '.join(told(child) for child in node.children)})" if node.children else "")

    lines = "2400 2400(2420A) 2400(2410)"
    claim = f"2300(2310A 2310B 2310C 2320(2330A 2330B) {lines})"
    subscriber = f"2000B(2010BA 2010BB 2000C(2010CA {claim}))"
    assert told(root) == f"SET(1000A 1000B 2000A(2010AA {subscriber}))"


# guide, segment that is changed (its beginning), what stands instead, the error, its place
ERRORS = [
    ("P", "PER*IC*IDA", [], "PER is missing in loop 1000A", "NM1[1], segment 3 of the set"),
    ("P", "N3*12 ELM", [], "N3 is missing in loop 2010AA", "NM1[3], segment 8 of the set"),
    ("P", "N4*AUSTIN*TX*787010001", [], "N4 is missing in loop 2010AA", "NM1[3], segment 8 of the set"),
    ("P", "REF*EI*741234567", [], "REF is missing in loop 2010AA", "NM1[3], segment 8 of the set"),
    ("P", "NM1*PR*2*ACME", [], "loop 2010BB is missing in loop 2000B", "HL[2], segment 13 of the set"),
    ("P", "CLM*PCN-1001", [], "DTP stands outside its loop", "DTP[1], segment 26 of the set"),
    ("P", "HI*ABK:S5", [], "HI is missing in loop 2300", "CLM[1], segment 26 of the set"),
    ("P", "LX*1", [], "SV1 stands outside its loop", "SV1[1], segment 45 of the set"),
    ("P", "SV1*HC:99213", [], "SV1 is missing in loop 2400", "LX[1], segment 45 of the set"),
    ("P", "DTP*472*D8*20250303", [], "DTP is missing in loop 2400", "LX[1], segment 45 of the set"),
    (
        "P",
        "NM1*85",
        ["NM1*117*2*ELM CLINIC*****XX*1999999984"],
        "loop 2010AA is missing in loop 2000A",
        "HL[1], segment 6 of the set",
    ),
    (
        "P",
        "NM1*82",
        ["NM1*XY*1*CEDAR*OTTO"],
        "no loop begins with NM1 and this qualifier here",
        "NM1[8], segment 36 of the set",
    ),
    ("P", "SBR*P", ["N9*A*B"], "the segment is not in the guide", "N9[1], segment 14 of the set"),
    ("P", "SBR*P", ["Sb*P"], "the segment has no name that X12 allows", "segment 14 of the set"),
    ("P", "SBR*P", ["*P*18"], "the segment has no name that X12 allows", "segment 14 of the set"),
    (
        "P",
        "REF*EI*741234567",
        ["REF*EI*1", "REF*EI*2"],
        "REF stands more than once in loop 2010AA",
        "REF[2], segment 12 of the set",
    ),
    (
        "P",
        "HL*2*1*22*1",
        ["HL*2*1*22*1", "HL*2*1*22*1"],
        "SBR is missing in loop 2000B",
        "HL[2], segment 13 of the set",
    ),
    ("P", "CLM*PCN-1001", ["CLM**257.5***11:B:1*Y*A*Y*Y"], "CLM-01 is missing", "CLM[1]-01, segment 26 of the set"),
    ("P", "CLM*PCN-1001", ["CLM*A*257.5****Y*A*Y*Y"], "CLM-05.1 is missing", "CLM[1]-05.1, segment 26 of the set"),
    ("P", "CLM*PCN-1001", ["CLM*A****11:B:1*Y*A*Y*Y"], "CLM-02 is missing", "CLM[1]-02, segment 26 of the set"),
    ("P", "SV1*HC:99213", ["SV1*HC*125*UN*1***1"], "SV1-01.2 is missing", "SV1[1]-01.2, segment 46 of the set"),
    ("P", "NM1*IL*1*ASH*ROWAN", ["NM1*IL**ASH*ROWAN"], "NM1-02 is missing", "NM1[4]-02, segment 15 of the set"),
    ("I", "DTP*434", [], "DTP is missing in loop 2300", "CLM[1], segment 19 of the set"),
    (
        "I",
        "SV2*0120",
        ["SV1*HC:99213*8000*UN*1***1"],
        "the segment is not in the guide",
        "SV1[1], segment 44 of the set",
    ),
    ("I", "LX*1", ["CL1*1*7*01", "LX*1"], "CL1 is out of order in loop 2300", "CL1[2], segment 43 of the set"),
    ("R", "BPR*I", [], "BPR is missing in loop SET", "ST[1], segment 1 of the set"),
    ("R", "TRN*1", [], "TRN is missing in loop SET", "ST[1], segment 1 of the set"),
    ("R", "N1*PE", [], "loop 1000B is missing in loop SET", "ST[1], segment 1 of the set"),
    ("R", "NM1*QC*1*ASH*LINDEN", [], "loop 2100.QC is missing in loop 2100", "CLP[1], segment 14 of the set"),
    (
        "R",
        "CLP*PCN-1001",
        ["CLP*PCN-1001*1**206.75*35*12*ICN1001"],
        "CLP-03 is missing",
        "CLP[1]-03, segment 14 of the set",
    ),
    ("R", "LX*1", [], "CLP stands outside its loop", "CLP[1], segment 13 of the set"),
]


@pytest.mark.parametrize(("guide", "changed", "instead", "reason", "place"), ERRORS)
def test_a_fault_quarantines_the_set_with_its_place(guide, changed, instead, reason, place):
    lines = only_first_set(example(NAMES[guide]))
    at = next(at for at, line in enumerate(lines) if line.startswith(changed))
    result = converted([*lines[:at], *instead, *lines[at + 1 :]])
    assert (reason, place) in errors(result)
    assert result.resources == []


def test_segments_out_of_order_are_each_told_once():
    lines = only_first_set(example("837p.edi"))
    n3, n4 = lines.index("N3*12 ELM STREET"), lines.index("N4*AUSTIN*TX*787010001")
    lines[n3], lines[n4] = lines[n4], lines[n3]
    assert errors(converted(lines)) == [("N3 is out of order in loop 2010AA", "N3[1], segment 10 of the set")]


def test_segments_of_one_position_stand_in_any_order():
    lines = only_first_set(example("837p.edi"))
    prior, clearinghouse = lines.index("REF*G1*AUTH77"), lines.index("REF*D9*CH20250310001")
    lines[prior], lines[clearinghouse] = lines[clearinghouse], lines[prior]
    assert errors(converted(lines)) == []


WARNINGS = [
    ("P", "DTP*431", ["DTP*999*D8*20250101"], "DTP with this qualifier is not in the guide here"),
    ("I", "CL1*1", [], "CL1 is missing in loop 2300"),
    ("R", "PER*BL", [], "PER is missing in loop 1000A"),
    ("P", "CLM*PCN-1001", ["CLM*A*999***11:B:1*Y*A*Y*Y"], "CLM-02 is not the sum of its lines"),
    ("P", "HI*ABK:S5", ["HI*ABK*S52501A"], "HI-01.2 is missing"),
    ("P", "HL*2*1*22*1", ["HL*2*9*22*1"], "HL-02 names no parent"),
    ("P", "HL*2*1*22*1", ["HL*1*1*22*1"], "HL-01 repeats a number of the set"),
    ("P", "DTP*472*D8*20250303", ["DTP*472*D8*20251332"], "not a date"),
    ("P", "SV1*HC:99213", ["SV1*HC:99213:25*125.00*UN*1***9"], "SV1-07 points at no diagnosis of the claim"),
    ("R", "CLP*PCN-1001", ["CLP*PCN-1001*1*257.5*206.7*35*12*ICN1001"], "CLP-04 is not CLP-03 less its adjustments"),
    ("R", "SVC*HC:99213", ["SVC*HC:99213:25*125*91**1"], "SVC-03 is not SVC-02 less its adjustments"),
    ("R", "PLB", [], "BPR-02 is not the sum of its claims less PLB"),
    ("P", "HL*3*2*23", ["HL*3*1*23*0"], "HL-02 names no parent"),
]


@pytest.mark.parametrize(("guide", "changed", "instead", "reason"), WARNINGS)
def test_what_is_odd_lands_with_a_warning(guide, changed, instead, reason):
    lines = only_first_set(example(NAMES[guide]))
    at = next(at for at, line in enumerate(lines) if line.startswith(changed))
    result = converted([*lines[:at], *instead, *lines[at + 1 :]])
    assert reason in [told for told, _ in warnings(result)]
    assert result.error is None
    assert result.resources
