"""Every silo from its source into silver: land, standardise, gate, publish.

Silos run independently: one that fails keeps its last good version live and does not stop the others. When all are done
and at least one has published, the asset `silver` is updated (once), and `curate` starts. If any silo failed, this run
ends as failed, and its report says why.

* **Schedule**: `COHORTLAKE_SCHEDULE` (cron, UTC), by default daily at 02:00. `none`: only when triggered.
* **Missed a day?** The next run takes in all that has arrived. Nothing is landed twice, so run it as often as you like.
* **A protocol that nobody signed?** Its silo does not run, unless triggered with `force`.
* **A silo failed?** Mend it, then clear its failed task (with downstream): the rest of the chain follows by itself.
"""

from airflow.sdk import chain
from common import SILVER, announce, mapped_step_tasks, report, schedule, stage_dag

from cohortlake.plan import INGEST

with stage_dag(INGEST, schedule=schedule(), doc_md=__doc__):
    silos = mapped_step_tasks(INGEST, group_id="silo")
    chain(silos, announce.override(task_id="silver", outlets=[SILVER])(), report())
