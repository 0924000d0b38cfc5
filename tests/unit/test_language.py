"""The mapping language, whatever the format: over a source of the simplest kind, whose records are dicts of lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from cohortlake.core.catalog.mapping import CodeMap, Target
from cohortlake.core.convert import UnknownCodes
from cohortlake.core.errors import CatalogError
from cohortlake.core.language.compiler import Compiler, split
from cohortlake.core.language.parts import ALWAYS, CONSTANT, Each, Test
from cohortlake.core.language.source import Leaf, Source, Turn

STATUS = CodeMap(name="status", source="urn:sent", target="urn:known", version="1", codes={"F": Target(code="final")})
FIXED = STATUS.model_copy(update={"name": "fixed", "unmapped": Target(code="unknown")})


@dataclass
class Run:
    codes: UnknownCodes = field(default_factory=UnknownCodes)
    unmapped: Counter[str] = field(default_factory=Counter)
    warned: list[str] = field(default_factory=list)
    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)

    def warn(self, reason: str, place: str) -> None:
        self.warned.append(f"{reason}: {place}")

    def leave(self, name: str, count: int) -> None:
        self.unmapped[name] += count


@dataclass
class Scope:
    run: Run
    record: dict[str, list[str]]
    value: str = ""
    held: int = ALWAYS | CONSTANT


class Lists(Source):
    """`NAME` is every value under a name, `.` the value at hand; a condition is a name, or `NAME=value`."""

    name = "lists"
    directives = {}
    expressions = {"either": "a, b"}

    def leaf(self, text: str, *, for_target: bool = False) -> Leaf:
        if text[:1] == "'":
            return Leaf(lambda scope: [(text[1:-1], "")])
        if not text.isidentifier() and text != ".":
            raise ValueError(f"{text!r} is no name")
        read = (lambda scope: [scope.value]) if text == "." else (lambda scope: scope.record.get(text, []))
        return Leaf(lambda scope: [(value, text) for value in read(scope)])

    def test(self, text: str) -> Test:
        name, _, value = text.partition("=")
        return lambda scope: value in scope.record.get(name, []) if value else bool(scope.record.get(name))

    def each(self, text: str) -> Each:
        return Each(
            lambda scope: [Scope(scope.run, scope.record, value) for value in scope.record.get(text, [])], ALWAYS
        )

    def turn(self, name: str, argument: str, kind: str) -> Turn | None:
        return None if name or kind[0].isupper() else lambda value, place, scope: [self.convert(value, kind, scope)]

    def codes_of(self, value: str) -> list[str]:
        return [value]

    def convert(self, text: str, kind: str, scope: Any) -> Any:
        return int(text) if kind == "positiveInt" else text


def fail(at: tuple[Any, ...], reason: str) -> CatalogError:
    return CatalogError(f"{'.'.join(map(str, at))}: {reason}")


def made(template: dict[str, Any], kind: str = "Observation", **record: list[str]) -> tuple[Any, Run]:
    compiler = Compiler(kind, Lists(), {"status": STATUS, "fixed": FIXED}, fail)
    part, run = compiler.object(template, kind, ("elements",)), Run()
    assert part is not None
    values, _ = part.make(Scope(run, record))
    return (values[0] if values else None), run


@pytest.mark.parametrize(
    ("written", "made_of", "counted"),
    [
        ("=a | status", {"coding": [{"system": "urn:sent", "code": "X"}]}, 1),
        ("=a | status only", None, 1),
        ("=a | status quietly", None, 0),
        ("=a | status quietly, a | status only, 'x' | status", {"coding": [{"system": "urn:sent", "code": "x"}]}, 2),
        ("=a | fixed", {"coding": [{"system": "urn:known", "code": "unknown"}]}, 1),
        ("=b | status", {"coding": [{"system": "urn:known", "code": "final"}]}, 0),
        ("=gone | status, b | status", {"coding": [{"system": "urn:known", "code": "final"}]}, 0),
    ],
)
def test_a_code_that_a_map_lacks(written: str, made_of: Any, counted: int) -> None:
    found, run = made({"code": written}, a=["X"], b=["F"])
    assert (found or {}).get("code") == made_of
    assert run.codes.total() == counted


def test_constants_that_a_condition_chose_count_as_said() -> None:
    coding = {"system": "urn:x", "code": "y"}
    template = {"category": [{"coding": [{"$when": "a=X", **coding}]}], "code": {"text": "=a"}}
    assert made(template, a=["X"])[0] == {"category": [{"coding": [coding]}], "code": {"text": "X"}}
    assert made(template, a=["Z"])[0] == {"code": {"text": "Z"}}


def test_an_object_of_constants_alone_is_left_out_with_what_it_stands_beside() -> None:
    assert made({"subject": {"type": "Patient", "display": "=gone"}, "status": "final"})[0] == {"status": "final"}
    assert made({"subject": {"type": "Patient", "display": "=a"}}, a=["Ann"])[0] == {
        "subject": {"type": "Patient", "display": "Ann"}
    }


def test_a_second_value_of_what_takes_one_is_counted_as_not_mapped() -> None:
    found, run = made({"issued": "=a", "note": [{"text": "=b"}]}, a=["1", "2", "1", "3"], b=["x", "y"])
    assert found == {"issued": "1", "note": [{"text": "x"}]}
    assert run.unmapped == {
        "Observation.issued: further repetitions": 2,
        "Observation.note.text: further repetitions": 1,
    }


def test_of_a_choice_the_first_that_gives_anything_stands() -> None:
    template = {"valueString": "=gone", "valueCode": "=a", "valueInteger": 3}
    with pytest.raises(CatalogError, match="no element 'valueCode'"):
        made(template)
    assert made({"valueString": "=gone", "valueDateTime": "=a", "valueInteger": 3}, a=["2020"])[0] == {
        "valueDateTime": "2020"
    }


def test_lists_say_a_thing_once_and_amounts_as_often_as_they_are_told() -> None:
    assert made({"category": [{"text": "=a"}, {"text": "=b"}]}, a=["x"], b=["x"])[0] == {"category": [{"text": "x"}]}
    total = {"$when": "a", "category": {"text": "=a"}, "amount": {"currency": "USD"}}
    found, _ = made({"total": [total, total]}, "ExplanationOfBenefit", a=["x"])
    assert len(found["total"]) == 2


def test_entries_are_numbered_and_pointed_at() -> None:
    member = {"$each": "doctors", "$by": ["careTeam", "=."], "provider": {"display": "=."}}
    item = {"$value": {"careTeamSequence": ["=a | entry careTeam"], "productOrService": {"text": "=a"}}}
    found, _ = made({"careTeam": [member], "item": [item]}, "ExplanationOfBenefit", doctors=["A", "B", "A"], a=["B"])
    assert [(entry["provider"]["display"], entry["sequence"]) for entry in found["careTeam"]] == [("A", 1), ("B", 2)]
    assert found["item"][0]["careTeamSequence"] == [2]


def test_texts_are_joined_with_a_blank_or_what_is_said() -> None:
    assert made({"valueString": {"$join": ["=a", "=b"]}}, a=["x"], b=["y"])[0] == {"valueString": "x y"}
    assert made({"valueString": {"$join": ["=a", "=b"], "$with": ""}}, a=["x"], b=["y"])[0] == {"valueString": "xy"}


def test_an_expression_of_the_format_and_a_condition() -> None:
    assert made({"issued": "=$either"}, b=["2"])[0] == {"issued": "2"}
    assert made({"issued": "=$either if c, 'none'"}, b=["2"])[0] == {"issued": "none"}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"status": ["final"]}, "does not repeat"),
        ({"subject": "Ann"}, "a Reference takes its elements or an expression"),
        ({"subject": "=a"}, "a Reference takes its elements, a map or a turn"),
        ({"subject": "=a => Patient"}, "lists refers by `& Map`"),
        ({"status": {"$value": "=a", "$what": 1}}, r"\$what is not known"),
        ({"code": "=a | gone"}, "no map or turn 'gone'"),
        ({"code": "=a | status often"}, "`only` or `quietly`"),
        ({"issued": 3}, "3 is no instant"),
        ({"valueBoolean": "true"}, "'true' is no boolean"),
        ({"issued": "=a b"}, "'a b' is no name"),
        ({"issued": "=$gone"}, "no expression"),
        ({"kode": "=a"}, "Observation has no element 'kode'"),
    ],
)
def test_what_does_not_compile(template: dict[str, Any], said: str) -> None:
    with pytest.raises(CatalogError, match=said):
        made(template)


def test_marks_in_quotes_and_brackets_split_nothing() -> None:
    assert split("a[@x='1,2'], 'b, c', d", ",") == ["a[@x='1,2']", "'b, c'", "d"]
