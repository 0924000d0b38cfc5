"""A session with a PostgreSQL database: one snapshot that all readers share, and errors that say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2 import errors

from cohortlake.core.catalog.origin import Postgresql
from cohortlake.core.database.sql import SETTINGS, Column, Reading, UnreadableTableError, quoted
from cohortlake.core.errors import SourceError

CONNECT_SECONDS = 20
# pg_dump's way: a table that is being altered is waited for, not for ever.
LOCK_SECONDS = 60
SAYINGS = {
    "password authentication failed": ("the password is wrong", "Set {variable} to the password of {user}."),
    "no password supplied": ("it asks for a password", "Set {variable} to the password of {user}."),
    "no pg_hba.conf entry": ("it does not let this machine in", "Have this address and user allowed in pg_hba.conf."),
    "Connection refused": ("nothing answers there", "Is the server up? Are source.host and source.port right?"),
    "could not translate host name": ("the host is not known", "Is source.host right?"),
    "timeout expired": ("it does not answer", "Is the server up? Does a firewall stand between?"),
    "certificate": ("its certificate is not trusted", "Give its authority: source.ca_file."),
    "does not support SSL": ("it speaks no TLS", "Have TLS turned on: patients' data may not travel in the clear."),
    "starting up": ("it is starting up", "Run again in a minute."),
    "shutting down": ("it is shutting down", "Run again when it is up."),
    "too many clients": ("it has no connection left", "Run again later, or ask for a reserved one."),
    "database": ("there is no such database", "Is source.database right?"),
    "role": ("it does not know the user", "Is source.user right?"),
}


@dataclass(frozen=True)
class Snapshot:
    """One moment of the database: `id` lets other connections read it, `moment` is its instant, by the server."""

    connection: Any
    id: str
    moment: str
    version: int

    def ask(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a small query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def columns(self, schema: str, table: str) -> list[Column]:
        """A table's or view's columns. Raises UnreadableTableError where there is none that this user may read."""
        found = self.ask(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
            "ORDER BY ordinal_position",
            (schema, table),
        )
        if not found:
            raise UnreadableTableError(f"there is no table {schema}.{table}, or the user may not see it")
        return [Column(name, kind) for name, kind in found]

    def hold(self, reading: Reading) -> None:
        """Keep the table as it is until the snapshot ends: nobody can drop a column of it meanwhile.

        Raises UnreadableTableError for a table that the user may not read.
        """
        name = f"{quoted(reading.table[0])}.{quoted(reading.table[1])}"
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {name} IN ACCESS SHARE MODE")
        except errors.InsufficientPrivilege as error:
            raise UnreadableTableError(f"the user may not read {'.'.join(reading.table)}") from error
        except errors.LockNotAvailable as error:
            raise UnreadableTableError(f"{'.'.join(reading.table)} is locked: it is being altered") from error

    def pages(self, reading: Reading) -> int:
        """Pages of a plain table that can be read in ranges; 0 for a view, and for servers before 14."""
        found = self.ask(
            "SELECT c.relpages FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r'",
            reading.table,
        )
        return int(found[0][0]) if found and self.version >= 140000 else 0


def password(source: Postgresql) -> str:
    """The password that the declaration's variable holds. Raises SourceError where it is not set."""
    found = os.environ.get(source.password_variable)
    if not found:
        raise SourceError(
            f"the variable {source.password_variable} is not set",
            f"Set it to the password of {source.user} at {source.host}.",
        )
    return found


@contextmanager
def snapshot(source: Postgresql) -> Iterator[Snapshot]:
    """A snapshot of the database, read-only, for as long as the context lasts. Raises SourceError."""
    connection = _connect(source)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            for setting in SETTINGS:
                cursor.execute(setting)
            cursor.execute('SELECT pg_export_snapshot(), to_char(now(), \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')')
            name, moment = cursor.fetchone()
        yield Snapshot(connection, name, moment, connection.server_version)
    except psycopg2.OperationalError as error:
        raise SourceError(
            f"the connection to {source.host} broke while {source.database} was read",
            "Nothing was taken. Is the server up? Run again.",
        ) from error
    except psycopg2.Error as error:
        raise SourceError(
            f"{source.database} at {source.host} refuses a question: {type(error).__name__}",
            "May the user read the tables? Nothing was taken.",
        ) from error
    finally:
        connection.close()


def _connect(source: Postgresql) -> Any:
    try:
        return psycopg2.connect(
            host=source.host, port=source.port, dbname=source.database, user=source.user, password=password(source),
            sslmode=source.tls, connect_timeout=CONNECT_SECONDS, application_name="cohortlake",
            **({"sslrootcert": source.ca_file} if source.ca_file else {}),
        )  # fmt: skip
    except psycopg2.OperationalError as error:
        text = str(error)
        words = {"variable": source.password_variable, "user": source.user}
        for sign, (reason, hint) in SAYINGS.items():
            if sign in text:
                raise SourceError(f"{source.host}:{source.port}: {reason}", hint.format(**words)) from error
        raise SourceError(
            f"{source.host}:{source.port}: {text.splitlines()[0]}", "Mend that, then run again."
        ) from error
