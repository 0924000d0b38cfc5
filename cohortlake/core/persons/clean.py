"""Demographics made comparable: what two registrars write differently about one person comes out alike.

Every function gives None for what says nothing, so that a comparison counts it as missing and not as a difference.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

DROPPED, OTHER, DIGITS = re.compile(r"['’`.]"), re.compile(r"[^\w-]|_"), re.compile(r"\d")
# Letters that Unicode does not take apart.
LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i"})
FULL_DATE, PART_OF_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)"), re.compile(r"\d{4}(-\d\d)?")
SUFFIXES = {
    "jr": "jr", "junior": "jr", "sr": "sr", "senior": "sr", "ii": "ii", "2nd": "ii", "iii": "iii", "3rd": "iii",
    "iv": "iv", "4th": "iv",
}  # fmt: skip
# A shorter social security number is its last four digits, which many share.
SSN_DIGITS = range(7, 10)
PHONE_DIGITS = range(7, 16)


def plain(text: str | None) -> str:
    """Lower case without accents, apostrophes or stops; other punctuation parts words."""
    bare = (text or "").casefold()
    if not bare.isascii():
        spread = unicodedata.normalize("NFKD", bare).translate(LETTERS)
        bare = "".join(character for character in spread if not unicodedata.combining(character)).casefold()
    return " ".join(OTHER.sub(" ", DROPPED.sub("", bare)).split())


def name(text: str | None, keep_digits: bool = False) -> str:
    """A name's letters; words stay apart. Real names hold no digits, so they are dropped unless told to stay."""
    found = plain(text).replace("-", " ")
    return " ".join((found if keep_digits else DIGITS.sub("", found)).split())


def surname_parts(text: str | None, keep_digits: bool = False) -> list[str]:
    """A family name as one word, and the parts of a double-barrelled one: `Smith-Jones` is also `smith` and `jones`."""
    whole = name(text, keep_digits).replace(" ", "")
    parts = [name(part, keep_digits).replace(" ", "") for part in re.split(r"\s*[-/]\s*", text or "")]
    named = [whole, *(part for part in parts if len(part) > 2)]
    return [part for part in dict.fromkeys(named) if part]


def suffix(texts: Iterable[str]) -> str | None:
    """The generation that a name's suffix tells (`Jr.`); degrees tell nothing."""
    return next((SUFFIXES[word] for text in texts for word in plain(text).split() if word in SUFFIXES), None)


def birth_date(text: str | None, unknown: Iterable[str] = ()) -> str | None:
    """A FHIR date, whole (`1980-02-01`) or in part (`1980-02`, `1980`)."""
    date = (text or "").strip()[:10]
    if date in unknown:
        return None
    if whole := FULL_DATE.fullmatch(date):
        month, day = int(whole[2]), int(whole[3])
        return date if 1 <= month <= 12 and 1 <= day <= 31 else whole[1]
    return date if PART_OF_DATE.fullmatch(date) else None


def sex(code: str | None) -> str | None:
    """`f` or `m`; other, unknown and undifferentiated say nothing of whether two records differ."""
    return {"female": "f", "f": "f", "woman": "f", "male": "m", "m": "m", "man": "m"}.get(plain(code))


def digits(text: str | None, lengths: range, unknown: Iterable[str] = ()) -> str | None:
    """A number's digits, unless it is too short or long, all one digit, or a known placeholder."""
    found = re.sub(r"\D", "", text or "")
    return found if len(found) in lengths and len(set(found)) > 1 and found not in unknown else None


def ssn(text: str | None, unknown: Iterable[str] = ()) -> str | None:
    return digits(text, SSN_DIGITS, unknown)


def phone(text: str | None, unknown: Iterable[str] = ()) -> str | None:
    """The last ten digits: a country code is written by some and not by others."""
    found = digits(text, PHONE_DIGITS, unknown)
    return found[-10:] if found and found[-10:] not in unknown else None


def email(text: str | None, unknown: Iterable[str] = ()) -> str | None:
    found = (text or "").strip().casefold().removeprefix("mailto:")
    return found if re.fullmatch(r"[^@\s]+@[^@\s]+", found) and found not in unknown else None


def identifier(text: str | None) -> str | None:
    """A number that a state or insurer gave, however it is spaced."""
    found = re.sub(r"[^0-9a-z]", "", plain(text))
    return found if len(set(found)) > 1 else None


def postcode(text: str | None, unknown: Iterable[str] = ()) -> str | None:
    """A postal code; of a US ZIP+4 the ZIP."""
    found = re.sub(r"[^0-9A-Z]", "", (text or "").upper())
    found = found[:5] if re.fullmatch(r"\d{9}", found) else found
    return found if found and found not in unknown and set(found) != {"0"} else None


def address(lines: Iterable[str], words: Mapping[str, str], unknown: Iterable[str] = ()) -> str | None:
    """Street lines as one, words in the short forms that the post office uses."""
    found = " ".join(plain(line).replace("-", " ") for line in lines)
    short = " ".join(words.get(word, word) for word in found.split())
    return short if short and short not in unknown else None


def city(text: str | None, unknown: Iterable[str] = ()) -> str | None:
    found = plain(text).replace("-", " ")
    return found if found and found not in unknown else None
