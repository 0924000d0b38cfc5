"""Concept maps: how they are declared, what they add to a record, and what is told of codes that they lack."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.errors import CatalogError, UnsignedProtocolError
from cohortlake.core.readers.fhir_json import parse
from cohortlake.core.terminology.concept_maps import ConceptMap, check_maps, check_maps_signed, load_concept_maps
from cohortlake.core.terminology.translate import EXTENSION, Translated, Translator, dumps_exact, loads_exact
from spark_jobs.fhir_types import UNMAPPED, fhir_schema
from spark_jobs.terminology import Mapped, map_codings

YAML = """\
url: urn:test:map
title: A map
version: 1.2.0
date: 2026-01-15
steward: Informaticist
signed_off: 2026-01-15
groups:
  - source: urn:local
    target: http://loinc.org
    codes:
      A: { code: 1-8, display: One, equivalence: equivalent }
      B: { code: 2-6, equivalence: narrower }
      C: { equivalence: unmatched }
"""
FHIR = {
    "resourceType": "ConceptMap",
    "url": "urn:test:map",
    "version": "1.2.0",
    "title": "A map",
    "status": "active",
    "date": "2026-01-15",
    "publisher": "Informaticist",
    "group": [
        {
            "source": "urn:local",
            "target": "http://loinc.org",
            "element": [
                {"code": "A", "target": [{"code": "1-8", "display": "One", "equivalence": "equivalent"}]},
                {"code": "B", "target": [{"code": "2-6", "equivalence": "narrower"}]},
                {"code": "C", "target": [{"equivalence": "unmatched"}]},
            ],
        }
    ],
}
ADDED = {
    "extension": [{"url": EXTENSION, "valueCanonical": "urn:test:map|1.2.0"}],
    "system": "http://loinc.org",
    "code": "1-8",
    "display": "One",
}


def declared(folder: Path, text: str, name: str = "local.yaml") -> ConceptMap:
    (folder / name).write_text(text, encoding="utf-8")
    return load_concept_maps(folder)["local"]


def test_the_short_form_and_fhirs_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    short = declared(tmp_path / "a", YAML)
    assert short == declared(tmp_path / "b", json.dumps(FHIR, indent=1), "local.json")
    assert (short.canonical, short.label) == ("urn:test:map|1.2.0", "local 1.2.0")


@pytest.mark.parametrize(
    ("was", "is_now", "said"),
    [
        ("version: 1.2.0\n", "", r"local.yaml:1: version is missing"),
        ("source: urn:local", "source: local codes", r"local.yaml:8: groups.0.source: "),
        ("code: 1-8,", "kode: 1-8,", r"local.yaml:11: .*kode is not known here"),
        ("equivalence: narrower", "equivalence: smaller", r"local.yaml:12: .*equivalence: .*'smaller'"),
        ("{ equivalence: unmatched }", "{ equivalence: equal }", r"local.yaml:13: .*a target that is equal has a code"),
        ("      B:", "      A:", r"local.yaml:12: the key 'A' stands here a second time"),
        ("url: urn:test:map", "url: urn:test:map|1", r"local.yaml:1: url: "),
    ],
)
def test_a_wrong_map_is_told_with_file_and_line(tmp_path: Path, was: str, is_now: str, said: str) -> None:
    assert was in YAML
    with pytest.raises(CatalogError, match=said):
        declared(tmp_path, YAML.replace(was, is_now))


def fhir(**changed: Any) -> str:
    return json.dumps({**FHIR, **changed}, indent=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (fhir(resourceType="ValueSet"), r"local.json:1: expected a FHIR resource of type ConceptMap"),
        (fhir(group=[{**FHIR["group"][0], "unmapped": {"mode": "fixed", "code": "x"}}]), r"json:\d+: group.unmapped"),
        (fhir(group=[{"source": "urn:a", "target": "urn:b", "element": [
            {"code": "A", "target": [{"code": "1", "equivalence": "wider"}, {"code": "2", "equivalence": "wider"}]}]}]),
         r"local.json:(?!1:)\d+: a code has one target here"),
        (fhir(group=[{"source": "urn:a", "target": "urn:b", "element": [{"code": "A"}, {"code": "A"}]}]),
         r"the code 'A' stands here a second time"),
        (fhir(publisher=None), r"steward is missing"),
        (fhir(group="none"), r"local.json:1: an element has not the type that R4 gives it"),
        ("{", r"local.json:\d+: not YAML"),
    ],
)  # fmt: skip
def test_a_wrong_fhir_map_is_told_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CatalogError, match=said):
        declared(tmp_path, text, "local.json")


def test_a_fhir_map_that_is_a_draft_is_not_signed(tmp_path: Path) -> None:
    draft = declared(tmp_path, fhir(status="draft"), "local.json")
    with pytest.raises(UnsignedProtocolError, match=r"concept map local: its version 1.2.0 is not signed off"):
        check_maps_signed([draft], force=False)
    check_maps_signed([draft], force=True)


def test_a_silo_names_maps_that_are_there_and_do_not_say_the_same(tmp_path: Path) -> None:
    local = declared(tmp_path, YAML)
    silo = tmp_path / "silo.yaml"
    silo.write_text("name: x\nconcept_maps:\n  - local\n  - other\n", encoding="utf-8")
    with pytest.raises(CatalogError, match=r"silo.yaml:4: concept_maps: 'other' is not in catalog/conceptmaps"):
        check_maps(silo, ["local", "other"], {"local": local})
    with pytest.raises(CatalogError, match=r"silo.yaml:4: .*'other' maps urn:local to http://loinc.org, and so does"):
        check_maps(silo, ["local", "other"], {"local": local, "other": local})


def test_the_projects_own_maps_are_signed_and_used() -> None:
    catalog = load_catalog()
    used = {name for silo in catalog.silos.values() for name in silo.concept_maps}
    assert used == set(catalog.concept_maps)
    check_maps_signed(catalog.concept_maps.values(), force=False)


@pytest.fixture
def translator(tmp_path: Path) -> Translator:
    return Translator((declared(tmp_path, YAML),))


def local(code: str) -> dict[str, str]:
    return {"system": "urn:local", "code": code}


@pytest.mark.parametrize(
    ("codings", "added", "lacking"),
    [
        ([local("A")], [ADDED], []),
        ([local("A"), local("A")], [ADDED], []),
        ([{"system": "http://loinc.org", "code": "9-9"}, local("A")], [], []),  # the source's own word stands
        ([local("B")], [], ["B"]),  # narrower: more than the source said
        ([local("C")], [], []),  # someone looked, and there is none
        ([local("D"), local("A")], [ADDED], ["D"]),
        ([{"system": "urn:other", "code": "A"}, {"display": "A"}, {"system": "urn:local"}], [], []),
    ],
)
def test_what_a_map_adds(translator: Translator, codings: list[Any], added: list[Any], lacking: list[str]) -> None:
    said = Translated()
    assert translator.codings(codings, said) == added
    assert said.unknown == Counter({("local 1.2.0", code): 1 for code in lacking})


@pytest.mark.parametrize("text", ['{"a":[1.0,1e3,-0.50,12345678901234567890123,"1.0"],"b":"\\"2\\""}', '{"ä":null}'])
def test_numbers_stay_as_they_were_written(text: str) -> None:
    assert dumps_exact(loads_exact(text)) == text


TREE = resource_tree("Observation", ["code", "status", "component.code", "component.valueQuantity", "category"])


def mapped(lines: list[dict[str, Any] | str], translator: Translator) -> Mapped:
    """Records through silver's typing, and then the maps."""
    texts = [line if isinstance(line, str) else json.dumps(line, separators=(",", ":")) for line in lines]
    parsed = parse(pa.array(texts), fhir_schema(TREE).insert(0, pa.field("resourceType", pa.string())))
    assert not parsed.bad
    rows = parsed.table.drop_columns(["resourceType"]).append_column("_rest", parsed.rest)
    return map_codings(rows.append_column("_unmapped", pa.nulls(rows.num_rows, UNMAPPED)), TREE, translator)


def observation(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o", **elements}


def test_a_record_gains_a_coding_typed_and_whole(translator: Translator) -> None:
    concept = {"coding": [{**local("A"), "display": "Ours"}], "text": "ours"}
    found = mapped(
        [observation(code=concept), observation(status="final"), observation(code={"text": "x"})], translator
    )
    typed = found.rows["code"].to_pylist()
    assert [coding["code"] for coding in typed[0]["coding"]] == ["A", "1-8"]
    assert json.loads(found.rows["_rest"][0].as_py()) == {"code": {**concept, "coding": [*concept["coding"], ADDED]}}
    assert found.rows["_rest"].to_pylist()[1:] == [None, None]
    assert (found.added, found.unknown) == (Counter({"local 1.2.0": 1}), Counter())


def test_concepts_within_lists_are_mapped_and_numbers_stay_as_written(translator: Translator) -> None:
    line = (
        '{"resourceType":"Observation","id":"o","component":[{"code":{"coding":[{"system":"urn:x","code":"A"}]}},'
        '{"code":{"coding":[{"system":"urn:local","code":"A"}]},"valueQuantity":{"value":1.50}}]}'
    )
    found = mapped([line], translator)
    rest = found.rows["_rest"][0].as_py()
    assert '"value":1.50' in rest
    assert json.loads(rest)["component"][1]["code"]["coding"][1] == ADDED
    typed = found.rows["component"][0].as_py()
    assert [len(part["code"]["coding"]) for part in typed] == [1, 2]


def test_what_silver_does_not_type_of_the_element_is_still_there(translator: Translator) -> None:
    concept = {"coding": [local("A")], "extension": [{"url": "urn:e", "valueCode": "x"}]}
    found = mapped([observation(code=concept, note=[{"text": "kept"}])], translator)
    rest = json.loads(found.rows["_rest"][0].as_py())
    assert rest["code"] == {**concept, "coding": [local("A"), ADDED]}
    assert rest["note"] == [{"text": "kept"}]


def test_a_code_that_a_map_lacks_is_flagged_and_counted(translator: Translator) -> None:
    found = mapped([observation(code={"coding": [local("D")]}), observation(code={"coding": [local("A")]})], translator)
    assert found.rows["_unmapped"].to_pylist() == [[{"map": "local 1.2.0", "code": "D"}], None]
    assert found.unknown == Counter({"local 1.2.0: D": 1})
    assert [len(row["coding"]) for row in found.rows["code"].to_pylist()] == [1, 2]


def test_without_maps_or_their_systems_rows_are_the_same(translator: Translator) -> None:
    lines = [observation(code={"coding": [{"system": "http://loinc.org", "code": "1-8"}]})]
    assert mapped(lines, translator).rows.equals(mapped(lines, Translator(())).rows)
