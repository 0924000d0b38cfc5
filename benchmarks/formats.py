"""HL7 v2, C-CDA, CPCDS, RIF and X12 to FHIR, on one core, beside what only parses them, in the same run.

A round of ours reads the files, makes FHIR and writes it as NDJSON; a parser's reads and parses them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.formats_data import CASES, Case, write
from benchmarks.harness import Contender, Measured, in_turn
from benchmarks.peers.install_parsers import install
from benchmarks.results import machine, ratios, spread, table, walls
from benchmarks.settings import Settings

TITLE = "HL7 v2, C-CDA, claims to FHIR, beside what only parses"
# The parsers of each format: a library of the field first, where there is one.
PARSERS = {"hl7v2": ("hl7apy", "hl7"), "ccda": ("lxml",), "cpcds": ("csv",), "rif": ("csv",), "x12": ("split",)}
HEAD = ("", "units", "units/s", "MB/s", "resources/s", "CPU s for 1,000", "beside")

Rounds = dict[str, list[Measured]]


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown. `--megabytes` scales the data; as they are, they are about 75 MB."""
    share = (asked.megabytes or 75) / 75
    rows, number = [], asked.rounds or 5
    with ExitStack() as stack:
        ours = stack.enter_context(Contender("ours", "benchmarks.peers.formats_ours", folder / "ours.log"))
        module = "benchmarks.peers.formats_parsers"
        theirs = stack.enter_context(Contender("parsers", module, folder / "parsers.log", python=install()))
        for case in CASES:
            units, size = write(case, folder / case.format, share)
            rows.append(row(case, units, size, rounds(case, folder, ours, theirs, number)))
    return "\n".join(
        [
            f"One core a format, {number} rounds. {machine()}.",
            "",
            table(HEAD, rows),
            "",
            "* Ours: files read, FHIR made, NDJSON written. Beside: the wall time of what only parses the same files, "
            "as a part of ours, round by round: hl7apy 1.3.5 and hl7 0.4.5 to objects, lxml to a tree, the standard "
            "library's csv to dicts, X12 cut at its delimiters.",
            "* The files are the bundled ones, copied with ids of their own.",
        ]
    )


def rounds(case: Case, folder: Path, ours: Contender, theirs: Contender, number: int) -> Rounds:
    """The rounds of ours (under its name) and of each parser; one before them warms up."""
    data, target = folder / case.format, folder / "out.ndjson"
    names = [ours.name, *PARSERS[case.format]]
    found: Rounds = {name: [] for name in names}
    for turn in range(number + 1):
        for contender in in_turn([ours, theirs], turn):
            if contender is ours:
                measured = {ours.name: ours.ask("convert", name=case.format, data=data, target=target)}
            else:
                measured = {name: theirs.ask("parse", parser=name, data=data) for name in PARSERS[case.format]}
            if turn:
                for name, one in measured.items():
                    found[name].append(one)
    return found


def row(case: Case, units: int, size: int, found: Mapping[str, list[Measured]]) -> list[str]:
    """A case's row. Raises AssertionError where a round quarantined anything."""
    ours, *parsers = found
    mine = found[ours]
    assert not any(one.facts["quarantined"] for one in mine), f"{case.format}: records were quarantined"
    resources = mine[0].facts["resources"]
    seconds = walls(mine)
    cpu = [one.cpu * 1000 / units for one in mine]
    beside = ", ".join(f"{name} {spread(ratios(found[name], mine), 2)}" for name in parsers)
    return [
        case.title, f"{units:,} {case.units}", spread([units / one for one in seconds], 0),
        f"{size / 1e6 / statistics.median(seconds):.1f}", f"{resources / statistics.median(seconds):,.0f}",
        spread(cpu, 2), beside,
    ]  # fmt: skip
