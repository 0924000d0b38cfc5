"""The view compiler's pure side: the FHIRPath parser, and what an author reads when a view is wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cohortlake.core.errors import ViewError
from cohortlake.core.views import compile_view
from cohortlake.core.views.fhirpath import Call, Index, Literal, Operation, Sign, Step, This, Variable, parse_path


def step(name: str, source: Any = None) -> Step:
    return Step(source, name)


ONE, TWO, THREE = (Literal(number, "integer") for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("path", "tree"),
    [
        ("name.family", step("family", step("name"))),
        ("`div`.`text`", step("text", step("div"))),
        ("$this", This()),
        ("%bp_code", Variable("bp_code")),
        ("%`rowIndex`", Variable("rowIndex")),
        ("'it\\'s \\u0041\\n'", Literal("it's A\n", "string")),
        ("'\\ud83e\\uddec'", Literal("\U0001f9ec", "string")),
        ("true", Literal(True, "boolean")),
        ("1.50", Literal(Decimal("1.50"), "decimal")),
        ("@2020-01", Literal("2020-01", "date")),
        ("@2020-01-31T10:00:00+02:00", Literal("2020-01-31T10:00:00+02:00", "dateTime")),
        ("@2020-01-31T", Literal("2020-01-31", "dateTime")),
        ("@2020-01-31T10:30Z", Literal("2020-01-31T10:30Z", "dateTime")),
        ("@2020-01-31T10", Literal("2020-01-31T10", "dateTime")),
        ("@T10:30", Literal("10:30", "time")),
        ("@T10", Literal("10", "time")),
        ("`a\\`b`", step("a`b")),
        ("name[1]", Index(step("name"), ONE)),
        ("a.b[1]", Index(step("b", step("a")), ONE)),
        ("name.first()", Call(step("name"), "first", ())),
        ("extension('u').value", step("value", Call(None, "extension", (Literal("u", "string"),)))),
        ("(a or b).not()", Call(Operation("or", step("a"), step("b")), "not", ())),
        ("1 + 2 * 3", Operation("+", ONE, Operation("*", TWO, THREE))),
        ("1 - 2 - 3", Operation("-", Operation("-", ONE, TWO), THREE)),
        ("-a.b", Sign("-", step("b", step("a")))),
        ("a = 1 and b", Operation("and", Operation("=", step("a"), ONE), step("b"))),
        ("a or b and c", Operation("or", step("a"), Operation("and", step("b"), step("c")))),
        ("a < 1 = b", Operation("=", Operation("<", step("a"), ONE), step("b"))),
        ("a // a comment\n + /* another */ 1", Operation("+", step("a"), ONE)),
    ],
)
def test_a_path_is_parsed(path: str, tree: Any) -> None:
    assert parse_path(path, "path") == tree


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("name.", "path (name.): found the end at character 6; allowed: the name of an element or a function"),
        ("name family", "path (name family): found family at character 6; allowed: the end, or one of implies"),
        ("name.where(use", "path (name.where(use): found the end at character 15; allowed: ')'"),
        ("a = @2020-02-30", "path (a = @2020-02-30): found @2020-02-30 at character 5; allowed: a date or time that"),
        ("@T25", "path (@T25): found @T25 at character 1; allowed: a date or time that exists"),
        ("'\\ud83e'", "path ('\\ud83e'): found '\\ud83e' at character 1; allowed: escapes of whole characters"),
        ("3000000000", "path (3000000000): found 3000000000 at character 1; allowed: an integer up to 2147483647"),
        ("a ? b", "path (a ? b): found '?' at character 3; allowed: a path, a literal, an operator or a function"),
        ("a | b", "path (a | b): found the operator '|' at character 3; allowed: one of implies or"),
        ("a is Patient", "path (a is Patient): found the operator 'is' at character 3; allowed: one of implies or"),
    ],
)
def test_what_is_not_of_the_subset_is_said_with_its_place(path: str, message: str) -> None:
    with pytest.raises(ViewError) as caught:
        parse_path(path, "path")
    assert str(caught.value).startswith(message)


def patient_view(*selects: Any, **others: Any) -> dict[str, Any]:
    return {"resource": "Patient", "select": list(selects), **others}


def column(path: str, **others: Any) -> dict[str, Any]:
    return {"column": [{"name": "c", "path": path, **others}]}


PATH = "select[0].column[0].path"


@pytest.mark.parametrize(
    ("path", "found", "allowed"),
    [
        ("name.famly", "'famly', which HumanName does not have", "id, extension, use, text, family, given"),
        ("birthDate.year", "'year', which date does not have", "no element"),
        ("deceased", "a choice of several types", "ofType(T) after it, where T is one of boolean, dateTime"),
        ("deceasedBoolean", "'deceasedBoolean', the JSON name of a choice", "deceased.ofType(boolean)"),
        ("deceased.ofType(Quantity)", "ofType(Quantity)", "boolean, dateTime"),
        ("name.where(family)", "a condition of type string", "a boolean, as a comparison or exists() gives"),
        ("name = 'x'", "HumanName = string", "two primitives of one kind"),
        ("active < true", "boolean < boolean", "two numbers, strings, dates or times"),
        ("birthDate < '2000'", "date < string", "two primitives of one kind (a date is written @2020-01-31)"),
        ("gender + 1", "an operand of + of type integer", "a string"),
        ("active * 2", "an operand of * of type boolean", "a number"),
        ("name.count()", "count() with 0 arguments", "empty(), exists([criteria]), extension(url), first()"),
        ("name.first(1)", "first() with 1 arguments", "empty(), exists([criteria])"),
        ("name.getReferenceKey()", "getReferenceKey() of type HumanName", "a Reference"),
        ("link.other.getReferenceKey(Foo)", "the resource type 'Foo'", "a resource type of FHIR R4"),
        ("name.getResourceKey()", "getResourceKey() of type HumanName", "only the resource itself"),
        ("%use", "%use, which is no constant of the view", "%rowIndex"),
        ("birthDate.lowBoundary(5)", "another precision of a date", "4, 6, 8"),
        ("1.5.lowBoundary(multipleBirth.ofType(integer))", "another precision of a decimal", "0, 1, 2, 3"),
        ("contained.ofType(Foo)", "ofType(Foo)", "Resource"),
        ("iif(gender, 'a', 'b')", "a condition of type code", "a boolean, as a comparison or exists() gives"),
        ("iif(active, birthDate, 'b')", "iif() of date or string", "two values of one type"),
        ("iif(active, name, address).use", "iif() of HumanName or Address", "two values of one type"),
        ("iif(active)", "iif() with 1 arguments", "empty(), exists([criteria])"),
        ("active.lowBoundary()", "a boundary of type boolean", "a decimal, date, dateTime, instant, time or Period"),
    ],
)
def test_a_wrong_path_is_said_with_what_is_allowed(path: str, found: str, allowed: str) -> None:
    with pytest.raises(ViewError) as caught:
        compile_view(patient_view(column(path)))
    assert str(caught.value).startswith(f"{PATH} ({path}): found {found}; allowed: {allowed}")


def test_a_type_that_several_of_a_choice_specialise_is_not_guessed() -> None:
    with pytest.raises(ViewError, match=r"found ofType\(Quantity\); allowed: .*Age.*Duration"):
        compile_view({"resource": "ActivityDefinition", "select": [column("timing.ofType(Quantity).value")]})


UNION = {"unionAll": [column("id"), column("active")]}
CONSTANT = {"name": "k", "valueCode": "a"}


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({}, "resource: found nothing; allowed: a value, for it is required\nselect: found nothing"),
        (
            {**patient_view(column("id")), "resource": "Patent"},
            "the view: found resource 'Patent'; allowed: a resource",
        ),
        (patient_view(column("id"), wher=[]), "the view: found 'wher'; allowed: constant, name, resource, select"),
        (patient_view({"colunm": []}), "select[0]: found 'colunm'; allowed: column, forEach, forEachOrNull, repeat"),
        (patient_view({"forEach": 1}), "select[0].forEach: found 1; allowed: a valid string"),
        (patient_view({"forEach": "name"}), "select[0]: found a select without content; allowed: one with column"),
        (
            patient_view({"forEach": "name", "repeat": ["name"], **column("use")}),
            "select[0]: found forEach and repeat; allowed: at most one of forEach, forEachOrNull, repeat",
        ),
        (patient_view({"column": [{"name": "1a", "path": "id"}]}), "select[0].column[0].name: found '1a'; allowed: "),
        (patient_view(column("id"), column("id")), "select: found the column name 'c' a second time; allowed: a name"),
        (patient_view(UNION), "select[0].unionAll[1]: found the columns c BOOLEAN; allowed: c VARCHAR, as in select"),
        (
            patient_view({"unionAll": [column("maritalStatus", type="CodeableConcept"), column("meta", type="Meta")]}),
            "select[0].unionAll[1]: found the columns c Meta; allowed: c CodeableConcept, as in select[0].unionAll[0]",
        ),
        (patient_view(column("id", type="boolean")), "select[0].column[0].type: found 'boolean' for a path to string"),
        (patient_view(column("maritalStatus")), "select[0].column[0].type: found nothing, for a path to Codeable"),
        (
            patient_view(column("active", tag=[{"name": "ansi/type", "value": "DATE"}])),
            "select[0].column[0].tag[0].value: found 'DATE' for a path to boolean; allowed: a SQL type",
        ),
        (
            patient_view(column("id", tag=[{"name": "ansi/type", "value": "BLOB"}])),
            "select[0].column[0].tag[0].value: found 'BLOB'; allowed: BIGINT, BINARY",
        ),
        (patient_view(column("id"), where=[{"path": "gender"}]), "where[0].path (gender): found a condition of type"),
        (
            patient_view(column("id"), constant=[{"name": "k", "valueCode": 1}]),
            "constant[0]: found 1; allowed: a JSON value of type code",
        ),
        (
            patient_view(column("id"), constant=[{"name": "k"}]),
            "constant[0]: found no value; allowed: one of valueBase64Binary",
        ),
        (
            patient_view(column("id"), constant=[{"name": "k", "valueDate": "2020-13"}]),
            "constant[0]: found '2020-13'; allowed: a JSON value of type date",
        ),
        (patient_view(column("id"), constant=[CONSTANT, CONSTANT]), "constant[1].name: found 'k'; allowed: a name"),
        (
            patient_view({"repeat": ["link", "$this"], **column("id")}),
            "select[0].repeat[1] ($this): found a path to Patient; allowed: a path to Patient.link",
        ),
        (
            patient_view({"repeat": ["lnk"], **column("id")}),
            "select[0].repeat[0] (lnk): found 'lnk', which Patient does not have; allowed: id",
        ),
    ],
)
def test_a_wrong_view_is_said_with_what_is_allowed(view: dict[str, Any], message: str) -> None:
    with pytest.raises(ViewError) as caught:
        compile_view(view)
    assert str(caught.value).startswith(message)


def test_what_json_says_beside_a_value_is_no_unknown_element() -> None:
    """FHIR's JSON has an element's id and extensions under its name with an underscore."""
    view = patient_view({"column": [{"name": "c", "path": "%k", "_path": {"id": "p"}}]}, _status={"id": "s"})
    view["constant"] = [{"name": "k", "valueCode": "a", "_valueCode": {"id": "c"}}]
    assert compile_view(view) == compile_view(patient_view(column("%k"), constant=[CONSTANT]))


@pytest.mark.parametrize(
    ("path", "others", "sql_type"),
    [
        ("active", {}, "BOOLEAN"),
        ("multipleBirth.ofType(integer)", {}, "INTEGER"),
        ("multipleBirth.ofType(integer)", {"type": "decimal"}, "DECIMAL(38,18)"),
        ("birthDate", {}, "VARCHAR"),
        ("birthDate", {"tag": [{"name": "ansi/type", "value": "date"}]}, "DATE"),
        ("id", {"tag": [{"name": "ansi/type", "value": "character varying(64)"}]}, "VARCHAR"),
        ("1 / 2", {"tag": [{"name": "ansi/type", "value": "NUMERIC (10, 2)"}]}, "DECIMAL(10,2)"),
        ("maritalStatus", {"type": "http://hl7.org/fhir/StructureDefinition/CodeableConcept"}, None),
        ("contact", {"type": "Patient.contact"}, None),
        ("contact", {"type": "BackboneElement"}, None),
    ],
)
def test_a_column_has_the_type_of_its_path_its_declaration_or_its_tag(
    path: str, others: dict[str, Any], sql_type: str | None
) -> None:
    [compiled] = compile_view(patient_view(column(path, **others))).select.columns_in_order()
    assert compiled.sql_type == sql_type
