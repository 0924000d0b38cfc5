"""Paths and templates of C-CDA's declarations: what they lead to, and what a wrong one is told."""

from __future__ import annotations

import shutil

import pytest

from cohortlake.core.ccda.declared import FOLDER, load_ccda
from cohortlake.core.ccda.mapper import Mapper
from cohortlake.core.ccda.paths import Reading, compile_path, compile_test
from cohortlake.core.errors import CatalogError
from cohortlake.core.language.compiler import split
from cohortlake.core.readers.ccda import Node, parse
from tests.ccda_documents import document

ACT = """<act moodCode="EVN"><id root="1"/><effectiveTime value="2015"/>
<entryRelationship typeCode="SUBJ">
<observation><code code="a"/><effectiveTime value="2015"/></observation></entryRelationship>
<entryRelationship typeCode="MFST">
<observation><code code="b"/><effectiveTime value="2016"/></observation></entryRelationship>
<entryRelationship typeCode="MFST">
<observation><code code="c"/><text>say</text></observation></entryRelationship></act>"""
ROOT = parse(document(ACT))
ENTRY = next(node for node in ROOT.within() if node.name == "act")


def found(text: str) -> list[str]:
    selected = compile_path(text).select(ENTRY, Reading(ENTRY))
    return [to.name if isinstance(to, Node) else to for to in selected]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("id/@root", ["1"]),
        ("@moodCode", ["EVN"]),
        ("@gone", []),
        (".", ["act"]),
        ("..", ["entry"]),
        ("/id/@extension", ["D1"]),
        ("ancestor::section/code/@code", ["11450-4"]),
        ("entryRelationship/observation/code/@code", ["a", "b", "c"]),
        ("entryRelationship/*/code/@code", ["a", "b", "c"]),
        ("entryRelationship[@typeCode='MFST']/observation/code/@code", ["b", "c"]),
        ("entryRelationship[2]/observation/code/@code", ["b"]),
        ("entryRelationship[9]/observation", []),
        ("entryRelationship/observation[1]/code/@code", ["a", "b", "c"]),
        ("(entryRelationship/observation)[1]", ["observation"]),
        ("entryRelationship[@typeCode='MFST'][1]/observation/code/@code", ["b"]),
        ("entryRelationship/observation[code/@code='a|c']/code/@code", ["a", "c"]),
        ("entryRelationship/observation[text]/text/text()", ["say"]),
        ("entryRelationship/observation[not(text)]/code/@code", ["a", "b"]),
        ("entryRelationship/observation[text or code/@code='a']/code/@code", ["a", "c"]),
        ("entryRelationship/observation[same(effectiveTime/@value)]/code/@code", ["a"]),
    ],
)
def test_what_a_path_leads_to(path, expected):
    assert found(path) == expected


def test_a_statement_that_was_read_is_no_longer_free():
    reading = Reading(ENTRY)
    compile_path("entryRelationship[1]/observation/code").select(ENTRY, reading)
    assert {node.name for node in reading.taken} == {"observation"}
    free = compile_path("entryRelationship/observation[free()]/code/@code")
    assert free.select(ENTRY, reading) == ["b", "c"]


def test_looking_is_not_reading():
    reading = Reading(ENTRY)
    assert compile_test("entryRelationship/observation[code/@code='b']")(ENTRY, reading)
    assert reading.taken == set()


@pytest.mark.parametrize("path", ["a[", "a[b", "a[@x=y]", "a]", "", "a b", "a[same(b]", "a[$]"])
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match=r".+"):
        compile_path(path)


def test_marks_in_quotes_and_brackets_split_nothing():
    assert split("a[@x='1,2'], 'b, c', d", ",") == ["a[@x='1,2']", "'b, c'", "d"]


def test_every_declaration_of_the_catalog_compiles():
    mapper = Mapper(load_ccda())
    assert {"Patient", "Condition", "Observation.blood_pressure"} <= mapper.maps.keys()


def test_each_template_calls_for_one_map_or_for_maps_that_exclude_each_other():
    by_template: dict[str, list[str | None]] = {}
    for declared in load_ccda().resources.values():
        for template in declared.templates:
            by_template.setdefault(template, []).append(declared.when)
    shared = {template: conditions for template, conditions in by_template.items() if len(conditions) > 1}
    assert all(None not in conditions for conditions in shared.values())
    assert not by_template.keys() & load_ccda().shared.wrappers.keys()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("resource: Disease\nelements: {}\n", "1: 'Disease' is not an R4 resource type"),
        ("resource: Condition\nelements:\n  kode: x\n", "3: Condition has no element 'kode'; it has abatementAge"),
        ('resource: Condition\nelements:\n  code: "=a["\n', "3: 'a['"),
        ('resource: Condition\nelements:\n  code: "=a | gone"\n', "3: there is no map or turn 'gone'"),
        ('resource: Condition\nelements:\n  subject: "=a => Gone"\n', "3: there is no map 'Gone' to refer to"),
        ('resource: Condition\nelements:\n  code: "=$gone"\n', "3: there is no expression '$gone'"),
        ("resource: Condition\ninclude: [gone]\n", "2: shared.yaml has no elements 'gone'"),
        ('resource: Condition\nelements:\n  code[x]: "=a"\n', "3: code[x] needs to be a choice of Condition"),
        ("resource: Condition\nwhen: 'a['\n", "2: 'a['"),
        ("resource: Condition\nelement: {}\n", "2: element is not known here; allowed are elements, include"),
        ("elements: {}\n", "1: resource is missing"),
    ],
)
def test_a_wrong_declaration_names_file_line_and_what_is_expected(tmp_path, wrong, said):
    folder = tmp_path / "ccda"
    shutil.copytree(FOLDER, folder)
    (folder / "resources/Wrong.yaml").write_text(wrong)
    with pytest.raises(CatalogError) as error:
        Mapper(load_ccda(folder))
    assert f"Wrong.yaml:{said}" in str(error.value)
