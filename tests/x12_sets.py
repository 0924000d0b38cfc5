"""X12 sets for tests: the examples beside the integration tests, changed segment by segment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cohortlake.core.convert import Converted
from cohortlake.core.readers.x12 import records
from cohortlake.core.x12 import to_fhir

# A FHIR resource, or a part of one.
Resource = dict[str, Any]
EXAMPLES = Path(__file__).parent / "integration/x12"


def example(name: str) -> list[str]:
    """The segments of the first interchange of an example."""
    return (EXAMPLES / name).read_text(encoding="utf-8").replace("\n", "").removesuffix("~").split("~")


def only_first_set(lines: list[str]) -> list[str]:
    """An interchange with its first set alone."""
    end = next(at for at, line in enumerate(lines) if line.startswith("SE*"))
    return [*lines[: end + 1], "GE*1*" + lines[1].split("*")[6], lines[-1]]


def converted(lines: list[str], is_counted: bool = True) -> Converted:
    """A set as it lands; SE-01 is made right."""
    start = next(at for at, line in enumerate(lines) if line.startswith("ST*"))
    end = next(at for at, line in enumerate(lines) if line.startswith("SE*"))
    if is_counted:
        lines = [*lines[:end], f"SE*{end - start + 1}*{lines[end].split('*')[2]}", *lines[end + 1 :]]
    (record,) = records(("~".join(lines) + "~").encode())
    return to_fhir(record)


def errors(result: Converted) -> list[tuple[str, str]]:
    """Reasons and places of the errors."""
    return [(problem.reason, problem.place) for problem in result.problems if problem.severity == "error"]


def warnings(result: Converted) -> list[tuple[str, str]]:
    """Reasons and places of the warnings."""
    return [(problem.reason, problem.place) for problem in result.problems if problem.severity == "warning"]


def sets(name: str, **replaced: str) -> list[Converted]:
    """What the sets of an example become, texts replaced."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in replaced.items():
        text = text.replace(old, new)
    return [to_fhir(record) for record in records(text.encode())]


def resources(results: list[Converted], kind: str) -> list[Resource]:
    """The resources of a type."""
    return [r for result in results for r in result.resources if r["resourceType"] == kind]


def codes(concept: Resource) -> list[str]:
    """The codes of a CodeableConcept."""
    return [coding["code"] for coding in concept["coding"]]


def claim(name: str, number: str) -> Resource:
    """The claim with a number."""
    return next(r for r in resources(sets(name), "Claim") if r["identifier"][0]["value"] == number)


def info(resource: Resource, code: str) -> list[Resource]:
    """The supporting information of a category."""
    return [i for i in resource["supportingInfo"] if code in codes(i["category"])]
