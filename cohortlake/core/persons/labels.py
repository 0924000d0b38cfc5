"""Labelled pairs of records in a CSV file, whatever it calls its columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cohortlake.core.errors import UsageError
from cohortlake.core.persons.clusters import components
from cohortlake.core.persons.columns import SYNONYMS, bare_name, read_table
from cohortlake.core.persons.evaluate import Truth
from cohortlake.core.persons.ids import Key
from cohortlake.core.persons.match_truth import Labels

SCORES = ("clerical_match_score", "match_score", "label", "is_match", "match", "score")
SIDES = (("{}_l", "{}_r"), ("{}_left", "{}_right"), ("left_{}", "right_{}"), ("{}_1", "{}_2"), ("{}_a", "{}_b"))
TRUE, FALSE = frozenset({"true", "yes", "match", "t", "y"}), frozenset({"false", "no", "nonmatch", "f", "n", ""})


def _columns(header: Sequence[str], ours: str) -> tuple[str, str] | None:
    """The columns of both sides, or None."""
    known = {bare_name(name): name for name in header}
    for name in SYNONYMS[ours]:
        for left, right in SIDES:
            found = [known.get(bare_name(side.format(name))) for side in (left, right)]
            if found[0] and found[1]:
                return found[0], found[1]
    return None


def is_labels(path: Path) -> bool:
    """Whether a file holds pairs, rather than records with whom they are of."""
    return _columns(read_table(path)[0], "id") is not None


def read_labels(path: Path) -> tuple[Labels, bool]:
    """Pairs of ((dataset, id), (dataset, id)), "" for no dataset, to whether they are one person's; and whether judged.

    A score of 0.5 and above, or a word such as `true`, is a match. Pairs without a score are not judged one by one:
    they are all the matches that there are. Raises SourceError, UsageError.
    """
    header, lines = read_table(path)
    ids, silos = _columns(header, "id"), _columns(header, "silo")
    known = {bare_name(name): name for name in header}
    score = next((known[bare_name(name)] for name in SCORES if bare_name(name) in known), None)
    if ids is None:
        raise UsageError(f"{path} is no file of labelled pairs", "It needs columns as unique_id_l and unique_id_r.")
    made: Labels = {}
    for number, line in enumerate(lines, 2):
        left, right = ((line[silos[side]] if silos else "", line[ids[side]]) for side in (0, 1))
        made[min(left, right), max(left, right)] = score is None or _is_match(line[score], path, number)
    return made, score is not None


def _is_match(text: str, path: Path, line: int) -> bool:
    word = text.strip().casefold()
    if word in TRUE or word in FALSE:
        return word in TRUE
    try:
        return float(word) >= 0.5
    except ValueError as error:
        raise UsageError(
            f"{path}:{line}: {text!r} is no label", "Write a score from 0 to 1, or true or false."
        ) from error


def truth_of_matches(matches: Labels, records: Iterable[Key]) -> dict[Key, Truth]:
    """Who each record is of, where the matches are all that there are."""
    groups = components(pair for pair, is_same in matches.items() if is_same)
    place = {record: f"group {number}" for number, group in enumerate(groups) for record in group}
    return {record: Truth(place.get(record, f"alone {number}")) for number, record in enumerate(records)}
