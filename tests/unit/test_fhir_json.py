"""Lines of JSON become typed rows or are rejected by name; what the schema lacks is counted."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.fhir.render import resources
from cohortlake.core.readers.fhir_json import BlockReader, parse
from spark_jobs.fhir_types import fhir_schema
from tests.hospitals import lines


@pytest.fixture(scope="module")
def schema() -> pa.Schema:
    tree = load_catalog().resources["Patient"]
    return pa.schema([pa.field("resourceType", pa.string()), *fhir_schema(tree)])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("garbage", "not a JSON object"),
        ("null", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ('{"id":"4"', "not valid JSON"),
        ("{} {}", "not one JSON object on the line"),
        ('{"id":2}', "wrong JSON type: id is a number, not a string"),
        ('{"active":"true"}', "wrong JSON type: active is a string, not a boolean"),
        ('{"name":{"family":"x"}}', "wrong JSON type: name is a object, not a array"),
        ('{"id":"a","id":"b"}', "not valid JSON: a name stands twice"),
        ('{"foo":1,"foo":2}', "not valid JSON: a name stands twice"),
        ('{"name":[{"family":"x","foo":{"a":1,"a":2}}],"bar":1}', "not valid JSON: a name stands twice"),
        ('{"id":"a",}', "not valid JSON"),
        ('{"id":"a\tb"}', "not valid JSON: Invalid control character"),
        ('{"id":"\\ud800"}', "not valid JSON: half of a surrogate pair"),
        ('{"multipleBirthInteger":1.5}', "wrong JSON value: multipleBirthInteger is not an integer"),
        ('{"multipleBirthInteger":3000000000}', "wrong JSON value: multipleBirthInteger is not an integer"),
        ('{"multipleBirthInteger":"2"}', "wrong JSON type: multipleBirthInteger is a string, not a integer"),
        ('{"id":"a"} {', "not one JSON object on the line"),
        ('{"a":' + "[" * 5000 + "]" * 5000 + "}", "nested deeper than 200 levels"),
        ('{"a":' + '{"b":' * 5000 + "1" + "}" * 5001, "nested deeper than 200 levels"),
    ],
)
def test_a_wrong_line_is_named_and_its_neighbours_stay(schema, line, reason):
    parsed = parse(pa.array(['{"id":"before"}', line, '{"id":"after"}']), schema)
    assert parsed.table["id"].to_pylist() == ["before", "after"]
    assert parsed.kept.tolist() == [0, 2]
    assert parsed.bad[1].startswith(reason)


def test_unexpected_fields_are_counted_at_their_paths(schema):
    parsed = parse(
        pa.array(
            [
                '{"id":"1","foo":{"bar":[1,2]},"name":[{"family":"x","zzz":true}],"extension":null}',
                '{"id":"2","foo":"text","_birthDate":{"extension":[{"url":"u"}]}}',
            ]
        ),
        schema,
    )
    assert parsed.table["name"][0].as_py()[0]["family"] == "x"
    assert parsed.unexpected == {"foo.bar": 2, "name.zzz": 1, "foo": 1, "_birthDate.extension.url": 1}
    assert not parsed.bad


@pytest.mark.parametrize("number", ["0.0012345678901234567891", "1.0", "100.50", "1e2", "-0.0"])
def test_a_number_that_a_decimal_would_change_is_kept_as_written(schema, number):
    place = '[{"extension":[{"extension":[{"url":"l","valueDecimal":%s}]}]}]' % number  # noqa: UP031
    parsed = parse(pa.array(['{"id":"1","address":%s,"active":true}' % place]), schema)  # noqa: UP031
    typed = parsed.table["address"][0].as_py()[0]["extension"][0]["extension"][0]["valueDecimal"]
    assert abs(float(typed) - float(number)) < 1e-18
    (rest,) = parsed.rest.to_pylist()
    assert json.loads(rest, parse_float=str)["address"] == json.loads(place, parse_float=str)


@pytest.mark.parametrize("number", ["0.001234567890123456", "1", "100.5", "-0.25", "12345678901234567890.5"])
def test_a_number_that_a_decimal_holds_needs_no_text(schema, number):
    place = '[{"extension":[{"extension":[{"url":"l","valueDecimal":%s}]}]}]' % number  # noqa: UP031
    parsed = parse(pa.array(['{"id":"1","address":%s}' % place]), schema)  # noqa: UP031
    assert parsed.rest.to_pylist() == [None]


def mutated(value, chance: random.Random, depth: int = 0):
    if chance.random() < 0.03:
        return chance.choice([None, 1, -2.5, 10**30, True, "", "x", [], {}, [None], [[1]], {"a": {"b": []}}])
    if isinstance(value, dict):
        kept = {key: mutated(inner, chance, depth + 1) for key, inner in value.items() if chance.random() > 0.02}
        return kept | ({"unheard_of": [{"x": None}]} if chance.random() < 0.05 else {})
    return [mutated(inner, chance, depth + 1) for inner in value] if isinstance(value, list) else value


PUT = ['"', "{", "}", "\\", "[", "]", ",", "0", "1", ".", "e", "-", "\t", "\\u0041", "null", "true", " ", "\x01", "é"]
STYLES = [(",", ":"), (", ", ": "), (" , ", " : ")]


@pytest.mark.parametrize("seed", range(30))
def test_damaged_lines_are_refused_or_come_back_as_written(schema, seed):
    """Python's JSON reader says what is JSON; what is taken comes back equal, whatever stands beside it."""
    chance = random.Random(seed)
    made = []
    for base in lines("site_a_fhir_r4/Patient.ndjson.gz")[:60]:
        resource = json.loads(base)
        changed = mutated(resource, chance) if chance.random() < 0.3 else resource
        text = json.dumps(changed if isinstance(changed, dict) else {"x": changed}, separators=chance.choice(STYLES))
        for _ in range(chance.choice([0, 0, 1, 1, 2])):
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(["", *PUT]) + text[at + chance.choice([0, 1]) :]
        made.append(text)
    parsed = parse(pa.array(made), schema)
    again = resources("Patient", parsed.table.drop_columns(["resourceType"]), parsed.rest).to_pylist()
    for place, text in zip(parsed.kept.tolist(), again, strict=True):
        given, taken = json.loads(made[place], parse_float=str), json.loads(text, parse_float=str)
        assert given | {"resourceType": "Patient"} == taken
    assert len(parsed.kept) > 10


@pytest.mark.parametrize("seed", range(20))
def test_no_line_is_lost_whatever_it_holds(schema, seed):
    chance = random.Random(seed)
    base = lines("site_a_fhir_r4/Patient.ndjson.gz")[:20]
    made = []
    for _ in range(chance.randint(1, 60)):
        text = json.dumps(mutated(json.loads(chance.choice(base)), chance))
        if chance.random() < 0.1:
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(["", '"', "{", "}", "\\"]) + text[at + 1 :]
        made.append(text)
    parsed = parse(pa.array(made), schema)
    assert sorted([*parsed.kept.tolist(), *parsed.bad]) == list(range(len(made)))
    assert parsed.table.num_rows == len(parsed.kept)
    parsed.table.validate(full=True)


@pytest.mark.parametrize("seed", range(10))
def test_a_reader_that_has_read_before_reads_the_same(schema, seed):
    """It reads for what came before; what comes new, or comes again after a gap, is not overlooked."""
    chance = random.Random(seed)
    made = [
        json.dumps(mutated(json.loads(base), chance) if chance.random() < seed / 10 else json.loads(base))
        for base in lines("site_a_fhir_r4/Patient.ndjson.gz")
    ]
    reader = BlockReader(schema)
    for start in (0, 1, 3, 40, 41, 80):
        block = pa.array(made[start : start + 40])
        again, afresh = reader.parse(block), parse(block, schema)
        assert again.table.equals(afresh.table)
        assert again.table.schema.equals(afresh.table.schema)
        again.table.validate(full=True)
        assert again.rest.equals(afresh.rest)
        assert (again.kept.tolist(), again.bad, again.unexpected) == (
            afresh.kept.tolist(),
            afresh.bad,
            afresh.unexpected,
        )


def test_a_reader_sees_what_comes_for_the_first_time(schema):
    reader = BlockReader(schema)
    first = pa.array(['{"id":"1","name":[{"family":"x"}]}'] * 5)
    later = pa.array(
        ['{"id":"2","name":[{"family":"y"},{"given":["z"]}],"birthDate":"2000","active":true}', *["{}"] * 3]
    )
    assert reader.parse(first).table["birthDate"].null_count == 5
    row = reader.parse(later).table.slice(0, 1).to_pylist()[0]
    assert (row["birthDate"], row["active"], row["name"][1]["given"]) == ("2000", True, ["z"])
    assert reader.parse(first).table["name"].to_pylist()[0][0]["family"] == "x"


@pytest.mark.parametrize("style", STYLES)
def test_every_single_change_of_a_line_is_seen(schema, style):
    """Each byte of a line left out, or another put before or over it: refused, or equal to Python's reading."""
    resource = {
        "id": "a", "active": True, "multipleBirthInteger": 2,
        "name": [{"family": "x, y", "given": ["p", "q"]}, {"use": "old"}],
        "extension": [{"url": "u", "extension": [{"url": "l", "valueDecimal": -1.25}]}],
    }  # fmt: skip
    base = json.dumps(resource, separators=style)
    made = [base[:at] + put + base[at + taken :] for at in range(len(base)) for put in ["", *PUT] for taken in (0, 1)]
    parsed = parse(pa.array(made), schema)
    again = resources("Patient", parsed.table.drop_columns(["resourceType"]), parsed.rest).to_pylist()
    for place, text in zip(parsed.kept.tolist(), again, strict=True):
        given = json.loads(made[place], parse_float=str)
        assert given | {"resourceType": "Patient"} == json.loads(text, parse_float=str)
    for place, reason in parsed.bad.items():
        if reason.startswith("not valid JSON") and "twice" not in reason and "surrogate" not in reason:
            with pytest.raises(json.JSONDecodeError):
                json.loads(made[place])
    assert 100 < len(parsed.kept) < len(made) - 100
