"""Fields of HL7 v2 that a sender fills in another place than the standard says."""

from __future__ import annotations

import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.readers.hl7v2 import Message, parse
from cohortlake.core.readers.hl7v2_fields import in_place, misplaced

PLACES = {"OBR-22": "OBR-21", "OBR-25": "OBR-24", "OBR-24": "OBR-4.1"}


def message(*segments: str) -> Message:
    return parse("\r".join(("MSH|^~\\&|A|B", *segments)).encode())


def fields(found: Message, *positions: int) -> list[str]:
    segment = found.segments[-1]
    return [segment.fields[position] if position < len(segment.fields) else "" for position in positions]


def test_fields_move_all_at_once_and_leave_their_place() -> None:
    sent = message("OBR|1|p|f|LAB^Panel^L" + "|" * 17 + "20250104||" + "|F")
    assert fields(sent, 21, 22, 24, 25) == ["20250104", "", "F", ""]
    moved = in_place(sent, PLACES)
    assert fields(moved, 4, 21, 22, 24, 25) == ["LAB^Panel^L", "", "20250104", "LAB", "F"]
    assert fields(sent, 21, 24) == ["20250104", "F"]


def test_a_short_segment_grows_and_others_stay() -> None:
    sent = message("OBX|1|NM", "OBR|1")
    moved = in_place(sent, PLACES)
    assert fields(moved, 1, 21, 22, 24, 25) == ["1", "", "", "", ""]
    assert moved.segments[1] is sent.segments[1]
    assert in_place(sent, {}) is sent


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"OBR-22.1": "OBR-21"}, "must be a field"),
        ({"OBR-22": "21"}, "must be a field or a component"),
        ({"OBR-22": "OBX-21"}, "must be of one segment"),
        ({"MSH-4": "MSH-3"}, "not of MSH"),
    ],
)
def test_a_wrong_declaration_is_told(places: dict[str, str], said: str) -> None:
    assert said in str(misplaced(places))


def test_hospital_bs_declaration_is_right() -> None:
    assert load_catalog().silos["site_b_hl7v2"].field_places == PLACES
    assert misplaced(PLACES) is None
