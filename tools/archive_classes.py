"""Keep the classes that a session loads, parsed, in .jars/classes.jsa: Java maps them; Spark starts in half the time.

A table is made, merged and read; then Java writes down what it loaded (application class-data sharing,
https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html). A Java that cannot do so leaves no archive: all
works as well without, and starts slower.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from spark_jobs.session import CLASSES, spark_session


def keep() -> None:
    """Make the archive anew."""
    CLASSES.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        made, table = Path(folder, "classes.jsa"), Path(folder, "table")
        for name in ("SPARK_REMOTE", "SPARK_MASTER"):
            os.environ.pop(name, None)
        os.environ["COHORTLAKE_JAVA_OPTIONS"] = f"-XX:ArchiveClassesAtExit={made} -Xlog:disable"
        session = spark_session()
        rows = session.createDataFrame([(1, "a"), (2, "b")], "id long, said string")
        rows.write.format("delta").save(str(table))
        rows.createOrReplaceTempView("rows")
        session.sql(
            f"MERGE INTO delta.`{table}` t USING rows s ON t.id = s.id + 1 "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        )
        session.read.format("delta").load(str(table)).groupBy("said").count().collect()
        java = session.sparkContext._gateway.proc
        session.stop()
        java.stdin.close()  # its sign to end
        java.wait(300)
        if made.exists():
            # Beside the jars first: no session may map half an archive.
            fresh = CLASSES.with_name(f"{CLASSES.name}.{os.getpid()}")
            shutil.move(made, fresh)
            fresh.replace(CLASSES)


if __name__ == "__main__":
    keep()
    sys.exit(not CLASSES.exists())
