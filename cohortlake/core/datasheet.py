"""A release's datasheet: the questions of Gebru et al., "Datasheets for Datasets" (CACM 64:12, 2021), answered from
the declaration and from the facts that the steps counted. Markdown; equal facts give an equal text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cohortlake.core.catalog.cohort import Cohort
from cohortlake.core.releases import SPLITS

Facts = Mapping[str, Any]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in cells)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _sentence(text: str) -> str:
    return f"{text.strip().rstrip('.')}."


def _counts(label: str, groups: Mapping[str, Facts]) -> str:
    rows = [
        (name, found["rows"], found["persons"], found["events"], _share(found["events"], found["rows"]))
        for name, found in groups.items()
    ]
    return _table((label, "rows", "persons", "with the outcome", "prevalence"), rows)


def _attrition(steps: Sequence[Facts]) -> str:
    silos = list(steps[0]["silos"])
    rows = [
        (step["kind"], step["criterion"], step["rows"], step["persons"], *(step["silos"][silo] for silo in silos))
        for step in steps
    ]
    return _table(("step", "criterion", "rows left", "persons left", *(f"rows from {silo}" for silo in silos)), rows)


def _missing(name: str, facts: Facts) -> str:
    """The share of rows without a feature, and of how many of them it cannot be known, and why."""
    reasons = facts.get("cannot_be_known", {}).get(name, {})
    told = "".join(f"; {count} rows: {reason}" for reason, count in reasons.items())
    return _share(facts["missing"][name], facts["counts"]["rows"]) + told


def _features(cohort: Cohort, facts: Facts) -> str:
    return _table(
        ("column", "type", "unit", "missing", "meaning"),
        [
            (name, feature.type, feature.unit or "", _missing(name, facts), feature.description)
            for name, feature in cohort.features.items()
        ],
    )


def _lift(found: Facts) -> str:
    rows = []
    for area in ("overall", "stratum"):
        part = found[area]
        if "why" in part:
            rows.append((area, "-", "-", "-", "-", f"{part['verdict']}: {part['why']}"))
        for measure in ("auroc", "brier"):
            if measure in part:
                score = part[measure]
                low, high = score["interval"]
                difference = f"{score['difference']} ({low} to {high})"
                rows.append((area, measure.upper(), score["real"], score["augmented"], difference, score["verdict"]))
    head = ("validation rows", "measure", "on real rows", "on real + synthetic", "difference (95 %)", "verdict")
    return _table(head, rows)


def _or_few(score: float | None) -> float | str:
    return "too few rows" if score is None else score


def _synthetic(found: Facts) -> str:
    if not found["made"]:
        text = f"There are no synthetic rows in this release: {found['why']}."
    else:
        text = (
            f"{found['made']} synthetic rows stand in `train.parquet`, all of the stratum `{found['stratum']}`, the "
            f"sparsest that can be learned from: they come from a Gaussian copula (SDV) fitted on its "
            f"{found['real_rows']} real training rows of {found['real_persons']} persons. `is_synthetic` marks each; "
            "their keys start with a namespace of their own; `silo` and `index_date` are null. None equals a real row "
            "in every feature."
        )
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
    if "lift" in found:
        text += "\n\nDo they help? A logistic regression, judged on real validation rows:\n\n" + _lift(found["lift"])
    return text


def datasheet(cohort: Cohort, facts: Facts) -> str:
    """The datasheet of a release, in Markdown; `facts` are those of its `release.json`."""
    inputs = facts["inputs"]
    by_split = {split: facts["by_split"][split] for split in SPLITS if split in facts["by_split"]}
    in_order = sorted(facts["by_split_and_stratum"], key=lambda found: SPLITS.index(found["split"]))
    by_stratum = {f"{found['split']}, {found['stratum']}": found for found in in_order}
    limits = "\n".join(f"* {limit}" for limit in cohort.limits)
    empty = [split for split in SPLITS if split not in by_split]
    parts = [
        f"# {cohort.title}",
        f"Training set `{cohort.name}`, version `{facts['version']}`.",
        "## Motivation",
        cohort.description.strip(),
        "## Composition",
        "A row is a person at an index date; a person may have several. The counts are of real rows.",
        f"Index date: {_sentence(cohort.index_date)}",
        f"Outcome (a window of {cohort.outcome_window_days} days): {_sentence(cohort.outcome)}",
        _counts("split", {"all": facts["counts"]} | by_split),
        *([f"No row fell into: {', '.join(empty)}."] if empty else []),
        _counts("silo", facts["by_silo"]),
        _counts("split, stratum", by_stratum),
        f"The stratum is `{cohort.stratum}`.",
        "### Features",
        "Each is known on or before the index date.",
        _features(cohort, facts),
        "### Synthetic rows",
        _synthetic(facts["synthetic"]),
        "## Collection process",
        "Taken from the lake's curated tables, at these Delta versions: "
        + ", ".join(f"`{name}` {version}" for name, version in inputs["gold"].items())
        + ". How many candidates each criterion left:",
        _attrition(facts["attrition"]),
        "## Preprocessing, cleaning, labelling",
        "Nothing is imputed: a missing value is null, and so is one that a silo cannot tell (it would be a nought that "
        "nobody knows of). Persons are put into splits by a hash of the seed "
        f"`{cohort.splits.seed}` and their key ({cohort.splits.train} % train, {cohort.splits.validation} % "
        f"validation, {cohort.splits.test} % test): a person is in one split, the same in every release. A person is a "
        "`patient_key`; someone whom two silos know under two keys counts as two, and may be in two splits.",
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
