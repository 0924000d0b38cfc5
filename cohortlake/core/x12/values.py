"""X12 text to FHIR: dates and ranges, amounts, codes with their systems (data elements 1250, 1251, 782, 235, 1270)."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.x12.run import Run

CPT, HCPCS = "http://www.ama-assn.org/go/cpt", "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
ICD_10, ICD_9 = "http://hl7.org/fhir/sid/icd-10-cm", "http://hl7.org/fhir/sid/icd-9-cm"
# Category I codes have five digits, II and III end in F and T, laboratory ones in U, administrative ones in A or M.
CPT_CODE = re.compile(r"\d{4}[0-9AFMTU]")
# A modifier of HCPCS level II begins with a letter; those of CPT are two digits or a performance measure's.
CPT_MODIFIER = re.compile(r"\d\d|[1-8]P|P[1-6]")


def first_of(text: str) -> str:
    return text.split("-")[0]


def last_of(text: str) -> str:
    first, _, last = text.partition("-")
    return last or first


def _end(text: str) -> str:
    return text.partition("-")[2]


def _day(text: str) -> str:
    """A date, or a range that is one day; nothing for a longer range."""
    first, _, last = text.partition("-")
    return first if last in ("", first) else ""


def _start(text: str) -> str:
    """The first day of a range that is longer than one."""
    return "" if _day(text) else first_of(text)


def _stop(text: str) -> str:
    return "" if _day(text) else last_of(text)


def _key(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", text.upper()) or text


def _icd(text: str) -> str:
    """An ICD-10-CM code with the point that X12 leaves out."""
    code = text.upper()
    return f"{code[:3]}.{code[3:]}" if len(code) > 3 and "." not in code else code


def _icd_9(text: str) -> str:
    code = text.upper()
    head = 4 if code.startswith("E") else 3
    return f"{code[:head]}.{code[head:]}" if len(code) > head and "." not in code else code


def _minus(text: str) -> str:
    return text[1:] if text.startswith("-") else f"-{text}"


# What `| name` does to a text before it is converted to the element's type.
TEXTS: dict[str, Callable[[str], str]] = {
    "day": _day,
    "start": _start,
    "stop": _stop,
    "first": first_of,
    "last": last_of,
    "end": _end,
    "key": _key,
    "icd10": _icd,
    "icd9": _icd_9,
    "minus": _minus,
    "cpt": lambda text: text if CPT_CODE.fullmatch(text) else "",
    "hcpcs": lambda text: "" if CPT_CODE.fullmatch(text) else text,
    "cpt_modifier": lambda text: text if CPT_MODIFIER.fullmatch(text) else "",
    "hcpcs_modifier": lambda text: "" if CPT_MODIFIER.fullmatch(text) else text,
}


def money(text: str, run: Run) -> dict[str, Any] | None:
    """An amount with its digits; None for what is no number."""
    value = convert(text, "decimal", run.clock)
    return {"value": value, "currency": run.variables.get("currency", "USD")} if isinstance(value, Decimal) else None
