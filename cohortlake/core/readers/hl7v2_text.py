"""The text of HL7 v2: delimiters, character sets, escape sequences (HL7 v2.8.2 chapter 2.5 to 2.7, table 0211)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# HL7 table 0211 to Python's codecs.
CHARSETS = {
    "": "utf-8",
    "ASCII": "ascii",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))},
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "KS X 1001": "euc_kr",
    "ISO IR87": "iso2022_jp",
}


@dataclass(frozen=True)
class Delimiters:
    """The characters of MSH-1 and MSH-2; one that MSH-2 lacks is empty, and then nothing is split by it."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def letters(self) -> dict[str, str]:
        """The letters of the escape sequences that stand for delimiters."""
        return {"F": self.field, "S": self.component, "R": self.repetition, "E": self.escape, "T": self.subcomponent}


# Formatting that breaks the line, and the codec by which the hexadecimal escape's bytes are text.
BREAKS = (".br", ".sp", ".ce", ".sk")


@lru_cache(maxsize=64)
def _sequences(escape: str) -> re.Pattern[str]:
    mark = re.escape(escape)
    inner = r"[FSTREHNP]|X(?:[0-9A-Fa-f]{2})+|\.(?:br|sp|ce|sk|in|ti|fi|nf)[+-]?\d*|C[0-9A-Fa-f]{4}|M[0-9A-Fa-f]{4,6}"
    return re.compile(f"{mark}({inner}){mark}")


def unescape(text: str, marks: Delimiters, charset: str = "") -> str:
    r"""Text with its escape sequences resolved; one that is not known (`\Z..\`) stays as it came.

    Highlighting and indents (`\H\ \N\ \.in\`) are left out, as a FHIR string has none. A switch of the character set
    (`\Cxxyy\ \Mxxyyzz\`) back to ASCII or to the message's own is left out too; another one stays as it came.
    """
    codec = CHARSETS.get(charset, "utf-8")

    def resolve(match: re.Match[str]) -> str:
        sequence = match.group(1)
        if sequence in marks.letters:
            return marks.letters[sequence]
        if sequence.startswith("X"):
            raw = bytes.fromhex(sequence[1:])
            try:
                return raw.decode(codec)
            except UnicodeDecodeError:
                return raw.decode("latin-1")
        if sequence.startswith(BREAKS):
            return "\n"
        if sequence[0] in "CM" and sequence not in ("C2842", "C284A"):
            return match.group(0)
        return "#" if sequence == "P" else ""

    return _sequences(marks.escape).sub(resolve, text) if marks.escape else text


def escape(text: str, marks: Delimiters) -> str:
    r"""Text as it may stand in a field: delimiters and what a segment cannot hold are escaped (`\F\`, `\X0D\`)."""
    letters = {mark: letter for letter, mark in marks.letters.items() if mark}
    mark = marks.escape
    return "".join(
        f"{mark}{letters[c]}{mark}" if c in letters else f"{mark}X{ord(c):02X}{mark}" if ord(c) < 32 else c
        for c in text
    )
