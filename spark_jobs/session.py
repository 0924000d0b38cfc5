"""The one Spark session of a process: embedded by default, a Connect server's or a cluster's by environment.

`SPARK_REMOTE` (sc://host:port) names a Spark Connect server, `SPARK_MASTER` (spark://host:port) a cluster.
`COHORTLAKE_DRIVER_MEMORY` is the embedded JVM's heap (3g), `COHORTLAKE_JAVA_OPTIONS` are options for it besides ours,
such as `-XX:TieredStopAtLevel=4`, all of its compilers, which pays where a session lives long.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession

from spark_jobs.java import java_home

JARS = Path(__file__).parent.parent / ".jars"
# The classes that a session loads, parsed (AppCDS); `make setup` keeps them (tools/archive_classes.py). Java passes
# over an archive that another Java made, or of other jars.
CLASSES = JARS / "classes.jsa"
# The workers' C library keeps a block's memory for the next block, in large pages, where it would give it back and have
# it cleared anew each time (https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html).
_KEPT = 1 << 29
WORKER_MEMORY = f"glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold={_KEPT}:glibc.malloc.mmap_threshold={_KEPT}"


def settings(master: str, memory: str | None = None) -> dict[str, str]:
    """Spark's settings for a small machine; each was measured to help there (docs/performance.md)."""
    cores = len(os.sched_getaffinity(0))
    jars = [str(jar) for jar in sorted(JARS.glob("*.jar"))]
    options = ["-XX:+UseParallelGC", "-XX:-UsePerfData", "-Dderby.system.home=/dev/null"]
    if local := master.startswith("local"):
        # Most of a small run's time is the compilers': Spark's for each plan, then the JVM's second one for its code.
        options += ["-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=240m"]
        if CLASSES.exists():
            options += [f'-XX:SharedArchiveFile="{CLASSES}"', "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    options += os.environ.get("COHORTLAKE_JAVA_OPTIONS", "").split()
    found = {
        "spark.app.name": "cohortlake",
        "spark.master": master,
        # Only what is on the JVM's own class path comes from the archive; a cluster's executors are sent the jars.
        **({"spark.driver.extraClassPath": ":".join(jars)} if local else {"spark.jars": ",".join(jars)}),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.memory": memory or os.environ.get("COHORTLAKE_DRIVER_MEMORY", "3g"),
        "spark.driver.extraJavaOptions": " ".join(options),
        "spark.sql.shuffle.partitions": str(max(2, cores)),
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
        # A table of one file of a few megabytes is read by all cores; by default a file weighs 4 MB more than it has.
        "spark.sql.files.openCostInBytes": "65536",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
        # What the SQL parser learns of long texts grows for ever otherwise: views are long texts.
        "spark.sql.parser.manageParserCaches": "true",
        "spark.sql.parser.parserDfaCacheFlushRatio": "10",
        "spark.ui.enabled": "false",
        # Spark keeps the last thousand plans as text and as generated code, for a UI that nobody sees.
        "spark.sql.ui.retainedExecutions": "10",
        "spark.ui.retainedJobs": "50",
        "spark.ui.retainedStages": "50",
        "spark.sql.codegen.cache.maxEntries": "100",
        # No table of ours lies there; Spark makes the folder where it stands.
        "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "cohortlake-warehouse"),
        "spark.ui.showConsoleProgress": "false",
        "spark.python.worker.reuse": "true",
        "spark.executorEnv.GLIBC_TUNABLES": WORKER_MEMORY,
    }
    if master.startswith("local"):
        found["spark.driver.bindAddress"] = found["spark.driver.host"] = "127.0.0.1"
    return found


def java_environment() -> dict[str, str]:
    """Environment for the JVM and for the Python workers that it starts."""
    return {"JAVA_HOME": java_home(), "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}


def spark_session() -> SparkSession:
    """The process's session, started on first use (2 to 8 s embedded, 2 s as a Connect client)."""
    remote = os.environ.get("SPARK_REMOTE")
    if remote:
        return SparkSession.builder.remote(remote).getOrCreate()
    os.environ.update(java_environment())
    builder = SparkSession.builder
    for key, value in settings(os.environ.get("SPARK_MASTER", "local[*]")).items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
