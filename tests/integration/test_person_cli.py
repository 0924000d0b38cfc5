"""`cohortlake person` as it is typed: what it prints and how it ends."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cohortlake.cli.person_conflicts
import cohortlake.cli.person_eval  # noqa: F401 (they register their commands)
from cohortlake.cli import main
from cohortlake.core.catalog import load_catalog
from cohortlake.core.lake import Lake
from spark_jobs.link_tables import live, read_decisions, read_members
from tests.persons_lake import ANN_B, BOB_A, HOSPITALS, hold, make_gold, patient, persons, run

Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["cohortlake", "person", *words])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out + said.err

    return call


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    place, catalog = Lake(tmp_path / "lake"), load_catalog()
    twin = patient("3", "Zoe Q", "Walker122", "1965-02-07")
    hold(place, catalog, {**HOSPITALS, "d": [twin]})
    run(place, catalog)
    return place


def test_explain_masks_values_and_draws_the_evidence(lake: Lake, typed: Typed) -> None:
    code, said = typed("explain", "a/1", "--lake", str(lake.root))
    assert code == 0
    assert "3 records of 3 silos" in said
    for value in ("walker", "ann", "1965", "999306432", "oak", "taunton"):
        assert not re.search(rf"\b{value}", said, re.IGNORECASE), value
    assert "a/1 ~ b/9: linked (rule ssn_birth_date_name" in said
    assert "held, twins" in said
    assert re.search(r"prior +-\d", said)
    assert "█" in said


def test_explain_shows_values_when_told_and_takes_a_persons_id(lake: Lake, typed: Typed) -> None:
    person = live(read_members(lake))["a", "1"]
    code, said = typed("explain", person[:12], "--show", "--lake", str(lake.root))
    assert code == 0
    assert "1965-02-07" in said
    assert "walker" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("explain", "a/77"), "there is no Patient a/77"),
        (("explain", "zzz"), "0 persons have an id that starts with 'zzz'"),
        (("decide", "a/1", "b/9", "--same", "--by", " ", "--reason", "x"), "needs a role and a reason"),
        (("decide", "a/1", "a/1", "--same", "--by", "x", "--reason", "x"), "the two records are one"),
    ],
)
def test_what_does_not_exist_is_said(lake: Lake, typed: Typed, words: tuple[str, ...], says: str) -> None:
    code, said = typed(*words, "--lake", str(lake.root))
    assert code == 2
    assert says in said
    assert read_decisions(lake) == []


def test_the_queue_shrinks_as_humans_decide_and_the_next_run_obeys(lake: Lake, typed: Typed) -> None:
    _, said = typed("review", "--lake", str(lake.root))
    assert "twins" in said
    waiting = int(re.search(r"(\d+) pairs wait", said)[1])  # type: ignore[index]
    by = ("--by", "records office", "--reason", "one of twins")
    code, said = typed("decide", "a/1", "d/3", "--different", *by, "--lake", str(lake.root))
    assert code == 0
    assert "two persons" in said
    assert f"{waiting - 1} pairs wait; 1 pairs are decided" in typed("review", "--lake", str(lake.root))[1]
    code, said = typed("decide", "b/9", "a/2", "--same", *by, "--lake", str(lake.root))
    assert code == 0
    run(lake, load_catalog())
    assert any({("b", "9"), ("a", "2")} <= person for person in persons(lake))
    assert not any({("a", "1"), ("d", "3")} <= person for person in persons(lake))


def test_explain_follows_a_person_that_became_part_of_another(lake: Lake, typed: Typed) -> None:
    before = live(read_members(lake))["a", "2"]
    typed("decide", "b/9", "a/2", "--same", "--by", "office", "--reason", "seen", "--lake", str(lake.root))
    run(lake, load_catalog())
    now = live(read_members(lake))["a", "2"]
    gone, kept = (before, now) if before != now else (now, before)
    if gone != kept:
        assert f"became part of {kept}" in typed("explain", gone, "--lake", str(lake.root))[1]
    assert "a human decided" in typed("explain", "a/2", "--lake", str(lake.root))[1]


TRUTH = """site,local_patient_id,person_key,demographic_variant
a,1,ann,source
b,9,ann,minor
c,5,ann,major
a,2,bob,source
"""


def test_eval_of_a_lake(lake: Lake, typed: Typed, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text(TRUTH + "c,404,ann,exact\n", encoding="utf-8")
    for more in ((), ("--keep-digits",)):
        code, said = typed("eval", "--truth", str(truth), "--lake", str(lake.root), *more)
        assert code == 0
        assert "4 records have a truth; 1 have none" in said
        assert "1 records of the truth are not there" in said
        assert re.search(r"all pairs +3 +3 +3 +1.0000 +1.0000 +1.0000", said)
        assert re.search(r"major +2 +2 +2", said)
        assert "the marks hold from" in said


def test_eval_of_files_without_a_lake(typed: Typed, tmp_path: Path) -> None:
    records, labels = tmp_path / "records.csv", tmp_path / "labels.csv"
    lines = ["id,given,family,birth_date,email,cluster"]
    lines += ["1,Ann,Walker,1965-02-07,ann@x.org,p", "2,Ann,Wlaker,1965-02-07,ann@x.org,p", "3,Bo,Ek,1980-01-02,,q"]
    records.write_text("\n".join(lines), encoding="utf-8")
    labels.write_text("id_l,id_r,label\n1,2,1\n1,3,0\n", encoding="utf-8")
    for truth in (records, labels):
        code, said = typed("eval", "--truth", str(truth), "--records", str(records))
        assert code == 0
        assert "given as first" in said
        assert re.search(r"all pairs +1 +1 +1 +1.0000 +1.0000 +1.0000", said)


def test_eval_says_what_does_not_fit(lake: Lake, typed: Typed, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("site,local_patient_id,person_key\nelsewhere,77,x\n", encoding="utf-8")
    code, said = typed("eval", "--truth", str(truth), "--lake", str(lake.root))
    assert code == 2
    assert "--site NAME=SILO" in said
    assert typed("eval", "--truth", str(tmp_path / "none.csv"), "--lake", str(lake.root))[0] == 12
    empty = Lake(tmp_path / "empty")
    assert "holds no Patient" in typed("eval", "--truth", str(truth), "--lake", str(empty.root))[1]
    assert "no persons yet" in typed("review", "--lake", str(empty.root))[1]


def test_conflicts_are_listed_masked_or_shown(lake: Lake, typed: Typed) -> None:
    assert "no curated tables" in typed("conflicts", "--lake", str(lake.root))[1]
    make_gold(lake, load_catalog(), {"a": "1965-02-07", "b": "1965-02-07", "c": "1965-07-02", "d": "1965-02-07"})
    code, said = typed("conflicts", "--lake", str(lake.root))
    assert code == 0
    person = live(read_members(lake))["a", "1"]
    assert re.search(rf"{person[:12]} +A +most_sources +a A, b A, c B", said)
    assert "birth_date: 1 of 3 people have several" in said
    assert "gender: 0 of 3 people have several" in said
    assert "1965" not in said
    code, said = typed("conflicts", "--attribute", "birth_date", "--show", "--lake", str(lake.root))
    assert re.search(r"1965-02-07 +most_sources +a 1965-02-07, b 1965-02-07, c", said)
    assert "gender" not in said
    assert "there is no attribute 'shoe'" in typed("conflicts", "--attribute", "shoe", "--lake", str(lake.root))[1]


def test_bob_is_alone(lake: Lake) -> None:
    """The lake of these tests is as they think: Ann at three hospitals, her twin and Bob by themselves."""
    assert persons(lake) == {
        frozenset({("a", "1"), ("b", ANN_B["id"]), ("c", "5")}),
        frozenset({("a", BOB_A["id"])}),
        frozenset({("d", "3")}),
    }
