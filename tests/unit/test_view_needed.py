"""Which elements a view touches."""

from __future__ import annotations

from typing import Any

import pytest

from cohortlake.core.errors import ViewError
from cohortlake.core.views import compile_view
from cohortlake.core.views.describe import reads
from cohortlake.core.views.needed import Needed, needed


def touched(resource: str, *selects: dict[str, Any], depth: int = 2, **others: Any) -> Needed:
    return needed(compile_view({"resource": resource, "select": list(selects), **others}), depth=depth)


def columns(**paths: str) -> dict[str, Any]:
    return {"column": [{"name": name, "path": path} for name, path in paths.items()]}


def whole(name: str, path: str, fhir_type: str) -> dict[str, Any]:
    return {"column": [{"name": name, "path": path, "type": fhir_type, "collection": True}]}


@pytest.mark.parametrize(
    ("path", "tree"),
    [
        ("id", ["id string"]),
        ("getResourceKey()", ["id string"]),
        ("'a'", []),
        ("name.given.first()", ["name HumanName[]", "  given string[]"]),
        ("name.where(use = 'official').family.first()", ["name HumanName[]", "  use code", "  family string"]),
        # What is only asked to be there needs no children.
        ("contact.exists()", ["contact Patient.contact[]"]),
        ("contact.exists(gender = 'male')", ["contact Patient.contact[]", "  gender code"]),
        ("deceased.exists()", ["deceasedBoolean boolean", "deceasedDateTime dateTime"]),
        ("managingOrganization.getReferenceKey()", ["managingOrganization Reference", "  reference string"]),
        ("name[multipleBirth.ofType(integer)].use", ["name HumanName[]", "  use code", "multipleBirthInteger integer"]),
        (
            "birthDate.extension('u').value.ofType(dateTime)",
            ["_birthDate Element", "  extension Extension[]", "    url uri", "    valueDateTime dateTime"],
        ),
        # Both values of a condition, and what it asks.
        (
            "iif(active, name.first().family, name.where(use = 'official').text.first())",
            ["active boolean", "name HumanName[]", "  use code", "  text string", "  family string"],
        ),
        (
            "maritalStatus.iif(coding.exists(), text)",
            ["maritalStatus CodeableConcept", "  coding Coding[]", "  text string"],
        ),
        (
            "contained.ofType(Organization).name.first()",
            ["contained Resource[]", "  name string", "  resourceType code"],
        ),
    ],
)
def test_a_path_touches_its_elements(path: str, tree: list[str]) -> None:
    assert list(reads(touched("Patient", columns(c=path)).tree)) == tree


def test_a_complex_column_brings_the_children_that_silver_gives_its_type() -> None:
    found = touched("Patient", whole("a", "generalPractitioner", "Reference"), whole("b", "contact.period", "Period"))
    assert list(reads(found.tree)) == [
        "contact Patient.contact[]",
        "  period Period",
        "    start dateTime",
        "    end dateTime",
        "generalPractitioner Reference[]",
        "  reference string",
        "  type uri",
        "  identifier Identifier",
        "    system uri",
        "    value string",
        "  display string",
    ]


def test_an_inline_type_inside_itself_is_not_typed_again() -> None:
    tree = touched("QuestionnaireResponse", whole("a", "item", "QuestionnaireResponse.item")).tree
    item = tree.children["item"]
    assert {"linkId", "text", "answer", "item"} <= set(item.children)
    assert item.children["item"].children == {}


def test_repeat_touches_its_levels_and_whether_there_is_another_below() -> None:
    items = {"repeat": ["item", "answer.item"], **columns(link="linkId")}
    assert list(reads(touched("QuestionnaireResponse", items, depth=2).tree)) == [
        "item QuestionnaireResponse.item[]",
        "  linkId string",
        "  answer QuestionnaireResponse.item.answer[]",
        "    item QuestionnaireResponse.item[]",
        "      linkId string",
        "      answer QuestionnaireResponse.item.answer[]",
        "        item QuestionnaireResponse.item[]",
        "      item QuestionnaireResponse.item[]",
        "  item QuestionnaireResponse.item[]",
        "    linkId string",
        "    answer QuestionnaireResponse.item.answer[]",
        "      item QuestionnaireResponse.item[]",
        "    item QuestionnaireResponse.item[]",
    ]


def test_every_part_of_a_view_counts() -> None:
    nested = {"forEach": "contact", "select": [columns(a="gender")], "unionAll": [columns(b="name.text")]}
    found = touched("Patient", nested, where=[{"path": "active"}])
    assert list(reads(found.tree)) == [
        "active boolean",
        "contact Patient.contact[]",
        "  name HumanName",
        "    text string",
        "  gender code",
    ]
    assert found.places[("active",)] == "where[0].path (active)"
    assert found.places[("contact", "gender")] == "select[0].select[0].column[0].path (gender)"
    assert found.places[("contact",)] == "select[0].forEach (contact)"


def test_decimals_of_which_the_written_form_matters_are_named() -> None:
    paths = columns(a="value.ofType(Quantity).value.lowBoundary()", b="component.value.ofType(Quantity).value.first()")
    found = touched("Observation", paths)
    assert found.as_written == {("valueQuantity", "value")}


def test_one_element_as_two_types_is_refused_with_both_places() -> None:
    paths = columns(a="contained.ofType(Patient).name.text.first()", b="contained.ofType(Organization).name.first()")
    with pytest.raises(ViewError) as caught:
        touched("Patient", paths)
    assert str(caught.value) == (
        "select[0].column[1].path (contained.ofType(Organization).name.first()): found contained.name as string; "
        "allowed: HumanName, as in select[0].column[0].path (contained.ofType(Patient).name.text.first())"
    )
