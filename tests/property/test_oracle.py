"""The oracle passes SQL on FHIR v2's own conformance cases, which gives it the right to judge the compiler."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.property import oracle
from tests.property.differences import differences
from tests.property.oracle import RefusedError

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
FILES = sorted((DATA / "sql_on_fhir_v2").glob("*.json"))
if not FILES:
    pytest.skip(f"{DATA}/sql_on_fhir_v2 holds no cases (set COHORTLAKE_DATA)", allow_module_level=True)


def cases() -> list[Any]:
    """(resources of the file, test) of every file, named by file and title."""
    suites = [(file, json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)) for file in FILES]
    return [
        pytest.param(suite["resources"], test, id=f"{file.stem}: {test['title']}")
        for file, suite in suites
        for test in suite["tests"]
    ]


@pytest.mark.parametrize(("resources", "test"), cases())
def test_case(resources: list[dict[str, Any]], test: dict[str, Any]) -> None:
    if test.get("expectError"):
        with pytest.raises(RefusedError):
            oracle.rows(test["view"], resources)
        return
    found = [row for rows in oracle.rows(test["view"], resources) for row in rows]
    if "expectColumns" in test:
        assert oracle.column_names(test["view"]) == test["expectColumns"]
    if "expectCount" in test:
        assert len(found) == test["expectCount"]
    if "expect" in test:
        # The cases name columns in any order.
        expected = [{name: row[name] for name in oracle.column_names(test["view"])} for row in test["expect"]]
        assert differences(expected, found) == ([], [])
