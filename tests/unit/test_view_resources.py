"""Resources out of JSON files that are not NDJSON."""

from __future__ import annotations

import pytest

from cohortlake.core.views.resources import items_of, resource_lines

BUNDLE = """\ufeff{ "resourceType" : "Bundle",
  "entry": [ {"resource": {"resourceType": "Observation", "v": 1.50, "t": "a ] } \\" \\n"}, "x": 1},
    {"fullUrl": "u"}, {"resource": {"a":
      [1,\r\n 2]}}, 5 ],
  "id": "b" }"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('{"resourceType": "Patient",\n "v": 1.0}\n', ['{"resourceType": "Patient",  "v": 1.0}']),
        (BUNDLE, ['{"resourceType": "Observation", "v": 1.50, "t": "a ] } \\" \\n"}', '{"a":       [1,   2]}', "5"]),
        ('{"resourceType": "Bundle"}', []),
        ('{"resourceType": "Bundle", "entry": {}}', []),
        (' [{"a": 1.0}, {}]', ['{"a": 1.0}', "{}"]),
        # What is no JSON is the reader's to count.
        ('{"a": \n', ['{"a":']),
        ("", [""]),
    ],
)
def test_a_file_gives_its_resources_a_line_each_as_they_were_written(text: str, lines: list[str]) -> None:
    assert list(resource_lines(text)) == lines


def test_items_of_a_list_are_given_as_they_were_written() -> None:
    assert list(items_of('{"a": {"b": [1]}, "b": [ {"x": 1.0} ,{}], "c": 2}', "b")) == ['{"x": 1.0}', "{}"]
    assert list(items_of('{"b": {}}', "b")) == []
