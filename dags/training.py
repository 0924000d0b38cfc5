"""Gold to training releases: draw each cohort, augment it where declared and proven to help, release it.

Starts when `curate` updates the asset `gold`. Cohorts run independently: one that is blocked (by its gate, its leakage
or bias report) does not stop the others. A release is immutable: the same inputs give the same release, not a second.

* **By hand**: trigger it; it draws from what is live in gold.
* **Failed?** Mend the cause, then clear the failed task (with downstream).
"""

from airflow.sdk import chain
from common import GOLD, mapped_step_tasks, report, stage_dag

from cohortlake.plan import TRAINING

with stage_dag(TRAINING, schedule=[GOLD], doc_md=__doc__):
    chain(mapped_step_tasks(TRAINING, group_id="training_set"), report())
