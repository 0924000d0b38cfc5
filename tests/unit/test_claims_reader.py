"""Delimited claims to records: any line ends, quotes, widths; nothing lost, nothing raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.claims import cpcds, rif
from cohortlake.core.claims.declared import load_claims
from cohortlake.core.claims.layout import NoLayoutError, layout_of
from cohortlake.core.convert import Options, Record, guess_format
from cohortlake.core.readers.delimited import NotATableError, read

PDE = "PDE_ID|BENE_ID|SRVC_DT|PROD_SRVC_ID|QTY_DSPNSD_NUM|DAYS_SUPLY_NUM"
CARRIER = "|".join(
    (
        *("BENE_ID", "CLM_ID", "NCH_WKLY_PROC_DT", "LINE_NUM", "PRF_PHYSN_NPI"),
        *("CARR_LINE_MTUS_CNT", "CARR_LINE_PRVDR_TYPE_CD", "CARR_PRFRNG_PIN_NUM"),
    )
)
LINES = ["-1|-7|01-Jan-2021|1|1|1|0|", "-2|-8|01-Jan-2021|1|1|1|0|", "-1|-7|01-Jan-2021|2|1|1|0|"]


def rows(data: bytes) -> list[tuple[int, int, bytes]]:
    table = read(data)
    assert table is not None
    return [(row.offset, row.line, row.raw) for row in table.rows(data)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_row_keeps_its_place_whatever_the_line_ends(end: bytes):
    data = end.join([b"A|B", b"1|2", b"", b"3|4"])
    found = rows(data)
    assert [raw.strip() for _, _, raw in found] == [b"1|2", b"3|4"]
    assert [line for _, line, _ in found] == [2, 4]
    assert all(data[offset:].startswith(raw) for offset, _, raw in found)


def test_a_byte_order_mark_is_no_part_of_the_first_column():
    table = read(b"\xef\xbb\xbfBENE_ID|CLM_ID\n")
    assert table is not None
    assert table.columns == ("BENE_ID", "CLM_ID")


def test_utf_16_says_what_is_expected():
    with pytest.raises(NotATableError, match="UTF-8 is expected"):
        read("BENE_ID|CLM_ID\n".encode("utf-16"))


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('"a,b",c', [["a,b", "c"]]),
        ('"a\nb",c\n1,2', [["a\nb", "c"], ["1", "2"]]),
        ('"say ""no""",c', [['say "no"', "c"]]),
        ('5" dressing,c\n1,2', [['5" dressing', "c"], ["1", "2"]]),
        ("a\\,b,c", [["a,b", "c"]]),
        ("a\\b,c\x00\x00", [["a\\b", "c"]]),
        ('"open,c\n1,2\n3,4', [['"open', "c"], ["1", "2"], ["3", "4"]]),
    ],
)
def test_quotes(text: str, cells: list[list[str]]):
    data = f"A,B\n{text}".encode()
    table = read(data)
    assert table is not None
    assert [row.cells(",", 2) for row in table.rows(data)] == cells


def test_lines_of_a_claim_need_not_be_adjacent():
    data = "\n".join([CARRIER, *LINES]).encode()
    found = list(rif.records(data))
    assert [record.payload.decode().splitlines() for record in found] == [
        [CARRIER, LINES[0], LINES[2]],
        [CARRIER, LINES[1]],
    ]
    assert [record.offset for record in found] == [data.index(line.encode()) for line in LINES[:2]]


def test_the_order_of_claims_and_the_line_ends_change_no_resource():
    one = [rif.to_fhir(record).resources for record in rif.records("\n".join([CARRIER, *LINES]).encode())]
    other = list(rif.records("\r\n".join([CARRIER, LINES[1], LINES[0], LINES[2]]).encode()))
    assert [rif.to_fhir(record).resources for record in reversed(other)] == one


def test_the_order_of_a_claims_lines_changes_no_resource():
    one, other = (
        [rif.to_fhir(record).resources for record in rif.records("\n".join([CARRIER, *lines]).encode())]
        for lines in ([LINES[0], LINES[2]], [LINES[2], LINES[0]])
    )
    assert one == other
    assert [item["sequence"] for r in one[0] for item in r.get("item", ())] == [1, 2]


def test_a_version_of_a_claim_is_a_record_of_its_own():
    later = LINES[0].replace("01-Jan", "08-Jan")
    found = list(rif.records("\n".join([CARRIER, LINES[0], later]).encode()))
    ids = [[r["id"] for r in rif.to_fhir(record).resources if r["resourceType"] != "Coverage"] for record in found]
    assert len(found) == 2
    assert ids[0] == ids[1]


def test_a_line_sent_twice_counts_once():
    [record] = rif.records("\n".join([CARRIER, LINES[0], LINES[0]]).encode())
    made = rif.to_fhir(record)
    [claim] = [r for r in made.resources if r["resourceType"] == "ExplanationOfBenefit"]
    assert len(claim["item"]) == 1
    assert [p.reason for p in made.problems if "twice" in p.reason] == ["a line that is there twice counts once"]


def test_a_row_of_the_wrong_width_holds_back_its_claim_and_no_other():
    data = "\n".join([CARRIER, LINES[0], LINES[1], "-1|-7|01-Jan-2021|2|1"]).encode()
    bad, good = rif.records(data)
    assert bad.problem is not None
    assert bad.problem.reason == "a row that is not as it should be: 5 fields where the header has 8"
    assert bad.problem.place == "line 4"
    assert len(bad.payload.splitlines()) == 3
    assert good.problem is None
    again = rif.to_fhir(Record(0, bad.payload))
    assert again.error is not None
    assert not again.resources


def test_a_row_without_an_id_is_quarantined_by_itself():
    found = list(
        rif.records("\n".join([CARRIER, LINES[0], "-1||01-Jan-2021|2|1|1|0|", "-1||01-Jan-2021|3|1|1|0|"]).encode())
    )
    assert [record.problem and record.problem.reason for record in found] == [
        None,
        "CLM_ID is empty",
        "CLM_ID is empty",
    ]


def test_bytes_that_are_not_utf_8_harm_their_own_row():
    data = "\n".join([PDE, "1|2|01-Jan-2021|00000000001|1|1"]).encode() + b"\n3|4|01-Jan-2021|\xff|1|1\n"
    found = list(rif.records(data))
    assert [record.problem and record.problem.reason for record in found] == [
        None,
        "a row that is not as it should be: not UTF-8",
    ]


def test_a_missing_column_is_named():
    [record] = rif.records(PDE.replace("BENE_ID|", "").encode() + b"\n1|01-Jan-2021|1|1|1\n")
    assert record.problem is not None
    assert record.problem.reason == "the column BENE_ID is missing"


def test_a_required_column_without_a_value_is_named():
    [record] = rif.records(f"{PDE}\n1||01-Jan-2021|1|1|1\n".encode())
    error = rif.to_fhir(record).error
    assert error is not None
    assert error.reason == "BENE_ID is empty"


def test_the_kind_is_known_by_the_header_whatever_case_and_order():
    declared = load_claims("cpcds")
    names = ("COVERAGE_STATUS", "coverage id", "Member-ID", "subscriber_id", "Coverage Type", "group id")
    assert layout_of(names, declared).kind.name == "coverages"
    with pytest.raises(NoLayoutError, match="no kind of file"):
        layout_of(("a", "b"), declared)


def test_a_file_is_recognised_by_a_header_that_is_cut_off():
    header = "|".join(f"{name}{n}" for name in ("ICD_DGNS_CD", "ICD_PRCDR_CD", "PRCDR_DT") for n in range(1, 26))
    assert guess_format(header.encode()) == "rif"
    assert guess_format("|".join(f"PTD_CNTRCT_{month}_ID" for month in ("JAN", "FEB", "MAR")).encode()) == "rif"
    assert guess_format(("A|B|C|" * 500).encode()) is None
    assert guess_format(b"Member id,Date of birth,Gender code\n1,2000-01-01,F\n") == "cpcds"
    assert guess_format(b"a,b,c\n1,2,3\n") is None
    assert guess_format(b"Id,NAME,ADDRESS,CITY,STATE,ZIP,LAT,LON,PHONE,REVENUE,UTILIZATION\n") is None


HEADERS = [
    PDE,
    CARRIER,
    "BENE_ID|RFRNC_YR|BENE_BIRTH_DT|BENE_SEX_IDENT_CD|BENE_RACE_CD|A_MO_CNT|MDCR_ENTLMT_BUYIN_1_IND",
    "Claim unique identifier,Claim type,Line number,Claim service start date,Claim total submitted amount,Days supply",
]
BYTES = st.binary(max_size=40) | st.sampled_from(
    [b"|", b",", b'"', b"\n", b"\r", b"\xff", b"\x00", b"-1|", b"1,", b"\t"]
)


@given(st.sampled_from([rif, cpcds]), st.sampled_from(HEADERS), st.lists(BYTES, max_size=30), st.booleans())
def test_nothing_raises_and_every_line_is_in_one_record(fmt, header, parts, is_table):
    body = b"".join(parts)
    data = header.encode() + b"\n" + body if is_table else body
    fmt.looks_like(data[:1024])
    found = list(fmt.records(data))
    for record in found:
        made = fmt.to_fhir(record, Options())
        assert made.error is None or not made.resources
        fmt.to_fhir(Record(0, record.payload))
    if is_table and all(r.problem is None or r.problem.place.startswith("line") for r in found):
        table = read(data)
        assert table is not None
        given_rows = sorted(row.raw.strip() for row in table.rows(data))
        held = [row for record in found for row in read(record.payload).rows(record.payload)]  # type: ignore[union-attr]
        assert sorted(row.raw.strip() for row in held) == given_rows


@given(st.lists(st.lists(st.text(max_size=12), min_size=6, max_size=6), min_size=1, max_size=5))
def test_any_text_in_any_field_converts(cells):
    rows = "\n".join("|".join(c.replace("|", " ").replace("\n", " ").replace("\r", " ") for c in row) for row in cells)
    for record in rif.records(f"{PDE}\n{rows}".encode(errors="replace")):
        rif.to_fhir(record)
