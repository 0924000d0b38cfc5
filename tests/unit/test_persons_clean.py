"""What two registrars write differently about one person comes out alike; what says nothing comes out as nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.persons import clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Garica503", "garica"),
        ("KOEZY370", "koezy"),
        ("O'Connell601", "oconnell"),
        ("  José  Ángel ", "jose angel"),
        ("Anne-Marie", "anne marie"),
        ("J.", "j"),
        ("123", ""),
        (None, ""),
    ],
)
def test_names(text: str | None, cleaned: str) -> None:
    assert clean.name(text) == cleaned


def test_digits_stay_in_names_if_told_to() -> None:
    assert clean.name("Garica503", keep_digits=True) == "garica503"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Smith-Jones", ["smithjones", "smith", "jones"]),
        ("De La Cruz", ["delacruz"]),
        ("Al-Amin", ["alamin", "amin"]),
        ("Lee", ["lee"]),
        ("", []),
    ],
)
def test_surnames(text: str, parts: list[str]) -> None:
    assert clean.surname_parts(text) == parts


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("1980-02-01", "1980-02-01"),
        ("1980-02-01T10:00:00Z", "1980-02-01"),
        ("1980-02", "1980-02"),
        ("1980", "1980"),
        ("1980-13-01", "1980"),
        ("1900-01-01", None),
        ("", None),
        ("unknown", None),
        (None, None),
    ],
)
def test_birth_dates(text: str | None, cleaned: str | None) -> None:
    assert clean.birth_date(text, ["1900-01-01"]) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("999-12-3456", "999123456"),
        ("999 12 3456", "999123456"),
        ("000-00-0000", None),
        ("123-45-6789", None),
        ("XXX-XX-3456", None),
        (None, None),
    ],
)
def test_social_security_numbers(text: str | None, cleaned: str | None) -> None:
    assert clean.ssn(text, ["123456789"]) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("02780-1234", "02780"),
        ("02780", "02780"),
        ("00000", None),
        ("sw1a 1aa", "SW1A1AA"),
        ("99999", None),
        ("", None),
    ],
)
def test_postcodes(text: str, cleaned: str | None) -> None:
    assert clean.postcode(text, ["99999"]) == cleaned


def test_a_country_code_does_not_tell_phones_apart() -> None:
    assert clean.phone("+1 (555) 150-1856") == clean.phone("555.150.1856") == "5551501856"
    assert clean.phone("12") is None


def test_addresses_in_the_short_forms() -> None:
    words = {"street": "st", "apartment": "apt"}
    assert clean.address(["12 Oak Street", "Apartment 5"], words) == clean.address(["12 OAK ST., APT 5"], words)
    assert clean.address(["Homeless"], {}, ["homeless"]) is None
    assert clean.address([], {}) is None


def test_what_says_nothing_of_a_difference() -> None:
    assert [clean.sex(code) for code in ("F", "male", "unknown", "other", None)] == ["f", "m", None, None, None]
    assert clean.suffix(["PhD", "Jr."]) == "jr"
    assert clean.suffix(["MD"]) is None
    assert clean.email("mailto:A@B.org") == "a@b.org"
    assert clean.email("none") is None
    assert clean.identifier("0000") is None


@given(st.text())
def test_cleaning_again_changes_nothing(text: str) -> None:
    assert clean.name(clean.name(text)) == clean.name(text)
    assert (once := clean.postcode(text)) is None or clean.postcode(once) == once
    assert (date := clean.birth_date(text)) is None or clean.birth_date(date) == date
