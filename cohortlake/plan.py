"""The plan: the steps of a run, derived from the catalog. Three runners execute the same plan.

This module imports no engine, so that a DAG file can read the plan while Airflow parses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cohortlake.core.catalog import Catalog, load_catalog

INGEST, CURATE, TRAINING = "ingest", "curate", "training"
SILO_STEPS = ("land", "standardise", "gate", "publish")


@dataclass(frozen=True)
class Step:
    """A step: `name` is unique in the plan, `job` is `module:function`, `scope` the silo, `gold`, or the cohort."""

    name: str
    job: str
    scope: str
    stage: str
    needs: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What the step does: `land`, `gate`, ..."""
        return self.name.split(".")[0]


JOBS = {
    "land": "spark_jobs.land:run",
    "standardise": "spark_jobs.standardise:run",
    "gate": "expectations.gate:run",
    "publish": "spark_jobs.publish:run",
    "match": "spark_jobs.match:run",
    "link": "spark_jobs.link:run",
    "curate": "spark_jobs.curate:run",
    "cohort": "spark_jobs.cohort:run",
    "augment": "synthetic.augment:run",
    "release": "spark_jobs.release:run",
}


def _silo_steps(silo: str) -> list[Step]:
    bronze, staged, gated, silver = f"bronze.{silo}", f"staged.{silo}", f"gated.{silo}", "silver"
    flow = {
        "land": (("source",), (bronze,)),
        "standardise": ((bronze,), (staged,)),
        "gate": ((staged, silver), (gated, "quarantine")),
        "publish": ((gated,), (silver,)),
    }
    steps: list[Step] = []
    for kind, (inputs, outputs) in flow.items():
        needs = (steps[-1].name,) if steps else ()
        steps.append(Step(f"{kind}.{silo}", JOBS[kind], silo, INGEST, needs, inputs, outputs))
    return steps


def _gold_steps() -> list[Step]:
    flow = {
        "curate": (("silver", "same_facts", "persons"), ("staged.gold",)),
        "gate": (("staged.gold",), ("gated.gold",)),
        "publish": (("gated.gold",), ("gold",)),
    }
    steps = [
        Step("match.doors", JOBS["match"], "doors", CURATE, (), ("silver",), ("same_facts",)),
        Step("link.persons", JOBS["link"], "persons", CURATE, ("match.doors",), ("silver",), ("persons",)),
    ]
    for kind, (inputs, outputs) in flow.items():
        needs = (steps[-1].name,) if steps else ()
        job = f"{JOBS[kind]}_gold" if kind != "curate" else JOBS[kind]
        steps.append(Step(f"{kind}.gold", job, "gold", CURATE, needs, inputs, outputs))
    return steps


def _cohort_steps(cohort: str) -> list[Step]:
    flow = {
        "cohort": (("gold",), (f"cohort.{cohort}",)),
        "augment": ((f"cohort.{cohort}",), (f"synthetic.{cohort}",)),
        "release": ((f"cohort.{cohort}", f"synthetic.{cohort}"), (f"release.{cohort}",)),
    }
    steps: list[Step] = []
    for kind, (inputs, outputs) in flow.items():
        needs = (steps[-1].name,) if steps else ()
        steps.append(Step(f"{kind}.{cohort}", JOBS[kind], cohort, TRAINING, needs, inputs, outputs))
    return steps


def make_plan(catalog: Catalog) -> list[Step]:
    """Every step, in an order in which it can run: silos, then persons and gold, then cohorts."""
    steps: list[Step] = []
    for silo in catalog.silos:
        steps += _silo_steps(silo)
    steps += _gold_steps()
    for cohort in catalog.cohorts:
        steps += _cohort_steps(cohort)
    return steps


def load_plan(catalog_folder: Path | None = None) -> list[Step]:
    """The plan of a catalog folder (the project's own by default). Raises CatalogError for a wrong declaration."""
    return make_plan(load_catalog(catalog_folder))
