"""The class of an encounter and the time of an order in C-CDA: said, inferred by a declared map, or absent and counted."""

# An element is a line.
# ruff: noqa: E501

from __future__ import annotations

from typing import Any

import pytest

from cohortlake.core.ccda.declared import load_ccda
from cohortlake.core.terminology.translate import EXTENSION
from tests.ccda_documents import PATIENT, T, converted, document, resources

ACT, CPT, SCT, LOCAL = "2.16.840.1.113883.5.4", "2.16.840.1.113883.6.12", "2.16.840.1.113883.6.96", "1.2.3.99"


def code(system: str, value: str, *translations: tuple[str, str]) -> str:
    inner = "".join(f'<translation code="{each}" codeSystem="{oid}"/>' for oid, each in translations)
    return f'<code code="{value}" codeSystem="{system}">{inner}</code>'


def encounter(of: str, identity: str = "2.1") -> str:
    return f"""<encounter classCode="ENC" moodCode="EVN"><templateId root="{T}.49"/><id root="{identity}"/>{of}
    <effectiveTime><low value="20250302"/></effectiveTime></encounter>"""


def header(of: str, identity: str = "2.1") -> str:
    return f"""{PATIENT}<componentOf><encompassingEncounter><id root="{identity}"/>{of}
    <effectiveTime><low value="20250302"/></effectiveTime></encompassingEncounter></componentOf>"""


def basis(found: dict[str, Any]) -> str:
    urls = [extension["url"].rpartition("/")[2] for extension in found.get("extension", ())]
    return {(): "said", (EXTENSION,): "inferred", ("data-absent-reason",): "absent"}[tuple(urls)]


CLASSES = [
    ("ActCode itself", code(ACT, "EMER"), "EMER", "said", {}),
    ("ActCode as a translation", code(CPT, "99213", (ACT, "IMP")), "IMP", "said", {}),
    ("the second translation", code(LOCAL, "V1", (CPT, "99213"), (ACT, "HH")), "HH", "said", {}),
    ("CPT", code(CPT, "99284"), "EMER", "inferred", {}),
    ("CPT as a translation", code(LOCAL, "V1", (CPT, "99233")), "IMP", "inferred", {}),
    ("SNOMED CT, which names the setting", code(SCT, "50849002"), "EMER", "inferred", {}),
    ("SNOMED CT, which names the purpose", code(SCT, "410620009"), "AMB", "inferred", {}),
    ("a translation where the code is not in the map", code(SCT, "308335008", (CPT, "99281")), "EMER", "inferred", {}),
    ("only a translation", f'<code nullFlavor="OTH"><translation code="99221" codeSystem="{CPT}"/></code>', "IMP", "inferred", {}),
    ("SNOMED CT that says nothing", code(SCT, "308335008"), None, "absent", {("snomed_class", "308335008"): 1}),
    ("CPT that is not in the map, counted once", code(CPT, "00100", (SCT, "1")), None, "absent", {("cpt_class", "00100"): 1}),
    ("a hospital's own code that looks like CPT", code(LOCAL, "99213"), None, "absent", {("other_class", "99213"): 1}),
    ("a code without a system", '<code code="99213"/>', None, "absent", {("other_class", "99213"): 1}),
    ("nothing", "", None, "absent", {}),
]  # fmt: skip


@pytest.mark.parametrize(("of", "expected", "how", "counted"), [row[1:] for row in CLASSES], ids=[row[0] for row in CLASSES])  # fmt: skip
@pytest.mark.parametrize("place", ["entry", "header"])
def test_class_of_an_encounter(of, expected, how, counted, place):
    payload = document(encounter(of), section="46240-8") if place == "entry" else document(header=header(of))
    [found] = resources(payload, "Encounter")
    assert found["class"].get("code") == expected
    assert basis(found["class"]) == how
    assert {key: n for key, n in converted(payload).codes.items() if key[0].endswith("_class")} == counted


@pytest.mark.parametrize(
    ("flavor", "reason"), [("UNK", "unknown"), ("NASK", "not-asked"), ("MSK", "masked"), ("NA", "not-applicable")]
)
def test_a_class_that_is_absent_says_why(flavor, reason):
    [found] = resources(document(encounter(f'<code nullFlavor="{flavor}"/>')), "Encounter")
    assert found["class"]["extension"][0]["valueCode"] == reason
    assert "code" not in found["class"]


def test_an_inferred_class_names_the_map_and_its_version():
    [found] = resources(document(encounter(code(SCT, "50849002"))), "Encounter")
    version = load_ccda().maps["snomed_class"].version
    assert found["class"]["extension"][0]["valueCanonical"] == f"urn:cohortlake:ccda:map:snomed_class|{version}"


def test_the_type_beside_an_act_code_is_kept():
    [found] = resources(document(encounter(code(ACT, "AMB", (CPT, "99213")))), "Encounter")
    assert [coding["code"] for concept in found["type"] for coding in concept["coding"]] == ["99213"]


@pytest.mark.parametrize(
    ("of_header", "of_entry", "expected"),
    [
        (code(ACT, "IMP"), code(CPT, "99213"), "IMP"),
        (code(CPT, "99213"), code(ACT, "IMP"), "IMP"),
        ('<code nullFlavor="UNK"/>', code(CPT, "99213"), "AMB"),
        (code(CPT, "99213"), '<code nullFlavor="UNK"/>', "AMB"),
    ],
)
def test_header_and_entry_are_one_encounter_and_what_was_said_wins(of_header, of_entry, expected):
    [found] = resources(document(encounter(of_entry), header=header(of_header)), "Encounter")
    assert found["class"]["code"] == expected


def test_two_classes_that_were_said_are_two_encounters():
    found = resources(document(encounter(code(ACT, "AMB")), header=header(code(ACT, "IMP"))), "Encounter")
    assert sorted(made["class"]["code"] for made in found) == ["AMB", "IMP"]


def order(*authors: str, supply: str = "", mood: str = "EVN") -> dict[str, Any]:
    who = '<assignedAuthor><id root="1.5" extension="9"/></assignedAuthor>'
    written = "".join(f"<author>{time}{who}</author>" for time in authors)
    entry = f"""<substanceAdministration moodCode="{mood}"><templateId root="{T}.16"/><id root="7.1"/><statusCode code="active"/>
    <effectiveTime xsi:type="IVL_TS"><low value="20120318"/><high value="20120418"/></effectiveTime>{written}{supply}</substanceAdministration>"""
    [found] = resources(document(entry, section="10160-0"), "MedicationRequest")
    return found


SUPPLY = f"""<entryRelationship typeCode="REFR"><supply moodCode="{{mood}}"><templateId root="{T}.17"/>
<author><time value="20120301"/><assignedAuthor><id root="1.5" extension="9"/></assignedAuthor></author></supply></entryRelationship>"""


@pytest.mark.parametrize(
    ("authors", "supply", "expected"),
    [
        (['<time value="20120102"/>'], "", "2012-01-02"),
        (['<time value="20130102"/>', '<time value="20120102"/>'], "", "2012-01-02"),
        (['<time value="20130102"/>', '<time nullFlavor="UNK"/>'], "", "2013-01-02"),
        # 01:00 in Berlin is earlier than 00:30 in London.
        (['<time value="201301020030+0000"/>', '<time value="201301020100+0100"/>'], "", "2013-01-02T01:00:00+01:00"),
        (['<time nullFlavor="UNK"/>'], SUPPLY.format(mood="INT"), "2012-03-01"),
        ([], SUPPLY.format(mood="INT"), "2012-03-01"),
        (['<time value="20120102"/>'], SUPPLY.format(mood="INT"), "2012-01-02"),
        # A dispense is no order, and a start of intake no signature.
        ([], SUPPLY.format(mood="EVN"), None),
        ([], "", None),
    ],
)
def test_when_an_order_was_written(authors, supply, expected):
    found = order(*authors, supply=supply)
    assert found.get("authoredOn") == expected
    assert found["dosageInstruction"][0]["timing"]["repeat"]["boundsPeriod"] == {
        "start": "2012-03-18",
        "end": "2012-04-18",
    }
