"""The record of proofs, and which of them are stale: proved of other content than there is now."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tools.proofs import RECORD, ProofError
from tools.proofs.dependencies import Sources
from tools.proofs.tree import file_hashes

MARK = "acceptance"
EXAMPLE = '{"<proof>": {"hash": "<sha256>", "tests": <count>, "seconds": <count>}}'


class Proved(BaseModel):
    """The last full green run of a proof: the hash of what it depended on, how many tests passed, and its seconds."""

    model_config = ConfigDict(extra="forbid")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    tests: int = Field(ge=1)
    seconds: int = Field(ge=0)


@dataclass(frozen=True)
class Proof:
    """The slow tests of one module, what they depend on (paths), and the hash of that as it is now."""

    name: str
    path: str
    depends_on: frozenset[str]
    hash: str


_RECORD = TypeAdapter(dict[str, Proved])


def find_proofs(root: Path) -> dict[str, Proof]:
    """Every proof of the tree by name: a test module with tests that are marked as `acceptance`."""
    hashes = file_hashes(root)
    sources = Sources(root, {*hashes} - {RECORD})
    proofs: dict[str, Proof] = {}
    for path in sorted(hashes):
        stem = PurePosixPath(path).stem
        is_test = path.startswith("tests/") and path.endswith(".py") and stem.startswith("test_")
        if not is_test or not _has_mark((root / path).read_bytes()):
            continue
        name = stem.removeprefix("test_")
        if name in proofs:
            raise ProofError(f"{path} and {proofs[name].path} are both the proof `{name}`: rename one")
        depends_on = frozenset(sources.dependencies(path))
        proofs[name] = Proof(name, path, depends_on, _hash({one: hashes[one] for one in depends_on}))
    return proofs


def _has_mark(source: bytes) -> bool:
    """Whether a module says `pytest.mark.acceptance`, and not only in a comment or a text."""
    if MARK.encode() not in source:
        return False
    return any(isinstance(node, ast.Attribute) and node.attr == MARK for node in ast.walk(ast.parse(source)))


def _hash(files: dict[str, str]) -> str:
    return hashlib.sha256("".join(f"{path}\n{files[path]}\n" for path in sorted(files)).encode()).hexdigest()


def read_record(root: Path) -> dict[str, Proved]:
    """What was proved, by the proof's name. Raises ProofError where the file is no record."""
    path = root / RECORD
    if not path.exists():
        return {}
    try:
        return _RECORD.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ProofError(f"{RECORD}, {place}: {first['msg']}; expected is {EXAMPLE}") from None


def write_record(root: Path, record: dict[str, Proved]) -> None:
    """Write the record, one proof a line, so that changes of two branches meet where they touch the same proof."""
    lines = [f"  {json.dumps(name)}: {json.dumps(record[name].model_dump())}" for name in sorted(record)]
    (root / RECORD).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")


def why_stale(proof: Proof, record: dict[str, Proved]) -> str | None:
    """Why the record does not hold for a proof; None where it does."""
    if proof.name not in record:
        return "it was never proved"
    return None if record[proof.name].hash == proof.hash else "what it depends on has changed since it was proved"


def faults(proofs: dict[str, Proof], record: dict[str, Proved]) -> list[str]:
    """Everything by which the record is not that of the tree, with the command that mends it."""
    stale = {name: why for name, proof in proofs.items() if (why := why_stale(proof, record))}
    found = [f"proof `{name}`: {why}. Run: python -m tools.proofs run {name}" for name, why in stale.items()]
    gone = [f"{RECORD} has `{name}`, of which there are no tests. Run: python -m tools.proofs run"
            for name in sorted({*record} - {*proofs})]  # fmt: skip
    return found + gone
