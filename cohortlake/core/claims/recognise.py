"""Whether a file is of a format, by as much of its header as there is."""

from __future__ import annotations

from functools import cache

from cohortlake.core.claims.declared import Claims, load_claims
from cohortlake.core.claims.layout import Layout, plain
from cohortlake.core.claims.source import RowSource
from cohortlake.core.readers.delimited import NotATableError, read

# Of a header that is cut off, how much must be columns that the format names.
HALF = 0.5


def looks_like(head: bytes, name: str) -> bool:
    """Whether a file that begins with these bytes has a header of one of a format's kinds, as far as it is there."""
    declared = load_claims(name)
    try:
        table = read(head)
    except NotATableError:
        return False
    if table is None:
        return False
    is_whole = len(table.start.raw) < len(head) or table.start.raw.endswith((b"\n", b"\r"))
    if is_whole:
        return any(Layout(kind, table.columns).is_known for kind in declared.kinds.values())
    columns = {plain(column) for column in table.columns[:-1]}
    return len(columns & named(name)) > HALF * len(columns)


@cache
def named(name: str) -> frozenset[str]:
    """Every column that a format's declarations name."""
    return frozenset().union(*(_of_kind(kind, load_claims(name)) for kind in load_claims(name).kinds))


def _of_kind(name: str, declared: Claims) -> set[str]:
    kind = declared.kinds[name]
    source = RowSource(declared, Layout(kind, ()))
    for made in kind.makes:
        source.resource(made)
    return source.named | {plain(column) for column in (*kind.known_by, *kind.needed, *kind.left_out)}
