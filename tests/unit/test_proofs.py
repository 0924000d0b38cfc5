"""Slow proofs and their record: a change that a proof can feel makes it stale, another does not, and no lie passes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cohortlake.core.convert import FORMATS
from cohortlake.plan import JOBS
from tools.proofs import RECORD, ROOT, ProofError
from tools.proofs.__main__ import app, draw
from tools.proofs.record import Proof, Proved, faults, find_proofs, read_record, write_record

# A project of one proof that reaches its rooms in every way there is, and of much that it does not reach.
REACHED = {
    "requirements.lock": "pandas==2\n",
    "rooms/__init__.py": "",
    "rooms/flow.py": "from rooms import a\nfrom . import beside\nJOBS = {'c': 'rooms.inner.c:run'}\n",
    "rooms/a.py": "def run():\n    from rooms.late import x\n",
    "rooms/late.py": "x = 1\n",
    "rooms/beside.py": "import sys\nCOMMAND = [sys.executable, '-m', 'program', 'run']\n",
    "rooms/rules.yaml": "a: 1\n",
    "rooms/texts/page.html": "<p>\n",
    "rooms/inner/__init__.py": "",
    "rooms/inner/c.py": "def load(name):\n    return __import__(f'formats.{name}')\n",
    "formats/__init__.py": "",
    "formats/hl7.py": "from pathlib import Path\nFOLDER = Path(__file__).parents[1] / 'catalog/formats'\n",
    "program/__init__.py": "",
    "program/__main__.py": "PAGE = 'docs/read.md'\n",
    "docs/read.md": "read by the program\n",
    "catalog/formats/map.yaml": "a: 1\n",
    "tests/__init__.py": "",
    "tests/conftest.py": "",
    "tests/slow/__init__.py": "",
    "tests/slow/test_flow.py": (
        "import pytest\nfrom rooms.flow import JOBS\n\n@pytest.mark.acceptance\ndef test_flow():\n    assert JOBS\n"
    ),
}
NOT_REACHED = {
    "README.md": "words\n",
    "docs/other.md": "words\n",
    "rooms/apart.py": "y = 2\n",
    "program/other.py": "y = 2\n",
    "tests/unit/__init__.py": "",
    "tests/unit/test_quick.py": "def test_quick():\n    assert 'pytest.mark.acceptance'\n",
    "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['acceptance: slow']\naddopts = '-m \"not acceptance\"'\n",
    ".gitignore": "__pycache__/\n.pytest_cache/\nbuild/\n*.made\n",
    ".gitattributes": "* text=auto\n",
}
RUN = "python -m tools.proofs run"


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, "-C", str(root), *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The small project's tests need no plugins of others, which take seconds to load.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = tmp_path / "project"
    for path, text in {**REACHED, **NOT_REACHED}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    git(tmp_path, "init", "-q", "project")
    return root


def proof(root: Path) -> Proof:
    [one] = find_proofs(root).values()
    return one


def do(root: Path, *arguments: str) -> str:
    """A command's output. Raises ProofError where the command fails."""
    answer = CliRunner().invoke(app, [*arguments, "--root", str(root)])
    if answer.exception:
        raise answer.exception
    return answer.output


def test_what_is_reached_in_any_way_is_depended_on(project):
    assert proof(project).name == "flow"
    assert proof(project).depends_on == {*REACHED}


@pytest.mark.parametrize("path", REACHED)
def test_a_change_of_what_is_reached_makes_the_proof_stale(project, path):
    record = {"flow": Proved(hash=proof(project).hash, tests=1, seconds=1)}
    assert faults(find_proofs(project), record) == []
    with (project / path).open("a") as stream:
        stream.write("\n" if path.endswith(".html") else "\n# changed\n")
    [said] = faults(find_proofs(project), record)
    assert said == f"proof `flow`: what it depends on has changed since it was proved. Run: {RUN} flow"


def test_a_file_that_comes_or_goes_makes_the_proof_stale(project):
    first = proof(project).hash
    (project / "rooms/more.yaml").write_text("")
    second = proof(project).hash
    (project / "rooms/more.yaml").rename(project / "rooms/moved.yaml")
    third = proof(project).hash
    (project / "rooms/moved.yaml").unlink()
    (project / "catalog/formats/map.yaml").unlink()
    assert len({first, second, third, proof(project).hash}) == 4


def test_what_is_not_reached_and_how_the_tree_lies_there_do_not_matter(project, tmp_path):
    first = proof(project).hash
    for path in NOT_REACHED:
        with (project / path).open("a") as stream:
            stream.write("\n# changed\n")
    (project / "rooms/own.made").write_text("ignored")
    (project / "rooms/__pycache__").mkdir()
    (project / "rooms/__pycache__/a.pyc").write_bytes(b"\0")
    (project / RECORD).write_text("{}")
    assert proof(project).hash == first
    # Line endings of another system, which git knows to be the same file.
    (project / "rooms/a.py").write_bytes((project / "rooms/a.py").read_bytes().replace(b"\n", b"\r\n"))
    assert proof(project).hash == first
    # Elsewhere, made in another order, committed.
    other = tmp_path / "elsewhere/deep"
    other.mkdir(parents=True)
    git(other, "init", "-q")
    for path in sorted({**REACHED, **NOT_REACHED}, reverse=True):
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / path, other / path)
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "x")
    assert proof(other).hash == first


def test_a_green_run_is_recorded_and_a_lie_is_found(project):
    with pytest.raises(ProofError, match=rf"proof `flow`: it was never proved\. Run: {RUN} flow"):
        do(project, "check")
    assert "green: 1 tests" in do(project, "run")
    assert "each recorded" in do(project, "check")
    assert "nothing to run" in do(project, "run")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "x")
    assert "drawn by commit" in do(project, "drawn")
    # The proof breaks, and the record is forged to be of what there is.
    with (project / "rooms/flow.py").open("a") as stream:
        stream.write("JOBS = {}\n")
    with pytest.raises(ProofError, match="proof `flow`: what it depends on has changed"):
        do(project, "check")
    write_record(project, {"flow": Proved(hash=proof(project).hash, tests=1, seconds=1)})
    assert "each recorded" in do(project, "check")
    with pytest.raises(ProofError, match=rf"proof `flow` does not hold\. Run: {RUN} flow"):
        do(project, "drawn")


def test_what_there_is_no_time_for_is_named_and_not_recorded(project):
    answer = CliRunner().invoke(app, ["run", "--within", "0", "--root", str(project)])
    assert answer.exit_code == 0
    assert "not run for want of time, and so not proved of what is here: flow" in answer.output
    assert read_record(project) == {}
    assert CliRunner().invoke(app, ["check", "--root", str(project)]).exit_code != 0


NOT_WHOLE = """
def test_quick():
    assert True

@pytest.mark.acceptance
def test_skips():
    pytest.skip("no server")

@pytest.mark.acceptance
@pytest.mark.xfail
def test_is_known_to_fail():
    assert not JOBS

@pytest.mark.acceptance
def test_reads():
    open("docs/" + "other.md").close()
    __import__(".".join(["program", "other"]))

@pytest.mark.acceptance
def test_changes_the_tree():
    with open("rooms/rules.yaml", "a") as stream:
        stream.write("b: 1")
"""


def test_no_run_is_recorded_that_is_not_whole(project):
    """Skipped tests; reading what the derivation does not find; a tree that changes under the run."""
    with (project / "tests/slow/test_flow.py").open("a") as stream:
        stream.write(NOT_WHOLE)
    server = (
        "import pytest\npytest.skip('no server', allow_module_level=True)\n@pytest.mark.acceptance\ndef test(): pass\n"
    )
    (project / "tests/slow/test_server.py").write_text(server)
    answer = CliRunner().invoke(app, ["run", "--root", str(project)])
    assert str(answer.exception).startswith("not proved: flow, server;")
    said = [line.split("not green: ")[1] for line in answer.output.splitlines() if "not green: " in line]
    assert sorted(said) == [
        "no test passed",
        "read docs/other.md, which tools/proofs/dependencies.py does not find",
        "read program/other.py, which tools/proofs/dependencies.py does not find",
        "skipped: tests/slow/test_flow.py::test_is_known_to_fail",
        "skipped: tests/slow/test_flow.py::test_skips",
        "skipped: tests/slow/test_server.py",
        "what it depends on was changed while it ran",
    ]
    assert read_record(project) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<<<<<<< ours\n", "the whole"),
        ('{"flow": {"hash": "1", "tests": 1, "seconds": 1}}', r"flow\.hash"),
        (f'{{"flow": {{"hash": "{"0" * 64}", "tests": 0, "seconds": 1}}}}', r"flow\.tests"),
        (f'{{"gone": {{"hash": "{"0" * 64}", "tests": 1, "seconds": 1}}}}', "has `gone`, of which there are no tests"),
    ],
)
def test_a_record_that_is_none_fails(project, text, said):
    (project / RECORD).write_text(text)
    with pytest.raises(ProofError, match=said):
        do(project, "check")


def test_each_proof_is_drawn_by_some_commit():
    proofs = {name: Proof(name, name, frozenset(), "") for name in "abc"}
    assert [draw(proofs, f"{number:040x}").name for number in range(4)] == ["a", "b", "c", "a"]


@pytest.fixture(scope="module")
def here() -> dict[str, Proof]:
    """The proofs of this project."""
    return find_proofs(ROOT)


def test_proofs_here_depend_on_every_step_and_every_format(here):
    jobs = {f"{job.split(':')[0].replace('.', '/')}.py" for job in JOBS.values()}
    formats = {f"{module.replace('.', '/')}" for module in FORMATS.values()}
    for name in ("erasure", "faults", "kill"):
        depends_on = here[name].depends_on
        packages = {path.removesuffix(".py").removesuffix("/__init__") for path in depends_on}
        assert jobs <= depends_on
        assert formats <= packages
        assert {"requirements.lock", "catalog/persons.yaml", "expectations/extras/Patient.yaml"} <= depends_on
        assert not [path for path in depends_on if path.startswith(("docs/", "benchmarks/")) or path == "README.md"]


def test_the_record_here_is_one_that_can_be_read_and_is_no_dependency(here):
    assert read_record(ROOT)
    assert {*read_record(ROOT)} <= {*here}
    assert all(RECORD not in one.depends_on for one in here.values())
