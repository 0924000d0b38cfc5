"""X12 files cut into transaction sets: delimiters, several interchanges, envelopes that are broken; nothing raises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortlake.core.convert import Record, guess_format
from cohortlake.core.readers.x12 import looks_like, parse, records
from cohortlake.core.readers.x12_text import Delimiters, header_of

ISA = "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *250101*1200*^*00501*000000001*0*P*:~"
GS = "GS*HC*SENDER*RECEIVER*20250101*1200*7*X*005010X222A1~"
SET = "ST*837*0001*005010X222A1~BHT*0019*00*1*20250101*1200*CH~SE*3*0001~"
ENDS = "GE*1*7~IEA*1*000000001~"
WHOLE = ISA + GS + SET + ENDS


def cut(text: str) -> list[Record]:
    return list(records(text.encode()))


def reasons(text: str) -> list[str | None]:
    return [record.problem and record.problem.reason for record in cut(text)]


def test_a_record_can_be_read_alone():
    (record,) = cut(WHOLE)
    assert (record.offset, record.problem, record.payload.decode()) == (len(ISA + GS), None, WHOLE)
    found = parse(record.payload)
    assert (found.kind, found.guide, found.isa.text(6)) == ("837", "005010X222A1", "SENDER")
    assert [segment.name for segment in found.body] == ["ST", "BHT", "SE"]


@pytest.mark.parametrize("between", ["", "\n", "\r\n", "\r\n\r\n", "  "])
def test_line_ends_and_blanks_between_segments_are_no_part_of_them(between):
    text = WHOLE.replace("~", "~" + between)
    assert reasons(text) == [None]
    assert parse(cut(text)[0].payload).body[1].text(4) == "20250101"


@pytest.mark.parametrize(
    ("element", "component", "repetition", "segment"),
    [("~", "^", "U", "_"), ("|", ">", "!", "\n"), ("\x1d", "\x1f", "\x1e", "\x1c"), ("*", ":", "^", "\r")],
)
def test_any_delimiters(element, component, repetition, segment):
    text = WHOLE.translate(str.maketrans({"*": element, ":": component, "^": repetition, "~": segment}))
    (record,) = cut(text)
    assert record.problem is None
    marks = parse(record.payload).marks
    assert marks == Delimiters(element, component, "" if repetition == "U" else repetition, segment)
    assert guess_format(text.encode()) == "x12"


def test_several_interchanges_groups_and_sets():
    second = SET.replace("0001", "0002")
    group = GS + SET + second + "GE*2*7~"
    text = ISA + group + group + "IEA*2*000000001~" + "\n" + WHOLE
    assert reasons(text) == [None] * 5
    assert [parse(record.payload).body[0].text(2) for record in cut(text)] == ["0001", "0002", "0001", "0002", "0001"]
    assert [text[record.offset :][:3] for record in cut(text)] == ["ST*"] * 5


BROKEN = [
    # what came, the reason of each record
    (WHOLE.replace("SE*3*0001~", ""), ["the set has no SE: cut off?"]),
    (WHOLE[: WHOLE.index("SE*3")], ["the set has no SE: cut off?"]),
    (ISA + GS + SET.replace("SE*3*0001~", "") + SET + ENDS, ["the set has no SE: cut off?", None, "GE-01 counts"]),
    (GS + SET + ENDS, ["there is no ISA"]),
    (SET, ["there is no ISA"]),
    (WHOLE.replace("SENDER         ", "SENDER        "), ["ISA06 has another width"]),
    (WHOLE.replace("*:~GS", "*:AGS", 1), ["ISA declares delimiters"]),
    (WHOLE.replace("GE*1*7", "GE*2*7"), [None, "GE-01 counts"]),
    (WHOLE.replace("IEA*1", "IEA*4"), [None, "IEA-01 counts"]),
    (ISA + GS + "N3*STRAY~N4*STRAY~" + SET + ENDS, ["segments stand outside", None]),
    (WHOLE + "SOMETHING ELSE", [None, "segments stand outside"]),
    (ISA + GS + SET + "SE*3*0001~" + ENDS, [None, "SE ends what nothing began"]),
    (WHOLE[:-8] + "\n" + WHOLE, [None, None, "IEA-01"][:2]),
    ("", []),
    ("\n \n", []),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_what_is_broken_is_told_and_what_follows_is_read(text, expected):
    found = reasons(text)
    assert len(found) == len(expected)
    for reason, start in zip(found, expected, strict=True):
        assert (reason is None) == (start is None)
        assert start is None or (reason and reason.startswith(start))


def test_an_interchange_that_is_cut_off_within_a_segment_ends_where_the_next_begins():
    found = cut(WHOLE[:150] + "\n" + WHOLE)
    assert [record.problem is None for record in found] == [False, True]
    assert found[1].payload.decode() == WHOLE


def test_a_byte_order_mark_is_no_part_of_the_isa_and_utf_16_is_told():
    assert cut("\ufeff" + WHOLE)[0].problem is None
    (record,) = records(WHOLE.encode("utf-16"))
    assert record.problem
    assert "UTF-16" in record.problem.reason


def test_text_is_utf_8_else_windows_1252():
    named = WHOLE.replace("BHT*0019*00*1", "BHT*0019*00*é")
    assert parse(next(records(named.encode())).payload).body[1].text(3) == "é"
    found = parse(next(records(named.encode("cp1252"))).payload)
    assert (found.body[1].text(3), found.is_utf8) == ("é", False)


def test_an_element_has_components_and_repetitions_and_a_place():
    segment = parse(cut(WHOLE.replace("BHT*0019", "HI*A:B^C:D::E*0019"))[0].payload).body[1]
    assert segment.repetitions(1) == [("A", "B"), ("C", "D", "", "E")]
    assert (segment.text(2), segment.text(99), segment.text(1, 9)) == ("0019", "", "")
    assert segment.at(1, 2) == "HI[1]-01.2, segment 2 of the set"


@pytest.mark.parametrize("head", [b"ISA|00", b"\xef\xbb\xbf\r\nISA*00", b"GS*HC*", b"ST*837*0001"])
def test_it_is_known_by_its_head(head):
    assert looks_like(head)


@pytest.mark.parametrize("head", [b"ISAAC", b"MSH|^~\\&|", b"<ClinicalDocument", b"GS", b"", b"STATE,ZIP"])
def test_others_are_not_taken_for_it(head):
    assert not looks_like(head)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_a_header_of_anything_is_read(text):
    assert header_of("ISA" + text).delimiters.element


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([ISA, GS, "ST*837*1~", "SE*2*1~", "GE*1*7~", "IEA*1*1~", "TA1*1~", "\n", "~", "N1*é~"]))
)
def test_every_segment_of_any_order_of_envelopes_is_in_a_record(parts):
    numbered = [f"N1*{at}é~" if part == "N1*é~" else part for at, part in enumerate(parts)]
    found = cut(ISA + "".join(numbered))
    kept = b"\n".join(record.payload for record in found).decode()
    assert [part for part in numbered if part.startswith("N1*") and part[:-1] not in kept] == []
    assert kept.count("ST*") == parts.count("ST*837*1~")
    for record in found:
        parse(record.payload)
