"""FHIR NDJSON to Delta tables, beside Pathling, in the same run."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.contenders import OURS, PATHLING, cohortlake, pathling
from benchmarks.harness import disk_bytes, in_turn
from benchmarks.hospital import multiply
from benchmarks.ingest import Rounds, checked_resources, comparison, warmed
from benchmarks.peers.install import version
from benchmarks.results import machine, ratios, spread
from benchmarks.settings import Settings

TITLE = "NDJSON to typed Delta tables, beside Pathling"


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    data, small = folder / "data", folder / "small"
    copies, size = multiply(data, asked.megabytes or 500)
    multiply(small, 1)
    disk: dict[str, int] = {}
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(make(folder)) for make in (cohortlake, pathling))
        first = {contender.name: warmed(contender, small, folder) for contender in (ours, theirs)}
        rounds: Rounds = {OURS: [], PATHLING: []}
        for number in range(asked.rounds or 3):
            for contender in in_turn([ours, theirs], number):
                target = folder / "target"
                found = contender.ask("ingest", data=data, target=target)
                if contender is theirs:
                    found = replace(found, facts=theirs.ask("count", source=target).facts)
                rounds[contender.name].append(found)
                disk[contender.name] = disk_bytes(target)
                shutil.rmtree(target)
    gain = ratios(rounds[PATHLING], rounds[OURS])
    return "\n".join(
        [
            f"Hospital A x {copies}: {size:,.0f} MB of NDJSON, {checked_resources(rounds):,} resources, "
            f"{len(gain)} rounds. {machine()}.",
            "",
            comparison(rounds, disk, size),
            "",
            f"* Our throughput against Pathling's, round by round: **{spread(gain)}** times (mark: 4).",
            f"* Pathling {version()} reads with its defaults, which leave extensions out, and keeps no raw records.",
            f"* Counted apart: the sessions start in {ours.start:.1f} s (ours) and {theirs.start:.1f} s; "
            f"a first small lake takes {first[OURS].wall:.1f} s and {first[PATHLING].wall:.1f} s.",
        ]
    )
