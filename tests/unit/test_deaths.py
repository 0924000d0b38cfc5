"""A death reaches the patient's FHIR from every format; who is said nothing of has no word of it."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cohortlake.core.convert import Options, format_named

DATA = Path(__file__).parent.parent.parent / "data"


def patient(fmt: str, data: bytes) -> dict[str, Any]:
    """What a file's Patient says of a death."""
    module = format_named(fmt)
    made = [resource for record in module.records(data) for resource in module.to_fhir(record, Options()).resources]
    found = next(resource for resource in made if resource["resourceType"] == "Patient")
    return {name: value for name, value in found.items() if name.startswith("deceased")}


def row(path: Path, delimiter: str, **values: str) -> bytes:
    """The first row of a bundled file under its header, with values put in by column."""
    header, first, *_ = gzip.decompress(path.read_bytes()).decode().splitlines()
    names = header.split(delimiter)
    cells = dict(zip(names, first.split(delimiter), strict=True)) | values
    assert set(cells) == set(names)
    return f"{header}\n{delimiter.join(cells.values())}\n".encode()


def member(**values: str) -> bytes:
    return row(DATA / "site_c_ccda_cpcds/CPCDS_Members.csv.gz", ",", **values)


def beneficiary(**values: str) -> bytes:
    return row(DATA / "payer_d_bfd_rif/beneficiary_2025.csv.gz", "|", **values)


def document(told: str) -> bytes:
    """A bundled summary with something told after the birth time."""
    with zipfile.ZipFile(DATA / "site_c_ccda_cpcds/ccda.zip") as files:
        text = files.read(files.namelist()[0]).decode()
    at = text.index("/>", text.index("<birthTime")) + 2
    return (text[:at] + told + text[at:]).encode()


def message(when: str, is_dead: str) -> bytes:
    fields = ["PID", "1", "", "p1^^^H^MR", "", "Example^Ada", *[""] * 23, when, is_dead]
    lines = ["MSH|^~\\&|A|H|B|H|20240301120000||ADT^A08|m1|P|2.5.1", "EVN||20240301120000", "|".join(fields)]
    return "\r".join(lines).encode()


@pytest.mark.parametrize(
    ("fmt", "data", "told"),
    [
        ("cpcds", member(**{"Date of death": "2024-03-05"}), {"deceasedDateTime": "2024-03-05"}),
        ("cpcds", member(), {}),
        ("rif", beneficiary(DEATH_DT="05-Mar-2025"), {"deceasedDateTime": "2025-03-05"}),
        ("rif", beneficiary(), {}),
        ("ccda", document('<sdtc:deceasedInd value="true"/>'), {"deceasedBoolean": True}),
        (
            "ccda",
            document('<sdtc:deceasedInd value="true"/><sdtc:deceasedTime value="20240305"/>'),
            {"deceasedDateTime": "2024-03-05"},
        ),
        ("ccda", document('<sdtc:deceasedInd value="false"/>'), {"deceasedBoolean": False}),
        ("ccda", document(""), {}),
        ("hl7v2", message("20240305", "Y"), {"deceasedDateTime": "2024-03-05"}),
        ("hl7v2", message("", "Y"), {"deceasedBoolean": True}),
        ("hl7v2", message("", "N"), {"deceasedBoolean": False}),
        ("hl7v2", message("", ""), {}),
    ],
)
def test_a_death_is_told_as_the_source_tells_it(fmt: str, data: bytes, told: dict[str, Any]) -> None:
    assert patient(fmt, data) == told
