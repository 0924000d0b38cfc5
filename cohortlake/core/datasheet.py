"""A release's datasheet: the questions of Gebru et al., "Datasheets for Datasets" (CACM 64:12, 2021), answered from
the declaration and from the release's facts (`release_facts`). Markdown; equal facts give an equal text. Each number
stands in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cohortlake.core.catalog.cohort import Cohort
from cohortlake.core.release_facts import AttritionStep, Counts, ReleaseFacts
from cohortlake.core.releases import SPLITS

Facts = Mapping[str, Any]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in cells)


def _share(part: int, whole: int) -> str:
    """A share in percent; a part that is there is never 0.0 %, one that lacks some never 100.0 %."""
    if not whole:
        return "-"
    share = 100 * part / whole
    if part and share < 0.05:
        return "<0.1 %"
    return ">99.9 %" if part < whole and share >= 99.95 else f"{share:.1f} %"


def _rows(part: int, whole: int) -> str:
    return f"{part} ({_share(part, whole)})" if part else "0"


def _sentence(text: str) -> str:
    return f"{text.strip().rstrip('.')}."


def _counts(label: str, groups: Mapping[str, Counts]) -> str:
    rows = [
        (name, found.rows, found.persons, found.events, _share(found.events, found.rows))
        for name, found in groups.items()
    ]
    return _table((label, "rows", "persons", "rows with the outcome", "prevalence"), rows)


def _attrition(steps: Sequence[AttritionStep]) -> str:
    silos = list(steps[0].silos)
    rows = [
        (step.kind, step.criterion, step.rows, step.persons, *(step.silos[silo] for silo in silos)) for step in steps
    ]
    return _table(("step", "criterion", "rows left", "persons left", *(f"rows from {silo}" for silo in silos)), rows)


def _missing(name: str, facts: ReleaseFacts) -> str:
    """The rows without a feature, and of how many of them it cannot be known, and why."""
    told = "".join(f"; {count} rows: {reason}" for reason, count in facts.cannot_be_known.get(name, {}).items())
    return _rows(facts.missing[name], facts.counts.rows) + told


def _features(cohort: Cohort, facts: ReleaseFacts) -> str:
    return _table(
        ("column", "type", "unit", "rows missing", "meaning"),
        [
            (name, feature.type, feature.unit or "", _missing(name, facts), feature.description)
            for name, feature in cohort.features.items()
        ],
    )


def _proof(found: Facts) -> str:
    """The proof's checks, each with what it found, and those that were not asked."""
    rows = [(check["check"], check["outcome"], check["text"]) for check in found["proof"]["checks"]]
    text = _table(("check", "outcome", "found"), rows)
    if left := found["proof"]["not_asked"]:
        text += f"\n\nNot asked, since no answer could change the verdict: {', '.join(left)}."
    if "comparators" in found:
        text += (
            f"\n\nJudged on the real rows of training and validation, drawn anew {found['redraws']} times by person "
            "into those to train on and those held out. The AUROC of each model on real rows alone, averaged over the "
            "redraws:\n\n"
        )
        models = [
            (name, scores.get("stratum", "-"), scores.get("overall", "-"), found["chosen"][name])
            for name, scores in found["comparators"].items()
        ]
        text += _table(("model on real rows", "in the stratum", "overall", "times the best in tuning"), models)
        both = [found["lift"][area]["auroc"]["augmented"] for area in ("stratum", "overall")]
        text += f"\n\nWith the synthetic rows: {both[0]} in the stratum, {both[1]} overall."
    return text


def _or_few(score: float | None) -> float | str:
    return "too few rows" if score is None else score


def _synthetic(found: Facts) -> str:
    proof = found.get("proof")
    if not found["made"]:
        why = f"withheld; the proof's verdict is {proof['verdict']!r}" if proof and "checks" in proof else found["why"]
        text = f"There are no synthetic rows in this release: {why}."
    else:
        text = (
            f"{found['made']} synthetic rows stand in `train.parquet`, all of the stratum `{found['stratum']}`, the "
            f"sparsest that can be learned from: they come from a Gaussian copula (SDV) fitted on its "
            f"{found['real_rows']} real training rows of {found['real_persons']} persons. `is_synthetic` marks each; "
            "their keys start with a namespace of their own; `person_key`, `silo` and `index_date` are null. None "
            "equals a real row in every feature."
        )
    if proof:
        text += "\n\nRows go out only where each of these holds (docs/augmentation.md):\n\n" + _proof(found)
    if "dropped" in found:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in found["dropped"].items()) or "none"
        text += f"\n\n{found['sampled']} rows were sampled for {found['wanted']} wanted. Dropped, besides the surplus: "
        text += f"{reasons}."
    if "scores" in found:
        scores = found["scores"]
        holdout = scores["real_holdout"] or {}
        text += "\n\n" + _table(
            ("score (SDMetrics, 1 is best)", "synthetic", "real validation rows, for comparison"),
            [
                ("column shapes", scores["column_shapes"], _or_few(holdout.get("column_shapes"))),
                ("column pair trends", scores["column_pair_trends"], _or_few(holdout.get("column_pair_trends"))),
                ("share of rows new to within 1 %", scores["new_rows"], ""),
                (
                    "share closer to training than validation (0.5 is best)",
                    _or_few(scores["closer_to_training"]),
                    "",
                ),
            ],
        )
    return text


def _persons(facts: ReleaseFacts) -> str:
    """Who is a person here, once for the whole datasheet."""
    alone = ""
    if facts.unlinked_patients:
        alone = f" {facts.unlinked_patients} of them were linked with nothing, each being a person of its own."
    return (
        "A person is a `person_key`: all the records that linkage found to be one human's, in whatever silo. Counts, "
        f"splits and guards are by person; the persons here have {facts.patients} records (`patient_key`).{alone} "
        f"{facts.persons_in_several_splits} persons stand in more than one split. Two records of a human that linkage "
        "left apart are two persons (docs/persons.md tells how often)."
    )


def datasheet(cohort: Cohort, facts: ReleaseFacts) -> str:
    """The datasheet of a release, in Markdown."""
    inputs = facts.inputs
    by_split = {split: facts.by_split[split] for split in SPLITS if split in facts.by_split}
    in_order = sorted(facts.by_split_and_stratum, key=lambda found: SPLITS.index(found.split))
    by_stratum = {f"{found.split}, {found.stratum}": found for found in in_order}
    limits = "\n".join(f"* {limit}" for limit in cohort.limits)
    empty = [split for split in SPLITS if split not in by_split]
    parts = [
        f"# {cohort.title}",
        f"Training set `{cohort.name}`, version `{facts.version}`.",
        "## Motivation",
        cohort.description.strip(),
        "## Composition",
        "A row is a person's record in a silo at an index date; a person may have several. Counts are of real rows.",
        _persons(facts),
        f"Index date: {_sentence(cohort.index_date)}",
        f"Outcome (a window of {cohort.outcome_window_days} days): {_sentence(cohort.outcome)}",
        _counts("split", {"all": facts.counts} | by_split),
        *([f"No row fell into: {', '.join(empty)}."] if empty else []),
        _counts("silo", facts.by_silo),
        _counts("split, stratum", by_stratum),
        f"The stratum is `{cohort.stratum}`.",
        "### Features",
        "Each is known on or before the index date.",
        _features(cohort, facts),
        "### Synthetic rows",
        _synthetic(facts.synthetic),
        "## Collection process",
        "Taken from the lake's curated tables, at these Delta versions: "
        + ", ".join(f"`{name}` {version}" for name, version in inputs["gold"].items())
        + ". How many candidates each criterion left:",
        _attrition(facts.attrition),
        "## Preprocessing, cleaning, labelling",
        "Nothing is imputed: a missing value is null, and so is one that a silo cannot tell (it would be a nought that "
        "nobody knows of). A person's split is a hash of the seed "
        f"`{cohort.splits.seed}` and their key ({cohort.splits.train} % train, {cohort.splits.validation} % "
        f"validation, {cohort.splits.test} % test), the same in every release.",
        "## Uses",
        cohort.intended_use.strip(),
        "Limits:",
        limits,
        "## Distribution",
        "For use inside the lake's research zone, under the terms of the silos' protocols. Synthetic rows are made "
        "with SDV, which is under the Business Source License 1.1: free to use, not to be sold as a service that makes "
        "synthetic data.",
        "## Maintenance",
        "A release never changes. New data or another definition bring a new version; `cohortlake training verify` "
        "tells whether the files are as they were released. Made from:",
        _table(("file", "SHA-256"), sorted(inputs["definition"].items())),
        _table(("package", "version"), sorted(inputs["engine"].items())),
    ]
    return "\n\n".join(parts) + "\n"
