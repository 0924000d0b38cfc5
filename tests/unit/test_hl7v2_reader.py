"""HL7 v2 files cut into messages, messages into fields: every framing, every escape, and what is broken is told."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.readers.hl7v2 import NotAMessageError, parse
from cohortlake.core.readers.hl7v2_framing import records
from cohortlake.core.readers.hl7v2_text import Delimiters, escape, unescape

ONE = "MSH|^~\\&|ADT|SITE|||20250102||ADT^A01|1|P|2.5.1\rEVN|A01\rPID|1||77^^^SITE^MR\r"
TWO = "MSH|^~\\&|LIS|SITE|||20250103||ORU^R01|2|P|2.5.1\rPID|1||78^^^SITE^MR\rOBX|1|ST|x^y^L||ok\r"
BODIES = [text.encode().rstrip(b"\r") for text in (ONE, TWO)]


def segments(payload: bytes) -> list[list[str]]:
    return [segment.fields for segment in parse(payload).segments]


FRAMINGS = {
    "CR": ONE + TWO,
    "LF": (ONE + TWO).replace("\r", "\n"),
    "CRLF": (ONE + TWO).replace("\r", "\r\n"),
    "a blank line between": ONE + "\r\r" + TWO,
    "CR within, LF between": ONE + "\n" + TWO,
    "blank lines between segments": (ONE + TWO).replace("\r", "\n\n"),
    "a BOM": "\ufeff" + ONE + TWO,
    "batch": "FHS|^~\\&|A\rBHS|^~\\&|A\r" + ONE + TWO + "BTS|2\rFTS|1\r",
    "MLLP": f"\x0b{ONE}\x1c\r\x0b{TWO}\x1c\r",
    "MLLP, no CR after the frame": f"\x0b{ONE}\x1c\x0b{TWO}\x1c",
    "MLLP, a line break in the frame first": f"\x0b\r\n{ONE}\x1c\r\x0b\r\n{TWO}\x1c\r",
    "indented": (ONE + TWO).replace("\r", "\r  "),
    "no line end at the end": (ONE + TWO).rstrip("\r"),
    "blanks at the end": ONE + TWO + "  \r\n\r\n",
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_framing_does_not_change_the_messages(framing):
    data = FRAMINGS[framing].encode()
    found = list(records(data))
    assert [record.problem for record in found] == [None, None]
    assert [segments(record.payload) for record in found] == [segments(body) for body in BODIES]
    assert all(data[record.offset :].startswith(record.payload) for record in found)


BROKEN = [
    # file, reason of each record (None where it is good)
    ("PID|1||77", ["the message has no MSH"]),
    ("garbage\r" + ONE, ["the message has no MSH", None]),
    (ONE + "\r\rPID|1||79^^^SITE^MR\rPV1|1|I", [None, "the message has no MSH"]),
    ("MSH\rPID|1", ["MSH-1, the field separator, is missing"]),
    ("MSH||ADT\rPID|1", ["MSH-2, the encoding characters, are missing or not characters of their own"]),
    ("MSH|^^~\\|ADT", ["MSH-2, the encoding characters, are missing or not characters of their own"]),
    (f"\x0b{ONE}\x1c\r\x0b{TWO}", [None, "the MLLP frame has no end: cut off?"]),
    (f"\x0b\x1c\r\x0b{TWO}\x1c\r", [None]),
    (f"\x0bPID|1\x1c\r\x0b{TWO}\x1c\r", ["the message has no MSH", None]),
    (f"\x0b{ONE}\x1cleft over", [None, "bytes between messages: no MSH"]),
    ("BHS|^~\\&|A\r" + ONE + "BTS|2\r", [None, "BTS-1 counts other messages than came"]),
    ("BHS|^~\\&|A\r" + ONE, [None, "BHS without its BTS: cut off?"]),
    (ONE + "FTS|1\r", [None, "FTS ends what no FHS began"]),
    ("FHS|^~\\&\rBHS|^~\\&\r" + ONE + "BTS|1\rFTS|2\r", [None, "FTS-1 counts other batches than came"]),
]


@pytest.mark.parametrize(("text", "reasons"), BROKEN)
def test_what_is_broken_is_told_and_the_rest_stands(text, reasons):
    data = text.encode()
    found = list(records(data))
    assert [record.problem and record.problem.reason for record in found] == reasons
    assert all(data[record.offset :].startswith(record.payload) for record in found)


def test_utf16_is_one_problem():
    [record] = records(ONE.encode("utf-16"))
    assert record.problem is not None
    assert "UTF-16" in record.problem.reason


@given(st.binary(max_size=400), st.sampled_from([b"", b"MSH|^~\\&|", b"\x0bMSH|", BODIES[0] + b"\r"]))
def test_no_bytes_raise_and_none_are_lost(data, before):
    whole = before + data
    kept = b""
    for record in records(whole):
        assert whole[record.offset :].startswith(record.payload)
        kept += record.payload
        if record.problem is None:
            with suppress(NotAMessageError):
                parse(record.payload)
    framing = b"\x0b\x1c\r\n\t \xef\xbb\xbf"
    lost = [byte for byte in set(whole) - set(framing) if whole.count(byte) > kept.count(byte)]
    # Batch lines are kept by their counts alone.
    assert not lost or any(line in whole for line in (b"FHS", b"BHS", b"BTS", b"FTS"))


MARKS = [Delimiters(), Delimiters("#", "*", "+", "!", "%"), Delimiters("|", "^", "~", "\\", "")]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(MARKS))
def test_any_text_comes_back_from_its_escapes(text, marks):
    assert unescape(escape(text, marks), marks) == text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\u0085"), min_size=1))
def test_any_text_comes_back_from_a_field(text):
    marks = MARKS[1]
    message = parse(f"MSH#*+!%#A#B\rOBX#1#ST###{escape(text, marks)}".encode())
    values = message.segments[1].values(5)
    assert values == ([((text,),)] if text.strip() else [])


ESCAPES = [
    (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
    (r"line\.br\line", "line\nline"),
    (r"\.sp\x\.sp2\y\.ce\z", "\nx\ny\nz"),
    (r"\.in+4\x\.ti-2\y\.fi\z\.nf\ ", "xyz "),
    (r"\H\bold\N\ plain", "bold plain"),
    (r"\X41\\X C3\ ", r"A\X C3\ "),
    (r"\XC3A4\ ", "ä "),
    (r"\C2842\x\M242942\y", r"x\M242942\y"),
    (r"a\Zown\b", r"a\Zown\b"),
    ("C:\\temp\\", "C:\\temp\\"),
]


@pytest.mark.parametrize(("sent", "meant"), ESCAPES)
def test_escapes(sent, meant):
    assert unescape(sent, Delimiters()) == meant


def test_delete_is_not_empty_and_repetitions_components_and_subcomponents_are_apart():
    [pid] = parse(b'MSH|^~\\&|A\rPID|""||a&b^c~d||').segments[1:]
    assert pid.is_delete(1)
    assert not pid.is_delete(2)
    assert pid.values(1) == pid.values(2) == pid.values(99) == []
    assert pid.values(3) == [(("a", "b"), ("c",)), (("d",),)]


CHARSETS = [
    # MSH-18, bytes of PID-5, what they mean, whether a warning tells of it
    ("UNICODE UTF-8", "Müller".encode(), "Müller", False),
    ("8859/1", "Müller".encode("latin-1"), "Müller", False),
    ("8859/15", "€".encode("iso8859-15"), "€", False),
    ("", "Müller".encode(), "Müller", False),
    ("", "Müller".encode("latin-1"), "Müller", True),
    ("ASCII", "Müller".encode(), "Müller", True),
    ("ASCII~UNICODE UTF-8", b"Miller", "Miller", False),
]


@pytest.mark.parametrize(("named", "raw", "meant", "is_odd"), CHARSETS)
def test_character_sets(named, raw, meant, is_odd):
    message = parse(b"MSH|^~\\&|A|||||||||||||||" + named.encode() + b"\rPID|1||||" + raw)
    assert message.segments[1].values(5) == [((meant,),)]
    assert bool(message.problems) == is_odd


@pytest.mark.parametrize("named", ["KLINGON", "UNICODE UTF-8"])
def test_a_character_set_that_is_not_known_or_not_kept_is_a_problem(named):
    with pytest.raises(NotAMessageError, match="character set"):
        parse(b"MSH|^~\\&|A|||||||||||||||" + named.encode() + b"\rPID|1||||M\xfcller")


def test_a_line_break_in_a_field_is_mended_and_told_and_z_segments_are_kept():
    message = parse(b"MSH|^~\\&|A\rNTE|1||first\nsecond line|C\rZPI|1|local")
    assert [segment.name for segment in message.segments] == ["MSH", "NTE", "ZPI"]
    assert message.segments[1].fields[3:] == ["first\nsecond line", "C"]
    assert [problem.reason for problem in message.problems] == ["a line break stands within a field"]
