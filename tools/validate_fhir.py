"""Hold FHIR R4 files to HAPI's validator, offline, and count what it says by file, severity and kind of message."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tools.fetch_validator import VALIDATOR
from tools.hapi_validator import Finding, Validator

SUFFIXES = (".ndjson", ".ndjson.gz", ".json")
ERRORS = ("fatal", "error")
app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@dataclass
class Summary:
    """What was said of a file: of its `resources`, `validated` were looked at; how often each finding was made.

    `unknown_profiles` are the resources that claim a profile which is not at hand: for them, only base R4 is judged.
    """

    file: str
    resources: int
    validated: int
    unknown_profiles: int = 0
    findings: Counter[Finding] = field(default_factory=Counter)

    @property
    def errors(self) -> Counter[Finding]:
        """Findings that make a resource invalid."""
        return Counter({finding: count for finding, count in self.findings.items() if finding.severity in ERRORS})


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """The FHIR files among paths, and in folders."""
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        yield from (one for one in inside if one.name.endswith(SUFFIXES))


def resources(path: Path) -> list[str]:
    """A file's resources as JSON texts: one in a `.json`, one a line else."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [text] if path.suffix == ".json" else [line for line in text.split("\n") if line.strip()]


def sample(rows: Sequence[str], size: int | None) -> list[str]:
    """`size` rows, evenly from first to last; all where there are no more."""
    if size is None or len(rows) <= size:
        return list(rows)
    return [rows[at * len(rows) // size] for at in range(size)]


def summary(validator: Validator, path: Path, size: int | None = None) -> Summary:
    """Validate a file, or a sample of it."""
    every = resources(path)
    chosen = sample(every, size)
    found = Summary(path.name, len(every), len(chosen))
    for resource in chosen:
        findings = validator.findings(resource)
        found.unknown_profiles += any(finding.is_unknown_profile for finding in findings)
        found.findings.update(finding for finding in findings if not finding.is_unknown_profile)
    return found


def _told(found: Summary) -> dict[str, object]:
    findings = [asdict(finding) | {"count": count} for finding, count in sorted(found.findings.items())]
    counts = {name: getattr(found, name) for name in ("file", "resources", "validated", "unknown_profiles")}
    return counts | {"findings": findings}


def _table(found: Sequence[Summary], shown: Sequence[str]) -> Table:
    table = Table("file", "validated", "severity", "message", "element", "times", box=None)
    for one in found:
        rows = [(finding, n) for finding, n in sorted(one.findings.items()) if finding.severity in shown]
        for at, (finding, n) in enumerate(rows or [(Finding("", "[green]nothing to say[/green]", ""), 0)]):
            first = (one.file, f"{one.validated:,} of {one.resources:,}") if at == 0 else ("", "")
            table.add_row(*first, finding.severity, finding.kind, finding.path, f"{n:,}" if n else "")
    return table


@app.command()
def validate(
    paths: Annotated[
        list[Path], typer.Argument(exists=True, help="NDJSON or JSON files (.gz too), or folders of them")
    ],
    size: Annotated[
        int | None, typer.Option("--sample", min=1, help="Only this many a file, evenly across it.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show what is only information, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hold FHIR R4 files to HAPI's validator, offline, and count what it says.

    Base R4 is judged: structure, cardinality, required codes, invariants. Profiles that records claim (US Core) are not
    at hand offline; such records are counted and said apart. Counts name elements and messages, never a value.
    Ends with 1 where a resource is invalid. Get the validator first: `python -m tools.fetch_validator`.

    **Examples**

    `cohortlake export fhir -o outbox --silo site_b_csv` and then

    `python -m tools.validate_fhir outbox --sample 200`

    `python -m tools.validate_fhir data/site_a_fhir_r4/Patient.ndjson.gz --json`
    """
    console = Console()
    if VALIDATOR.missing():
        console.print("The validator is not here. Fetch it: [bold]python -m tools.fetch_validator[/bold]")
        raise typer.Exit(2)
    chosen = list(files(paths))
    if not chosen:
        console.print(f"There is no FHIR file here; looked for {', '.join(SUFFIXES)}.")
        raise typer.Exit(2)
    with Validator() as validator, Console(stderr=True).status("") as status:
        found = []
        for path in chosen:
            status.update(f"validating {path.name}")
            found.append(summary(validator, path, size))
    if as_json:
        sys.stdout.write(json.dumps([_told(one) for one in found], indent=2) + "\n")
    else:
        console.print(_table(found, (*ERRORS, "warning", *(["information"] if everything else []))))
        if claims := sum(one.unknown_profiles for one in found):
            console.print(f"{claims:,} resources claim profiles that are not at hand: for them, base R4 was judged.")
    if any(one.errors for one in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
