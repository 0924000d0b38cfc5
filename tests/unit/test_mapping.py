"""A mapping compiles to SQL, or says which element is wrong."""

from __future__ import annotations

import duckdb
import pytest

from cohortlake.core.catalog.mapping import CodeMap, Mapping
from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.errors import CatalogError
from cohortlake.core.mapping import Compiled, MappingCompiler, unpivoted
from spark_jobs.fhir_types import duckdb_type

TREE = resource_tree("Patient", ["identifier", "name", "gender", "birthDate", "multipleBirthInteger"])
GENDER = CodeMap(name="gender", source="urn:x:gender", version="1.0.0", codes={"M": {"code": "male"}})


def compiled(**elements) -> Compiled:
    mapping = Mapping.model_validate(
        {"name": "Patient", "resource": "Patient", "from": "patients", "id": "Id", "elements": elements}
    )
    return MappingCompiler(mapping, TREE, {"gender": GENDER}, duckdb_type).compile()


def row(made: Compiled, **source):
    """The compiled columns over one source row."""
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE source ({', '.join(f'{name} VARCHAR' for name in source)})")
    connection.execute(f"INSERT INTO source VALUES ({', '.join('?' * len(source))})", list(source.values()))
    leaves = ", ".join(f'{sql} AS "{name}"' for name, sql in made.leaves.items())
    columns = ", ".join(f'{sql} AS "{name}"' for name, sql in made.columns.items())
    return connection.execute(f"SELECT {columns} FROM (SELECT {leaves} FROM source)").arrow().read_all().to_pylist()[0]


def test_an_object_whose_expressions_are_null_disappears_with_its_constants():
    made = compiled(
        identifier=[{"system": "urn:x", "value": "=SSN"}, {"system": "urn:y", "value": "=MRN"}],
        name=[{"use": "official", "family": "=LAST", "given": ["=FIRST", "=MIDDLE"]}],
    )
    found = row(made, Id="1", SSN=None, MRN="7", LAST=None, FIRST="Ann", MIDDLE=None)
    assert [(entry["system"], entry["value"]) for entry in found["identifier"]] == [("urn:y", "7")]
    assert (found["name"][0]["use"], found["name"][0]["family"], found["name"][0]["given"]) == (
        "official",
        None,
        ["Ann"],
    )
    nothing = row(made, Id="1", SSN=None, MRN=None, LAST=None, FIRST=None, MIDDLE=None)
    assert nothing["identifier"] is None
    assert nothing["name"] is None


def test_a_code_that_a_map_lacks_is_kept_and_flagged():
    made = compiled(gender="=GENDER | gender")
    assert row(made, Id="1", GENDER="M")["gender"] == "male"
    found = row(made, Id="1", GENDER="X")
    assert found["gender"] == "X"
    assert found["_unmapped"] == [{"map": "gender", "code": "X"}]
    assert row(made, Id="1", GENDER=None)["gender"] is None


def test_a_value_of_another_type_is_named_and_not_cast_away():
    made = compiled(multipleBirthInteger="=TWIN")
    assert row(made, Id="1", TWIN="2")["multipleBirthInteger"] == 2
    assert row(made, Id="1", TWIN="two")["_bad"] == ["Patient.multipleBirthInteger is a integer"]


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"telecom": [{"value": "=PHONE"}]}, "telecom: silver's Patient does not type this element"),
        ({"name": [{"nickname": "=X"}]}, "name.nickname"),
        ({"gender": {"code": "=X"}}, "gender: a code takes one value"),
        ({"gender": ["=X"]}, "gender: this element does not repeat"),
        ({"gender": "=X | sex"}, "'sex' is not a map's code, display or system; maps are gender"),
        ({"name": [{"$each": "lines", "family": "=line.X"}]}, "$each names 'lines'"),
    ],
)
def test_a_wrong_template_names_its_element(elements, said):
    with pytest.raises(CatalogError) as raised:
        compiled(**elements)
    assert said in str(raised.value)


def spread(with_empty: bool = False, **row: str | None) -> list[tuple[str, str | None]]:
    """Names and values of what a row with a pulse and a weight is spread into."""
    mapping = Mapping.model_validate(
        {"name": "Observation", "resource": "Observation", "from": "visits", "id": "Id", "elements": {}}
        | {"unpivot": {"pulse": "PULSE", "weight": "nullif(WEIGHT, '0')"}}
    )
    connection = duckdb.connect()
    connection.execute("CREATE TABLE source (Id VARCHAR, PULSE VARCHAR, WEIGHT VARCHAR)")
    connection.execute("INSERT INTO source VALUES ($Id, $PULSE, $WEIGHT)", row)
    return connection.execute(f"SELECT _name, _value FROM {unpivoted(mapping, with_empty=with_empty)}").fetchall()


def test_a_row_is_spread_into_its_values_that_are_there():
    assert spread(Id="1", PULSE="70", WEIGHT="81") == [("pulse", "70"), ("weight", "81")]
    assert spread(Id="1", PULSE="70", WEIGHT="0") == [("pulse", "70")]
    assert spread(with_empty=True, Id="1", PULSE=None, WEIGHT=None) == [("pulse", None), ("weight", None)]


def test_a_mapping_spreads_rows_or_gathers_them():
    lines = {"lines": {"feed": "b", "column": "x", "key": "y", "order": []}}
    with pytest.raises(ValueError, match="unpivot or children, not both"):
        Mapping.model_validate(
            {"name": "P", "resource": "Patient", "from": "a", "id": "Id", "elements": {}}
            | {"unpivot": {"v": "v"}, "children": lines}
        )
