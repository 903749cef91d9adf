"""The log of picks: what events add up to, undo and redo, several writers, and what is refused."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonesuch.catalogs.picks.events import Event, fold
from nonesuch.catalogs.picks.log import PickLog, open_picks, picks_file
from nonesuch.foundation.errors import CatalogError, InputError, StorageError


def image(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


A, B, C = image(1), image(2), image(3)

IMAGES = st.sampled_from([A, B, C])
TAGS = st.sampled_from(["hang it", "print", "für später"])
SAID = st.one_of(
    st.tuples(st.sampled_from(["pick", "reject", "clear"]), IMAGES),
    st.tuples(st.just("pick"), st.lists(IMAGES, min_size=1, max_size=3).map(tuple)),
    st.tuples(st.just("stars"), IMAGES, st.integers(1, 5)),
    st.tuples(st.sampled_from(["tag", "untag"]), IMAGES, TAGS),
    st.tuples(st.just("note"), IMAGES, st.sampled_from(["", "the hands", "two\nlines"])),
    st.tuples(st.just("compare"), st.sampled_from([(A, B), (B, C), (C, A)])),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
)
Said = tuple[object, ...]


def say(log: PickLog, said: Said) -> None:
    name, *arguments = said
    if name == "compare":
        arguments = list(arguments[0])  # type: ignore[call-overload]
    getattr(log, str(name))(*arguments)


def told(log: PickLog) -> tuple[object, object]:
    """States without their times, and comparisons without theirs."""
    states = {
        recipe_id: replace(state, when=None)  # type: ignore[arg-type]
        for recipe_id, state in log.states().items()
    }
    return states, [(pair.who, pair.winner, pair.loser) for pair in log.pairs()]


@settings(max_examples=60)
@given(script=st.lists(st.tuples(st.sampled_from(["ada", "bo"]), SAID), max_size=25))
def test_undone_acts_count_as_never_said(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, Said]]
) -> None:
    folder = tmp_path_factory.mktemp("picks")
    logs = {who: open_picks(folder / "real", who) for who in ("ada", "bo")}
    replay = {who: open_picks(folder / "replay", who) for who in ("ada", "bo")}
    done: list[tuple[str, Said] | None] = []  # None: undone
    past: dict[str, list[int]] = {"ada": [], "bo": []}
    future: dict[str, list[tuple[int, Said]]] = {"ada": [], "bo": []}
    for who, said in script:
        say(logs[who], said)
        if said[0] == "undo":
            if past[who]:
                place = past[who].pop()
                entry = done[place]
                assert entry is not None
                future[who].append((place, entry[1]))
                done[place] = None
        elif said[0] == "redo":
            if future[who]:
                place, again = future[who].pop()
                done[place] = (who, again)
                past[who].append(place)
        else:
            past[who].append(len(done))
            future[who].clear()
            done.append((who, said))
    for entry in done:
        if entry is not None:
            say(replay[entry[0]], entry[1])
    assert told(logs["ada"]) == told(replay["ada"])
    assert told(logs["bo"]) == told(logs["ada"])
    whole = logs["ada"].states()
    for one in (A, B, C):
        assert logs["bo"].states([one]) == {k: v for k, v in whole.items() if k == one}
    for who in logs:
        alone = open_picks(folder / f"only {who}", who)
        for entry in done:
            if entry is not None and entry[0] == who:
                say(alone, entry[1])
        mine = {k: replace(v, when=None) for k, v in logs["ada"].states(who=who).items()}  # type: ignore[arg-type]
        assert mine == told(alone)[0]


def test_what_is_said_adds_up(tmp_path: Path) -> None:
    log = open_picks(tmp_path, "ada")
    log.pick([A, B])
    log.stars(A, 4)
    log.tag(A, "print")
    log.tag(A, " hang it ")
    log.note(A, "the light")
    log.reject(B)
    log.stars(C, 2)
    log.clear(C)
    states = log.states()
    assert set(states) == {A, B}
    assert (states[A].verdict, states[A].stars, states[A].tags) == ("picked", 4, ("hang it", "print"))
    assert (states[A].note, states[A].who) == ("the light", "ada")
    assert states[B].verdict == "rejected"
    assert states[A].when == [event for event in log.events() if event.recipe_id == A][-1].when
    log.note(A, "")
    assert log.states([A])[A].note is None
    assert log.states([]) == {}


def test_one_undo_takes_a_whole_act_back(tmp_path: Path) -> None:
    log = open_picks(tmp_path, "ada")
    assert log.undo() is None
    assert log.redo() is None
    first = log.pick([A, B, C])
    assert [event.act for event in first] == [first[0].id] * 3
    undone = log.undo()
    assert undone is not None
    assert (undone.recipe_id, undone.undoes) == (A, first[0].id)
    assert log.states() == {}
    assert len(log.events()) == 6
    assert log.events(since=undone.id) == log.events()[4:]
    assert log.redo() is not None
    assert set(log.states()) == {A, B, C}
    assert log.last_event() == 9


def test_an_undo_is_ones_own(tmp_path: Path) -> None:
    ada, bo = open_picks(tmp_path, "ada"), open_picks(tmp_path, "bo")
    ada.pick(A)
    bo.reject(A)
    ada.undo()
    assert bo.states()[A].verdict == "rejected"
    assert ada.undo() is None
    bo.undo()
    assert ada.states() == {}


def test_opening_makes_no_file_and_the_file_is_private(tmp_path: Path) -> None:
    log = open_picks(tmp_path / "out")
    assert log.states() == {}
    assert log.events() == log.pairs() == []
    assert log.last_event() == 0
    assert not log.path.exists()
    log.pick(A)
    assert log.path == picks_file(tmp_path / "out" / "catalog") == tmp_path / "out" / "picks.sqlite"
    for path in log.path.parent.glob("picks.sqlite*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nothing_in_the_file_changes_or_goes(tmp_path: Path) -> None:
    log = open_picks(tmp_path)
    log.pick(A)
    with sqlite3.connect(log.path) as connection:
        for statement in ("UPDATE events SET stars = 5", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                connection.execute(statement)


@pytest.mark.parametrize("wrong", [0, 6, 2.5, True, "3"])
def test_stars_are_one_to_five(tmp_path: Path, wrong: int) -> None:
    with pytest.raises(InputError, match="number of stars"):
        open_picks(tmp_path).stars(A, wrong)


def test_what_cant_be_said_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    log = open_picks(tmp_path, "ada", known=[A, B].__contains__)
    with pytest.raises(InputError, match="not a recipe id"):
        log.pick("../etc")
    with pytest.raises(InputError, match="no image with this recipe id"):
        log.pick([A, C])
    with pytest.raises(InputError, match="no image with this recipe id"):
        log.compare(A, C)
    with pytest.raises(InputError, match="with itself"):
        log.compare(A, A)
    for tag in ("", "-x", "a,b", "x" * 41, "a\nb", "<b>"):
        with pytest.raises(InputError, match="can't be a tag"):
            log.tag(A, tag)
    with pytest.raises(InputError, match="the limit is 2,000"):
        log.note(A, "x" * 2001)
    for text in ("\0", "\x1b[31m", "\ud800"):
        with pytest.raises(InputError, match="can't hold"):
            log.note(A, f"a{text}b")
    for who in ("", " ", "x" * 81, "a\nb"):
        with pytest.raises(InputError, match="name"):
            open_picks(tmp_path, who)
    assert not log.path.exists()


def test_files_that_are_no_log_are_left_alone(tmp_path: Path) -> None:
    path = picks_file(tmp_path)
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(CatalogError, match="log of picks"):
        open_picks(tmp_path).pick(A)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(CatalogError, match="not a log of picks"):
        open_picks(tmp_path).states()
    path.unlink()
    open_picks(tmp_path).pick(A)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(CatalogError, match="version 9"):
        open_picks(tmp_path).states()


def test_a_log_that_was_removed_begins_anew(tmp_path: Path) -> None:
    log = open_picks(tmp_path)
    log.pick(A)
    assert set(log.states()) == {A}
    for path in tmp_path.glob("picks.sqlite*"):
        path.unlink()
    assert log.states() == {}
    log.pick(B)
    assert set(log.states()) == set(open_picks(tmp_path).states()) == {B}


def test_a_folder_that_cant_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        open_picks(tmp_path / "file" / "out").pick(A)


WRITER = """
import sys
from pathlib import Path
from nonesuch.catalogs.picks.log import open_picks
log = open_picks(Path(sys.argv[1]), sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    log.stars(f"{number % 7:064x}", number % 5 + 1)
    if number % 10 == 9:
        log.undo()
"""


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in ("ada", "bo")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    log = open_picks(tmp_path)
    events = log.events()
    assert [event.id for event in events] == list(range(1, 133))
    for who in ("ada", "bo"):
        mine = [event for event in events if event.who == who]
        assert [event.stars for event in mine if event.action == "stars"] == [n % 5 + 1 for n in range(60)]
        by_id = {event.id: event for event in events}
        undone = [by_id[event.undoes] for event in mine if event.undoes is not None]
        assert [event.stars for event in undone] == [5] * 6
        assert {event.who for event in undone} == {who}


ENDLESS = """
import sys
from itertools import count
from pathlib import Path
from nonesuch.catalogs.picks.log import open_picks
log = open_picks(Path(sys.argv[1]), "ada")
for number in count():
    print(log.pick([f"{number:064x}", f"{number + 1:064x}"])[-1].id, flush=True)
"""


def test_a_killed_writer_loses_nothing_it_was_told_is_written(tmp_path: Path) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            told = [int(writer.stdout.readline()) for _ in range(20)][-1]
            writer.kill()
        log = open_picks(tmp_path, "ada")
        events = log.events()
        assert len(events) >= told
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert len(events) % 2 == 0  # an act is there whole or not at all
        assert log.undo() is not None
        log.redo()
        log.close()


def test_threads_share_a_log(tmp_path: Path) -> None:
    log = open_picks(tmp_path, "ada")
    threads = [
        threading.Thread(target=lambda n=n: [log.tag(image(n), f"t{i}") for i in range(10)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {len(state.tags) for state in log.states().values()} == {10}


def test_states_follow_what_others_write(tmp_path: Path) -> None:
    reader, writer = open_picks(tmp_path, "ada"), open_picks(tmp_path, "bo")
    for number in range(20):
        writer.stars(image(number % 6), number % 5 + 1)
        if number % 4 == 3:
            writer.undo()
        assert reader.states() == open_picks(tmp_path).states()


def test_an_image_of_which_nothing_holds_has_no_state(tmp_path: Path) -> None:
    log = open_picks(tmp_path)
    events: list[Event] = [*log.tag(A, "x"), *log.untag(A, "x"), log.compare(A, B)]
    assert fold(events) is None
    assert log.states() == {}
