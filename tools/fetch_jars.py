"""Fetch the jars of Delta and of PostgreSQL's driver once, check them against jars.sha256, keep them in .jars/.

Spark's own Ivy asks the repositories that the machine is set up for, so no address stands here; resolving at each start
of Spark would cost 10 to 30 seconds, so the jars are on its class path from then on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
GROUPS = {
    "delta-spark_4.2_2.13": "io.delta",
    "delta-storage": "io.delta",
    "delta-kernel-api": "io.delta",
    "delta-kernel-defaults": "io.delta",
    "delta-kernel-unitycatalog": "io.delta",
    "unitycatalog-client": "io.unitycatalog",
    "postgresql": "org.postgresql",
}


@dataclass(frozen=True)
class Jars:
    """Pinned jars: `hashes` lists `sha256  file`, `packages` are what Ivy is asked for, without `excluded` ones."""

    what: str
    folder: Path
    hashes: Path
    packages: tuple[str, ...]
    excluded: tuple[str, ...]

    def wanted(self) -> dict[str, str]:
        """Jar file name -> sha256."""
        lines = self.hashes.read_text(encoding="utf-8").split("\n")
        return {name: digest for digest, name in (line.split() for line in lines if line.strip())}

    def missing(self) -> list[str]:
        """The jars that are not there, or do not have their hash."""

        def good(name: str, digest: str) -> bool:
            path = self.folder / name
            return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest

        return [name for name, digest in self.wanted().items() if not good(name, digest)]


def trusting_the_machine(store: Path) -> str:
    """Java options with which the wheel's runtime trusts what the machine trusts, a hospital's own authority with it.

    A system's Java does so already. Empty where the machine says nothing.
    """
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore
    from cryptography.x509 import load_pem_x509_certificates

    bundle = ssl.get_default_verify_paths().cafile
    if not bundle:
        return ""
    with warnings.catch_warnings():
        # A machine's bundle may hold old authorities whose form is no longer quite right.
        warnings.simplefilter("ignore")
        found = load_pem_x509_certificates(Path(bundle).read_bytes())
    named = [PKCS12Certificate(certificate, str(n).encode()) for n, certificate in enumerate(found)]
    password = "changeit"  # noqa: S105 (Java's own default; certificates are no secret)
    store.write_bytes(serialize_java_truststore(named, BestAvailableEncryption(password.encode())))
    return f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword={password}"


def fetch(jars: Jars) -> None:
    """Fetch what is missing. Ends the program, with what Ivy said, where a jar stays missing."""
    if not jars.missing():
        return
    sys.path.insert(0, str(ROOT))
    from spark_jobs.java import is_wheel, java_home

    with tempfile.TemporaryDirectory() as folder:
        # Ivy resolves while spark-submit starts; the program itself has nothing to do.
        program = Path(folder, "nothing.py")
        program.write_text("", encoding="utf-8")
        command = [
            str(Path(sys.executable).parent / "spark-submit"),
            "--packages", ",".join(jars.packages),
            "--exclude-packages", ",".join(jars.excluded),
            "--conf", f"spark.jars.ivy={folder}/ivy",
            str(program),
        ]  # fmt: skip
        env = {**os.environ, "PYSPARK_PYTHON": sys.executable, "JAVA_HOME": java_home()}
        if is_wheel(env["JAVA_HOME"]):
            env["JDK_JAVA_OPTIONS"] = trusting_the_machine(Path(folder, "trust.p12"))
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        jars.folder.mkdir(exist_ok=True)
        for name in jars.wanted():
            for found in Path(folder, "ivy/jars").glob(f"*_{name}"):
                shutil.copy(found, jars.folder / name)
    if left := jars.missing():
        sys.exit(
            f"These {jars.what} jars could not be fetched, or do not have the pinned hash: {', '.join(left)}.\n"
            "Is Maven Central reachable? What Ivy said:\n" + done.stderr[-3000:]
        )


# What the jars ask for besides each other: pyspark brings it already, or it is for compilers only.
TRANSITIVE = (
    "org.antlr:antlr4-runtime", "com.fasterxml.jackson.core:jackson-core",
    "com.fasterxml.jackson.core:jackson-databind",
    "com.fasterxml.jackson.core:jackson-annotations", "com.fasterxml.jackson.datatype:jackson-datatype-jdk8",
    "com.fasterxml.jackson.datatype:jackson-datatype-jsr310", "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime", "org.apache.parquet:parquet-hadoop", "org.apache.parquet:parquet-column",
    "org.slf4j:slf4j-api", "org.roaringbitmap:RoaringBitmap", "com.github.luben:zstd-jni",
    "org.xerial.snappy:snappy-java", "io.airlift:aircompressor", "com.google.code.findbugs:jsr305",
    "org.openapitools:jackson-databind-nullable", "jakarta.annotation:jakarta.annotation-api",
    "io.unitycatalog:unitycatalog-hadoop", "org.apache.logging.log4j:log4j-core", "org.apache.logging.log4j:log4j-api",
    "org.apache.logging.log4j:log4j-slf4j2-impl", "org.locationtech.jts:jts-core",
    "org.checkerframework:checker-qual",
)  # fmt: skip


def delta() -> Jars:
    """The jars of Delta and of PostgreSQL's driver, for Spark."""
    hashes = ROOT / "spark_jobs/jars.sha256"
    named = (line.split()[1].removesuffix(".jar").rsplit("-", 1) for line in hashes.read_text("utf-8").splitlines())
    packages = tuple(f"{GROUPS[artifact]}:{artifact}:{version}" for artifact, version in named)
    return Jars("Spark", ROOT / ".jars", hashes, packages, TRANSITIVE)


if __name__ == "__main__":
    fetch(delta())
