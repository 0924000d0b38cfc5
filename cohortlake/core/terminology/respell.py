"""A unit as someone wrote it, to the UCUM units that it may mean. Whether they are UCUM is for a UCUM parser to say."""

from __future__ import annotations

import re
import unicodedata

from cohortlake.core.terminology.units import Spellings

_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
# Ten and its raised digits, which would run into one number once they are plain.
_TEN_RAISED = re.compile(r"10([⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_TEN = re.compile(r"(?<![\w.])[xX*]?\s*10\s*(?:(?:\^|\*{1,2}|[eE]\+?)\s*\(?(\d+)\)?|\((\d+)\))(?![\d.])")
_TOKEN = re.compile(r"[A-Za-z]*\[[^\]]*\]|\{[^}]*\}|10\*-?\d+|[^/.()\[\]{}]+|[/.()]")
_EXPONENT = re.compile(r"(?<=[^\d*])-?\d+$")
_NUMBER = re.compile(r"\d+")


def plain(text: str) -> str:
    """One form of what Unicode writes in several (µ, ², ×), powers of ten as UCUM has them, `per` as /."""
    text = _TEN_RAISED.sub(lambda ten: f"10*{ten[1].translate(_RAISED)}", text.replace("×", "x"))
    text = unicodedata.normalize("NFKC", text).replace("μ", "u")
    text = _TEN.sub(lambda ten: f"10*{ten[1] or ten[2]}", text)
    text = re.sub(r"(^|\s+)per\s+", "/", text.strip(), flags=re.IGNORECASE)
    return re.sub(r"\s*([/.])\s*", r"\1", text)


def respell(text: str, spellings: Spellings) -> tuple[str, ...]:
    """The UCUM units that a spelling may mean, the likelier first: one, but for spellings that are declared ambiguous.

    What is not listed comes back with its parts as they were. A bare number other than 1 is no unit: ().
    """
    unit = plain(text)
    whole = spellings.whole.find(unit)
    if whole is not None:
        return whole
    if _NUMBER.fullmatch(unit) and unit != "1":
        return ()
    return ("".join(_part(token, spellings) for token in _TOKEN.findall(unit)),)


def _part(token: str, spellings: Spellings) -> str:
    if token[0] in "{/.()" or token[-1] == "]" or token.startswith("10*"):
        return token
    exponent = _EXPONENT.search(token)
    split = (token[: exponent.start()], exponent[0]) if exponent else (token, "")
    for stem, rest in ((token, ""), split):
        found = spellings.parts.find(stem)
        if found is not None:
            return found[0] + rest
    return token
