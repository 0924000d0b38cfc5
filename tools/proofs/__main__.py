"""The commands: which proofs are stale, run them, check the record, run the one that CI draws."""

from __future__ import annotations

import sys
from math import inf
from pathlib import Path
from typing import Annotated

import typer

from tools.proofs import ROOT, ProofError
from tools.proofs.execute import Outcome, run_proofs
from tools.proofs.record import Proof, Proved, faults, find_proofs, read_record, why_stale, write_record
from tools.proofs.tree import commit_hash, file_hashes

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Slow proofs, and the committed record of what was proved (docs/testing.md).",
    epilog="Exit codes: 0 done; 1 a proof is stale, or a run was not green.",
)
Root = Annotated[Path, typer.Option(hidden=True, help="Another tree.")]


@app.command("list")
def list_(root: Root = ROOT) -> None:
    """Each proof: whether its record holds, its tests, and how long they took."""
    record = read_record(root)
    for name, proof in find_proofs(root).items():
        proved = record.get(name)
        shown = f"{proved.tests:4} tests {proved.seconds:5} s" if proved else f"{'':18}"
        print(f"{name:24} {shown}  {why_stale(proof, record) or 'proved'}")


@app.command()
def files(name: str, root: Root = ROOT) -> None:
    """The files that a proof depends on."""
    for path in sorted(_chosen(find_proofs(root), [name])[0].depends_on):
        print(path)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Proofs; by default those that are stale.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run all proofs.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="How many at a time.")] = 2,
    within: Annotated[float, typer.Option(min=0, help="Begin none after so many seconds; those are named.")] = inf,
    root: Root = ROOT,
) -> None:
    """Run proofs, and record those that are green."""
    proofs, record = find_proofs(root), read_record(root)
    for gone in {*record} - {*proofs}:
        del record[gone]
        write_record(root, record)
    stale = [proof for proof in proofs.values() if why_stale(proof, record)]
    chosen = [*proofs.values()] if every else _chosen(proofs, names) if names else stale
    if not chosen:
        print("every proof is proved of what is here: nothing to run (--all runs them all the same)")
        return
    # The longest first where all are run, the shortest where time may end; one that was never run may be long.
    took = {proof.name: record[proof.name].seconds if proof.name in record else 10**6 for proof in chosen}
    chosen.sort(key=lambda proof: took[proof.name] if within < inf else -took[proof.name])
    print(f"running {', '.join(proof.name for proof in chosen)}; their output comes when each has ended")
    red: list[str] = []

    def ended(outcome: Outcome) -> None:
        proof = outcome.proof
        reasons = list(outcome.reasons)
        if find_proofs(root)[proof.name].hash != proof.hash:
            reasons.append("what it depends on was changed while it ran")
        _show(outcome, reasons)
        if reasons:
            red.append(proof.name)
        else:
            record[proof.name] = outcome.proved()
            write_record(root, record)

    left = run_proofs(root, chosen, file_hashes(root), ended, at_a_time=jobs, within=within)
    if left:
        print(f"\nnot run for want of time, and so not proved of what is here: {', '.join(left)}")
    if red:
        raise ProofError(f"not proved: {', '.join(sorted(red))}; see above, and build/proofs/")


@app.command()
def check(root: Root = ROOT) -> None:
    """Fail where the record is not that of the tree, naming each proof and the command that mends it."""
    proofs = find_proofs(root)
    if found := faults(proofs, read_record(root)):
        raise ProofError("\n".join(found))
    print(f"{len(proofs)} proofs, each recorded for what is here")


@app.command()
def drawn(root: Root = ROOT) -> None:
    """Run the one proof that the commit's hash draws, and hold the record to it: a forged one is found out in time."""
    proofs, record = find_proofs(root), read_record(root)
    commit = commit_hash(root)
    proof = draw(proofs, commit)
    print(f"proof `{proof.name}` is drawn by commit {commit[:12]}")
    if why := why_stale(proof, record):
        print(f"there is no record to hold it to: {why}; `run` proves what is stale")
        return
    outcomes: list[Outcome] = []
    run_proofs(root, [proof], file_hashes(root), outcomes.append, at_a_time=1)
    [outcome] = outcomes
    reasons = [*outcome.reasons, *differs(outcome, record.get(proof.name))]
    _show(outcome, reasons)
    if reasons:
        raise ProofError(f"proof `{proof.name}` does not hold. Run: python -m tools.proofs run {proof.name}")


def draw(proofs: dict[str, Proof], commit: str) -> Proof:
    """The proof that a commit's hash draws, each as likely as another."""
    return proofs[sorted(proofs)[int(commit, 16) % len(proofs)]]


def differs(outcome: Outcome, proved: Proved | None) -> list[str]:
    """How the record differs from a run."""
    if proved is None:
        return ["it is not in the record"]
    if (proved.hash, proved.tests) == (outcome.proof.hash, outcome.tests):
        return []
    return [f"the record is of {proved.tests} tests and {proved.hash[:12]}, "
            f"the run of {outcome.tests} tests and {outcome.proof.hash[:12]}"]  # fmt: skip


def _chosen(proofs: dict[str, Proof], names: list[str]) -> list[Proof]:
    if unknown := [name for name in names if name not in proofs]:
        raise ProofError(f"there is no proof {', '.join(unknown)}; there are {', '.join(proofs)}")
    return [proofs[name] for name in names]


def _show(outcome: Outcome, reasons: list[str]) -> None:
    print(f"\n== {outcome.proof.name} ({outcome.proof.path}), {outcome.seconds} s\n{outcome.output.rstrip()}")
    print("\n".join(f"   not green: {reason}" for reason in reasons) or f"   green: {outcome.tests} tests", flush=True)


if __name__ == "__main__":
    try:
        app()
    except ProofError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
