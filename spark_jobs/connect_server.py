"""A Spark Connect server: one session on a machine or a cluster, for all the tasks of a run.

    python -m spark_jobs.connect_server --master spark://spark-master:7077 --address 0.0.0.0 --port 15002

The wheel has no start script for it; `spark-submit` of its class is one.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pyspark

from spark_jobs.session import java_environment, settings

SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


def command(master: str, address: str, port: int) -> list[str]:
    """The command that serves on address:port; run it with `java_environment()`."""
    chosen = settings(master) | {
        "spark.connect.grpc.binding.address": address,
        "spark.connect.grpc.binding.port": str(port),
        "spark.log.level": "ERROR",
    }
    options = [part for name, value in chosen.items() for part in ("--conf", f"{name}={value}")]
    return [str(Path(pyspark.__file__).parent / "bin/spark-submit"), "--class", SERVER, *options, "spark-internal"]


def main() -> None:
    """Become the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", default="local[*]")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=15002)
    asked = parser.parse_args()
    arguments = command(asked.master, asked.address, asked.port)
    os.execve(arguments[0], arguments, os.environ | java_environment())  # noqa: S606 (our own command)


if __name__ == "__main__":
    main()
