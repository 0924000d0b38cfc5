"""The compiled walks and Python's JSON reader read the same from a line, or the walks leave it to the other."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortlake.core.catalog import load_catalog
from cohortlake.core.readers.fhir_json import BlockReader
from cohortlake.core.readers.json_exact import WrongLineError, look, shape_of
from cohortlake.core.readers.json_walk import kept
from spark_jobs.fhir_types import fhir_schema
from tests.hospitals import lines

NUMBER = pa.decimal128(38, 18)
ITEM = pa.struct([("s", pa.string()), ("d", NUMBER), ("more", pa.list_(pa.string()))])
SCHEMA = pa.schema(
    [
        ("s", pa.string()),
        ("_s", pa.struct([("s", pa.string())])),
        ("b", pa.bool_()),
        ("i", pa.int32()),
        ("d", NUMBER),
        ("texts", pa.list_(pa.string())),
        ("items", pa.list_(ITEM)),
        ("never", pa.list_(pa.struct([("x", ITEM)]))),
    ]
)
TEXT = st.text(max_size=8) | st.sampled_from(["\u00e9", '"', "\\", "\x00", "\n", "\U0001f600", "\uffff", "a/b"])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["s", "p", "\u00e9"]), inner, max_size=2)
    ),
    max_leaves=5,
)
DECIMALS = st.decimals(-(10**19), 10**19, allow_nan=False, places=None) | st.decimals(-(10**6), 10**6, places=18)
ITEMS = st.fixed_dictionaries({}, optional={"s": TEXT, "d": DECIMALS, "more": st.lists(TEXT, max_size=3), "new": ANY})
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "s": TEXT,
        "_s": st.fixed_dictionaries({}, optional={"s": TEXT}),
        "b": st.booleans(),
        "i": st.integers(-(2**31), 2**31 - 1),
        "d": DECIMALS | st.integers(-(10**19), 10**19),
        "texts": st.lists(TEXT, max_size=3),
        "items": st.lists(ITEMS, max_size=3),
        "new": ANY,
        "newer": ANY,
    },
).flatmap(lambda row: st.permutations(list(row)).map(lambda names: {name: row[name] for name in names}))


def written(value, style: int) -> str:
    """JSON text, decimals as they are, in one of several styles."""
    if isinstance(value, dict):
        pairs = [f"{json.dumps(name)}{' ' * (style % 2)}:{written(inner, style)}" for name, inner in value.items()]
        return "{" + (", " if style > 1 else ",").join(pairs) + "}"
    if isinstance(value, list):
        return "[" + "\t,".join(written(inner, style) for inner in value) + "]"
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=style > 1)


def as_written(text: str | None):
    return json.loads(text or "null", parse_float=str)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(ROWS, st.integers(0, 3)), max_size=8))
def test_both_read_the_same(rows):
    made = [written(row, style) for row, style in rows]
    parsed = BlockReader(SCHEMA).parse(pa.array(made, pa.string()))
    parsed.table.validate(full=True)
    looks = [look(line, shape_of(SCHEMA)) for line in made]
    assert parsed.table.equals(pa.Table.from_pylist([one.values for one in looks], SCHEMA))
    for line, one, rest in zip(made, looks, parsed.rest.to_pylist(), strict=True):
        assert (rest is None) == (one.rest is None)
        assert rest == line or as_written(rest) == as_written(one.rest)
    assert parsed.unexpected == sum((one.unexpected for one in looks), Counter())


@pytest.mark.parametrize("number", ["999999999999999999.999999999999999999", "-0.000000000000000001", "0", "-0", "7.5"])
def test_a_decimal_is_what_was_written(number):
    reader = BlockReader(SCHEMA)
    read = reader._columns.read(*_bytes([f'{{"d":{number}}}', f'{{"items":[{{}},{{"d":{number}}}]}}']))
    assert read.table["d"].to_pylist() == [Decimal(number), None]
    assert read.table["items"][1].as_py()[1]["d"] == Decimal(number)


@pytest.mark.parametrize(
    "line",
    [
        "", " ", "x", "1", "[]", "{", "}", "{}}", "{},", '{"s"}', '{"s":}', '{"s":"a"', '{"s":"a","s":"b"}',
        '{"s":"a"}{}', '{"s":null}', '{"s":1}', '{"s":"\\x"}', '{"s":"\\u12g4"}', '{"s":"\\ud83d\\ude00"}',
        '{"s":"a\\', '{"s":"\x01"}', '{"b":tru}', '{"b":truE}', '{"b":1}', '{"i":1.0}', '{"i":4294967296}',
        '{"i":-}', '{"d":01}', '{"d":1.}', '{"d":.5}', '{"d":1e3}', '{"d":+1}', '{"d":1234567890123456789}',
        '{"d":0.1234567890123456789}', '{"d":"1"}', '{"texts":["a",]}', '{"texts":[,"a"]}',
        '{"texts":["a" "b"]}', '{"texts":[null]}', '{"texts":"a"}', '{"texts":["a"',
        '{"new":1,"new":2}', '{"items":[{"p":1,"p":1}]}', '{"new":01}', '{"new":[1,]}', '{"new":{"a":tru}}',
        '{"new":{"\\u0061":1}}', '{"new":1e5}', '{"new":[}',
        '{"new":' + "[" * 200 + "]" * 200 + "}",
        '{"\\u0073":"a"}', '{,"s":"a"}', '{"s":"a",}',
        '{"s" "a"}', '{"_s":{"s":"a","s":"b"}}', '{"s:"a"}', '\ufeff{}', '{"never":[[]]}',
    ],
)  # fmt: skip
def test_a_strange_line_leaves_nothing_behind(line):
    """It is left out by the walks, and its neighbours are as they were without it."""
    beside = ['{"s":"x","items":[{"s":"y"},{"more":["z"]}]}', '{"texts":["p","q"],"items":[{}],"d":2.5}']
    partly = '{"s":"a","b":true,"texts":["t"],"items":[{"s":"u","more":["v","w"]},' + line[1:]
    reader = BlockReader(SCHEMA)
    read = reader._columns.read(*_bytes([beside[0], line, partly, beside[1]]))
    assert (read.read.tolist(), read.strange.tolist()) == ([0, 3], [1, 2])
    assert read.table.equals(BlockReader(SCHEMA)._columns.read(*_bytes(beside)).table)


@pytest.mark.parametrize("name", ["Claim", "Observation", "Patient", "MedicationRequest", "CarePlan"])
def test_both_read_the_same_of_a_hospital(name):
    schema = fhir_schema(load_catalog().resources[name]).insert(0, pa.field("resourceType", pa.string()))
    made = lines(f"site_a_fhir_r4/{name}.ndjson.gz")[:400]
    looks = [look(line, shape_of(schema)) for line in made]
    wanted = pa.Table.from_pylist([one.values for one in looks], schema)
    assert BlockReader(schema).parse(pa.array(made)).table.equals(wanted)


def test_what_a_schema_lacks_is_kept_and_counted_without_an_exact_look():
    made = [
        '{"s":"x"}',
        '{"new" : [1,{"a":null,"b":"\\u00e9"}] ,"items":[{"s":"a"},{"p":1,"q":-1.50}],"z":{}}',
        '{"z":"z"}',
    ]
    read = BlockReader(SCHEMA)._columns.read(*_bytes(made))
    assert not len(read.strange)
    assert [(one.row, one.path, one.value) for one in read.lost] == [
        (1, "new", '[1,{"a":null,"b":"\\u00e9"}]'), (1, "items.p", "1"), (1, "items.q", "-1.50"), (1, "z", "{}"),
        (2, "z", '"z"'),
    ]  # fmt: skip
    parsed = BlockReader(SCHEMA).parse(pa.array(made))
    assert parsed.rest.to_pylist() == [
        None,
        '{"new" : [1,{"a":null,"b":"\\u00e9"}],"items":[{"s":"a"},{"p":1,"q":-1.50}],"z":{}}',
        '{"z":"z"}',
    ]
    assert parsed.unexpected == {"new": 1, "new.b": 1, "items.p": 1, "items.q": 1, "z": 1}


def test_many_elements_that_a_schema_lacks_are_read_exactly():
    made = ["{" + ",".join(f'"n{number}":1' for number in range(count)) + "}" for count in (256, 257)]
    read = BlockReader(SCHEMA)._columns.read(*_bytes(made))
    assert (read.read.tolist(), read.strange.tolist(), len(read.lost)) == ([0], [1], 256)
    assert len(BlockReader(SCHEMA).parse(pa.array(made)).unexpected) == 257


def test_the_walks_are_compiled_where_nothing_can_be_kept():
    names = {}
    exec("def one(): return 1", names)  # noqa: S102 (a function of no file has no folder beside it)
    assert kept(names["one"])() == 1


def test_the_exact_reader_refuses_what_no_column_holds():
    for line in [
        '{"d":99999999999999999999.9999999999999999999}',
        '{"d":1e20}',
        '{"d":1e999999999}',
        '{"i":1e999999999}',
        '{"d":100000000000000000000}',
    ]:
        with pytest.raises(WrongLineError, match="wrong JSON value"):
            look(line, shape_of(SCHEMA))


def _bytes(made):
    import numpy as np

    ends = np.cumsum([0, *(len(line.encode()) for line in made)])
    return np.frombuffer("".join(made).encode(), np.uint8), ends.astype(np.int64)
