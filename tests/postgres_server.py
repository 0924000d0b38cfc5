"""A PostgreSQL server of our own: Debian's, run by a user without rights, on loopback, in a folder that goes."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PASSWORD = "correct horse"
# initdb does not run as root; any user who owns nothing does.
NOBODY = "nobody"


def program(name: str) -> str | None:
    """A program of the newest server that is installed."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(places[-1]) if places else shutil.which(name)


@dataclass
class PostgresServer:
    """A running server. `user` may read and write; its password is PASSWORD."""

    port: int
    folder: Path
    user: str = "reader"
    database: str = "ehr"

    def connect(self, **changes: Any) -> Any:
        about = {"host": "127.0.0.1", "port": self.port, "dbname": self.database, "user": self.user}
        connection = psycopg2.connect(**{**about, "password": PASSWORD, **changes})
        connection.autocommit = True
        return connection

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each by itself; gives the rows of the last."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def load(self, path: Path, table: str, types: dict[str, str]) -> None:
        """Load a CSV into a new table, its columns text unless `types` says otherwise."""
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            columns = stream.readline().rstrip("\r\n").split(",")
            stream.seek(0)
            listed = ", ".join(f'"{name}" {types.get(name, "text")}' for name in columns)
            connection = self.connect()
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE TABLE "{table}" ({listed})')
                cursor.copy_expert(f'COPY "{table}" FROM STDIN (FORMAT csv, HEADER)', stream)
            connection.close()

    def speak_tls(self) -> Path:
        """Turn TLS on, with a certificate of its own; gives the file that a client trusts."""
        data = self.folder / "data"
        for name, content in zip(("server.key", "server.crt"), self_signed(), strict=True):
            (data / name).write_bytes(content)
            (data / name).chmod(0o600)
            if os.getuid() == 0:
                shutil.chown(data / name, NOBODY)
        self.run("ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")
        while self.run("SHOW ssl") != [("on",)]:
            time.sleep(0.05)  # the server reads its settings when it comes to it
        return data / "server.crt"

    def start(self) -> None:
        """Start it; it listens on loopback only."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self.control("start", "-o", options, "-l", str(self.folder / "log"))

    def control(self, action: str, *options: str) -> None:
        """Start or stop the server."""
        command = [str(program("pg_ctl")), "-D", str(self.folder / "data"), "-w", action, *options]
        _run(command)


def self_signed() -> tuple[bytes, bytes]:
    """A key and its certificate for loopback, PEM, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret, certificate.public_bytes(Encoding.PEM)


def _owner() -> dict[str, Any]:
    return {"user": NOBODY, "group": pwd.getpwnam(NOBODY).pw_gid, "extra_groups": []} if os.getuid() == 0 else {}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, timeout=120, **_owner())
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr or done.stdout}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving() -> Iterator[PostgresServer]:
    """A server, up for as long as the context lasts. Needs `initdb`."""
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, NOBODY)
        server = PostgresServer(_free_port(), folder)
        _run(
            [
                str(program("initdb")), "-D", str(folder / "data"), "-U", server.user, "--auth=scram-sha-256",
                f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync",
            ]
        )  # fmt: skip
        server.start()
        try:
            connection = server.connect(dbname="postgres")
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {server.database}")
            connection.close()
            yield server
        finally:
            server.control("stop", "-m", "immediate")
