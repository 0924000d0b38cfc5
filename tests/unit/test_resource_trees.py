"""Every R4 resource type has a typed tree, declared or whole, and any resource comes back from it."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.catalog.resource import leaves, whole_tree
from cohortlake.core.fhir.definitions import resource_types
from cohortlake.core.fhir.render import resources
from cohortlake.core.readers.fhir_json import parse
from spark_jobs.fhir_types import fhir_schema

# Typed width, in columns of a Parquet file: what a table costs even where all of it is null.
WIDEST = 1000


@pytest.mark.parametrize("resource_type", sorted(resource_types()))
def test_a_whole_tree_is_typed_and_not_too_wide(resource_type):
    tree = whole_tree(resource_type)
    assert "id" in tree.children
    assert 0 < len(list(leaves(tree))) <= WIDEST


def test_an_element_within_itself_is_typed_twice_and_kept_deeper():
    deep = {"linkId": "4", "item": [{"linkId": "5"}]}
    line = {"resourceType": "Questionnaire", "id": "q", "status": "draft"}
    line["item"] = [{"linkId": "1", "item": [{"linkId": "2", "item": [{"linkId": "3", "item": [deep]}]}]}]
    schema = pa.schema([pa.field("resourceType", pa.string()), *fhir_schema(whole_tree("Questionnaire"))])
    parsed = parse(pa.array([json.dumps(line)]), schema)
    assert parsed.table["item"][0].as_py()[0]["item"][0]["linkId"] == "2"
    assert parsed.unexpected
    (again,) = resources("Questionnaire", parsed.table.drop_columns(["resourceType"]), parsed.rest).to_pylist()
    assert json.loads(again) == line


def test_the_catalog_types_what_a_silo_delivers_without_a_declaration(tmp_path):
    folder = tmp_path / "catalog"
    silo = load_catalog().folder / "silos/site_a_fhir_r4/silo.yaml"
    text = silo.read_text(encoding="utf-8").replace("  Device:\n", "  Goal:\n")
    (folder / "silos/site_a_fhir_r4").mkdir(parents=True)
    (folder / "silos/site_a_fhir_r4/silo.yaml").write_text(text, encoding="utf-8")
    tree = load_catalog(folder).resources["Goal"]
    assert tree.children["description"].children["coding"].is_list
