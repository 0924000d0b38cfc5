"""Airflow's scheduler, with the large libraries already imported that the tasks need: `python -m tools.airflow_scheduler`.

Every task is forked from the scheduler's workers, so what is imported here once costs a task nothing. Our own modules
are not among them: a task must run them as they are when it starts.
"""

from __future__ import annotations

import sys
from importlib import import_module

LIBRARIES = ["pyspark.sql.connect.session", "great_expectations"]

if __name__ == "__main__":
    for library in LIBRARIES:
        import_module(library)
    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    from airflow.__main__ import main

    main()
