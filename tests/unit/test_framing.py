"""Files are cut into records, each with its place, and nothing of them is lost."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.readers import framing
from cohortlake.core.readers.delimited import split
from cohortlake.core.readers.framing import UnreadableFileError, read_csv_records, read_records


def ndjson(path: Path, start: int = 0, end: int | None = None) -> list[tuple[int, bytes]]:
    return [
        pair
        for records in read_records(path, start, end)
        for pair in zip(records.offsets.to_pylist(), records.payload.to_pylist(), strict=True)
    ]


def csv_rows(path: Path) -> list[bytes]:
    return [value for _, records in read_csv_records(path) for value in records.payload.to_pylist()]


@pytest.mark.parametrize("block", [1 << 20, 7, 16])
@pytest.mark.parametrize("zipped", [False, True])
def test_bom_crlf_blank_lines_and_a_missing_last_line_end(tmp_path, monkeypatch, block, zipped):
    monkeypatch.setattr(framing, "BLOCK", block)
    body = b'\xef\xbb\xbf{"a":1}\r\n\r\n{"b":2}\n{"long":"' + b"x" * 100 + b'"}\n{"last":1}'
    path = tmp_path / "f.ndjson"
    path.write_bytes(gzip.compress(body) if zipped else body)
    found = ndjson(path)
    assert [value[:8] for _, value in found] == [b'{"a":1}', b'{"b":2}', b'{"long":', b'{"last":']
    assert all(body[at : at + len(value)] == value for at, value in found)


@pytest.mark.parametrize("step", [50, 77, 1000])
def test_ranges_of_a_file_hold_each_record_once(tmp_path, monkeypatch, step):
    monkeypatch.setattr(framing, "BLOCK", 64)
    body = b"".join(b'{"n":%d}\n' % number for number in range(1000))
    path = tmp_path / "f.ndjson"
    path.write_bytes(body)
    found = [pair for at in range(0, len(body), step) for pair in ndjson(path, at, min(at + step, len(body)))]
    assert found == ndjson(path)
    assert len(found) == 1000


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1)), st.integers(1, 40))
def test_any_lines_come_back(tmp_path_factory, lines, block):
    path = tmp_path_factory.mktemp("lines") / "f.ndjson"
    path.write_bytes("\n".join(["{}", *lines]).encode())
    before, framing.BLOCK = framing.BLOCK, block
    try:
        assert [value.decode() for _, value in ndjson(path)] == ["{}", *lines]
    finally:
        framing.BLOCK = before


def test_a_truncated_gzip_is_no_file(tmp_path):
    path = tmp_path / "f.ndjson.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n' * 1000)[:-20])
    with pytest.raises(UnreadableFileError, match="truncated"):
        ndjson(path)


def test_utf16_is_refused_by_name(tmp_path):
    path = tmp_path / "f.ndjson"
    path.write_bytes('{"a":1}\n'.encode("utf-16"))
    with pytest.raises(UnreadableFileError, match="UTF-16"):
        ndjson(path)


def test_empty_files_have_no_records(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"")
    assert ndjson(path) == []
    assert csv_rows(path) == []


@pytest.mark.parametrize("block", [1 << 20, 8, 20])
def test_quoted_line_breaks_stay_and_an_open_quote_harms_its_own_line_only(tmp_path, monkeypatch, block):
    monkeypatch.setattr(framing, "BLOCK", block)
    path = tmp_path / "f.csv"
    path.write_bytes(b'a,b\n1,"x, y"\n2,"line\nbreak"\n3,"open\n4,ok\n5,"z"\n')
    assert csv_rows(path) == [b'1,"x, y"', b'2,"line\nbreak"', b'3,"open', b"4,ok", b'5,"z"']


def test_a_long_note_with_line_breaks_is_one_record_whatever_was_read_before(tmp_path):
    limit = csv.field_size_limit(128)
    try:
        note = ("a line of a note " * 5_000 + "\n") * 3
        path = tmp_path / "notes.csv"
        path.write_text(f'ID,NOTE\n1,"{note}"\n2,short\n', encoding="utf-8")
        assert csv_rows(path) == [f'1,"{note}"'.encode(), b"2,short"]
        assert split(f'1|"{note}"|x', "|") == ["1", note, "x"]
    finally:
        csv.field_size_limit(limit)
