"""Silver to gold: de-identify, build the curated tables, gate them, publish.

Starts when `ingest` updates the asset `silver`, with that run's name, lake and `force`; updates the asset `gold`, and
so starts `training`. A gate that fails leaves the last good version of every table live.

* **By hand**: trigger it; it curates what is live in silver.
* **Failed?** Mend the cause, then clear the failed task (with downstream).
"""

from airflow.sdk import chain
from common import GOLD, SILVER, report, stage_dag, step_tasks

from cohortlake.plan import CURATE

with stage_dag(CURATE, schedule=[SILVER], doc_md=__doc__):
    chain(step_tasks(CURATE, outlets=[GOLD]), report())
