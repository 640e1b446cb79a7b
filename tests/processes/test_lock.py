"""One run at a time: what a second process finds while a first one has the lock, and however that one ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.errors import Interrupted, UsageError
from bench.machine import lock
from bench.machine.lock import VARIABLE, Held, holder, lock_path, one_at_a_time, own_cards, spans
from bench.machine.processors import shared_processors
from bench.system.signals import stoppable

ROOT = Path(__file__).parents[2]

# Has the lock until its input ends, and says by a line that it has it; the third argument starts a child within.
HOLDER = """
import subprocess, sys
from pathlib import Path
from bench.machine.lock import one_at_a_time
with one_at_a_time(sys.argv[2], path=Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"], close_fds=False, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL) if sys.argv[3] else None
    print(child.pid if child else "held", flush=True)
    sys.stdin.read()
"""

# Has the lock for a moment, as another user; says what came of it.
OTHER_USER = """
import os, sys
from pathlib import Path
from bench.errors import UsageError
from bench.machine.lock import holder, one_at_a_time
os.umask(0o077)
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
path = Path(sys.argv[1])
try:
    with one_at_a_time("their run", wait=False, path=path):
        print("held:", holder(path), flush=True)
        if sys.argv[3]:
            os.kill(os.getpid(), 9)
except UsageError as problem:
    print(problem)
"""


class Holder:
    """Another process that has the lock."""

    def __init__(self, path: Path, what: str = "bench run suites", child: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), what, child],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.said = self.process.stdout.readline().strip()  # it has the lock
        assert self.said

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> None:
        self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "epochbench.lock"


@pytest.fixture
def hold(path):
    """Makes other processes that have the lock."""
    made = []

    def make(*arguments: str) -> Holder:
        made.append(Holder(path, *arguments))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def is_free(path: Path) -> bool:
    try:
        with one_at_a_time("a look", wait=False, path=path):
            return True
    except Held:
        return False


def never(seconds: float) -> None:
    raise AssertionError("nobody has the lock")


class TestOneAtATime:
    def test_a_free_lock_is_had_at_once_and_given_back(self, path):
        for _ in range(2):
            with one_at_a_time("mine", path=path, waiting=never, sleep=never):
                assert not is_free(path)
            assert is_free(path)

    @pytest.mark.parametrize("problem", [KeyError(), Interrupted(15), SystemExit(1), KeyboardInterrupt()])
    def test_it_is_given_back_whatever_comes_out(self, path, problem):
        with pytest.raises(type(problem)), one_at_a_time("mine", path=path):
            raise problem
        assert is_free(path)

    def test_the_note_says_who_has_it_since_when_and_what_for(self, path):
        began = datetime.now().astimezone().replace(microsecond=0)
        with one_at_a_time("bench run suites -k 'adam and not eval'", path=path):
            said = holder(path)
        what, pid, since = said[:-1].replace(" (process ", "|").replace(", since ", "|").split("|")
        assert (what, pid) == ("bench run suites -k 'adam and not eval'", str(os.getpid()))
        assert began <= datetime.fromisoformat(since) <= datetime.now().astimezone()

    def test_afterwards_the_note_names_nobody(self, path):
        with one_at_a_time("mine", path=path):
            pass
        assert holder(path) == "unknown which"

    def test_what_the_named_file_holds_is_kept(self, path):
        path.write_text("dear diary")
        with one_at_a_time("mine", path=path):
            pass
        assert path.read_text() == "dear diary"


class TestHeldByAnother:
    def test_who_does_not_wait_is_told_by_whom_and_what_to_do(self, path, hold):
        other = hold("bench run suites -k adam")
        with pytest.raises(Held) as caught, one_at_a_time("mine", wait=False, path=path, sleep=never):
            pass
        said = str(caught.value)
        note = json.loads(Path(f"{path}.holder").read_text())
        assert said == (
            f"another run is measuring on processors or cards of this one: bench run suites -k adam (process "
            f"{other.pid}, since {note['since']}); wait for it by leaving out --no-wait, or give each its own, with "
            f"taskset and CUDA_VISIBLE_DEVICES"
        )
        assert isinstance(caught.value, UsageError)

    def test_it_is_one_line_whatever_the_command_holds(self, path, hold):
        hold("bench run --note a\nb\tc")
        with pytest.raises(Held) as caught, one_at_a_time("mine", wait=False, path=path):
            pass
        said = str(caught.value)
        assert re.search(r"of this one: bench run --note a b c \(process \d+, since \S+\); wait", said)
        assert len(said.splitlines()) == 1

    def test_who_waits_is_told_once_and_goes_on_when_the_other_has_ended(self, path, hold):
        other = hold("the other run")
        told, waited = [], []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                other.end()

        with one_at_a_time("mine", path=path, waiting=told.append, sleep=sleep):
            assert holder(path).startswith(f"mine (process {os.getpid()}, ")
        assert len(waited) == 3
        assert all(seconds > 0 for seconds in waited)
        assert len(told) == 1
        assert told[0].startswith(f"the other run (process {other.pid}, since ")

    def test_the_last_of_several_gets_it_in_the_end(self, path, hold):
        others = [hold("first")]

        def sleep(seconds: float) -> None:
            others[-1].end()
            if len(others) < 3:
                others.append(hold(f"number {len(others) + 1}"))

        told = []
        with one_at_a_time("mine", path=path, waiting=told.append, sleep=sleep):
            pass
        assert len(others) == 3
        assert [text.split(" (")[0] for text in told] == ["first"]

    def test_a_signal_ends_the_waiting_and_nothing_is_left_of_it(self, path, hold):
        hold()
        there = sorted(path.parent.iterdir())
        note = Path(f"{path}.holder").read_text()
        mine = psutil.Process()
        opened = mine.num_fds()

        def sleep(seconds: float) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        with stoppable(), pytest.raises(Interrupted) as stop, one_at_a_time("mine", path=path, sleep=sleep):
            raise AssertionError("another has the lock")
        assert stop.value.signal_number == signal.SIGTERM
        assert sorted(path.parent.iterdir()) == there
        assert Path(f"{path}.holder").read_text() == note
        assert mine.num_fds() == opened

    def test_a_refusal_leaves_nothing_either(self, path, hold):
        other = hold()
        opened = psutil.Process().num_fds()
        assert not is_free(path)
        assert psutil.Process().num_fds() == opened
        other.end()
        assert is_free(path)


class TestSets:
    """Runs that have processors and cards of their own do not meet; those whose sets overlap do."""

    def taken(self, path, uses):
        try:
            with one_at_a_time("a look", wait=False, path=path, uses=uses):
                return True
        except Held as problem:
            return str(problem)

    @pytest.mark.parametrize(
        ("first", "second", "free"),
        [
            (([0, 1], []), ([2, 3], []), True),
            (([0, 1], []), ([1, 2], []), False),
            (([0], ["GPU-1"]), ([1], ["GPU-2"]), True),
            (([0], ["GPU-1"]), ([1], ["GPU-1"]), False),
            (([0], ["GPU-1"]), ([0], ["GPU-2"]), False),  # they share a processor
            (([0], None), ([1], ["GPU-2"]), False),  # it may use any card
            (([0], None), ([1], []), True),
            (([0, 2, 4], []), ([1, 3, 5], []), True),
            (([7, 3], []), ([4, 3], []), False),
        ],
    )
    def test_only_those_that_overlap_exclude_each_other(self, path, first, second, free):
        with one_at_a_time("the first", path=path, uses=spans(*first)):
            seen = self.taken(path, spans(*second))
        assert seen is True if free else "of this one: the first (process" in seen
        assert self.taken(path, spans(*second)) is True

    def test_who_waits_holds_nothing_meanwhile(self, path):
        """So that no two wait for each other, each with what the other wants."""
        with contextlib.ExitStack() as held:
            held.enter_context(one_at_a_time("one", path=path, uses=spans([1])))
            looks = []

            def sleep(seconds: float) -> None:
                looks.append(self.taken(path, spans([0])))
                held.close()

            with one_at_a_time("both", path=path, uses=spans([0, 1]), sleep=sleep):
                assert "both (process" in self.taken(path, spans([0]))
        assert looks == [True]

    def test_the_note_names_who_holds_what_is_wanted(self, path):
        with (
            one_at_a_time("low", path=path, uses=spans([0])),
            one_at_a_time("high", path=path, uses=spans([5])),
        ):
            assert "of this one: low (" in self.taken(path, spans([0, 1]))
            assert "of this one: high (" in self.taken(path, spans([4, 5]))
        assert Path(f"{path}.holder").read_text() == ""

    def test_the_note_of_one_that_was_killed_goes_with_the_next_on_its_processors(self, path):
        Path(f"{path}.holder").write_text(
            "".join(
                json.dumps({"pid": 1, "what": what, "since": "then", "uses": uses}) + "\n"
                for what, uses in (("dead", [[0, 1]]), ("alive", [[7, 8]]))
            )
        )
        with one_at_a_time("mine", path=path, uses=spans([0])):
            assert holder(path, spans([0])).startswith("mine (")
        assert holder(path, spans([0])) == "unknown which"
        assert holder(path, spans([7])).startswith("alive (")

    def test_another_process_on_other_processors_goes_on(self, path, hold, monkeypatch):
        hold("the other")
        assert not is_free(path)
        assert self.taken(path, spans([10_000])) is True

    def test_its_own_are_those_it_may_run_on_and_those_beside_them(self, tmp_path, monkeypatch):
        for cpu, beside in ((0, "0,4"), (1, "1,5"), (4, "0,4"), (5, "1,5")):
            folder = tmp_path / f"cpu{cpu}/topology"
            folder.mkdir(parents=True)
            (folder / "thread_siblings_list").write_text(beside)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
        assert shared_processors(tmp_path) == (1, 5)
        assert shared_processors(tmp_path / "nothing known") == (1,)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        assert spans(shared_processors(tmp_path)) == [(0, 2), (4, 6)]


class TestCards:
    @pytest.fixture
    def driver(self, tmp_path, monkeypatch):
        (tmp_path / "driver").touch()
        monkeypatch.setattr(lock, "_DRIVERS", (str(tmp_path / "driver"),))

    @pytest.fixture(autouse=True)
    def no_library(self, monkeypatch):
        monkeypatch.setattr(lock, "open_gpus", lambda *_, **__: [])

    def test_without_a_driver_there_are_none(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lock, "_DRIVERS", (str(tmp_path / "nowhere"),))
        assert own_cards({"CUDA_VISIBLE_DEVICES": "0"}) == []

    @pytest.mark.parametrize(
        ("visible", "cards"), [("", []), ("-1", []), ("2", ["2"]), ("0, 3", ["0", "3"]), (None, None)]
    )
    def test_they_are_those_that_the_environment_shows(self, driver, visible, cards):
        assert own_cards({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == cards

    def test_the_library_tells_them_apart_whatever_they_are_called(self, driver, monkeypatch):
        """In a job of a batch system the first card is number 0, whichever it is."""

        def told(_, environ):
            uuid = "GPU-b" if environ.get("CUDA_VISIBLE_DEVICES") == "0" else "GPU-a"
            return [SimpleNamespace(state=lambda: SimpleNamespace(uuid=uuid))]

        monkeypatch.setattr(lock, "open_gpus", told)
        assert own_cards({"CUDA_VISIBLE_DEVICES": "0"}) == ["GPU-b"]
        assert own_cards({}) == ["GPU-a"]
        assert own_cards({"CUDA_VISIBLE_DEVICES": "0,1"}) == ["0", "1"]  # it knows one of two


class TestHolderThatDies:
    def test_a_killed_one_has_it_no_more_whatever_its_note_says(self, path, hold):
        other = hold("killed")
        assert not is_free(path)
        other.kill()
        assert holder(path).startswith(f"killed (process {other.pid}, "), "the note is still there"
        with one_at_a_time("mine", wait=False, path=path):
            assert holder(path).startswith(f"mine (process {os.getpid()}, ")

    @pytest.mark.parametrize("end", ["kill", "end"])
    def test_a_child_that_outlives_it_has_not_inherited_it(self, path, hold, end):
        other = hold("with a child", "child")
        child = psutil.Process(int(other.said))
        try:
            getattr(other, end)()
            assert child.is_running()
            assert child.status() != psutil.STATUS_ZOMBIE
            assert is_free(path)
        finally:
            child.kill()


class TestNote:
    @pytest.mark.parametrize(
        "text", ["", "{", "null", "7", "[]", '"text"', '{"what": "a run"}', '{"pid": 7}', "\x00", "\udcff"]
    )
    def test_a_damaged_one_says_nothing_and_is_no_problem(self, path, text):
        Path(f"{path}.holder").write_bytes(text.encode(errors="surrogateescape"))
        assert holder(path) == "unknown which"
        with one_at_a_time("mine", path=path):
            assert holder(path).startswith("mine (")

    def test_none_says_nothing(self, path):
        assert holder(path) == "unknown which"

    def test_where_it_cannot_be_written_the_lock_is_held_and_freed_all_the_same(self, path):
        Path(f"{path}.holder").mkdir()
        with one_at_a_time("mine", path=path):
            assert holder(path) == "unknown which"
            assert not is_free(path)
        assert is_free(path)


class TestEveryUser:
    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
    def test_every_user_may_open_the_files(self, path, mask):
        before = os.umask(mask)
        try:
            with one_at_a_time("mine", path=path):
                pass
        finally:
            os.umask(before)
        for file in (path, Path(f"{path}.holder")):
            assert stat.S_IMODE(file.stat().st_mode) == 0o666

    @pytest.fixture
    def shared(self):
        """A folder such as /tmp: everyone's, in which no one may remove what is another's."""
        if os.geteuid() != 0:
            pytest.skip("only root can become another user")
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            Path(folder).chmod(0o1777)
            yield Path(folder) / "epochbench.lock"

    def as_user(self, path: Path, user: int, end: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-c", OTHER_USER, str(path), str(user), end],
            capture_output=True,
            text=True,
            cwd=ROOT,
            # Another user cannot write the data of `make coverage`.
            env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        )
        assert done.stderr == ""
        return done.stdout.strip()

    def test_users_lock_one_file_in_a_folder_where_it_is_one_users(self, shared):
        for user in (4001, 4002, 0, 4001):
            assert self.as_user(shared, user).startswith("held: their run (process ")

    def test_one_user_is_kept_out_by_another(self, shared):
        assert self.as_user(shared, 4001).startswith("held: ")
        with one_at_a_time("root's run", path=shared):
            assert "of this one: root's run (process" in self.as_user(shared, 4001)
            assert "of this one: root's run (process" in self.as_user(shared, 4002)

    def test_the_note_of_a_killed_one_is_replaced_by_another_user(self, shared):
        first, second = self.as_user(shared, 4001, "killed"), self.as_user(shared, 4002)
        assert first.startswith("held: their run (process ")
        assert second.startswith("held: their run (process ")
        assert first != second


class TestPath:
    @pytest.mark.parametrize("value", [None, ""])
    def test_all_runs_of_the_machine_have_one_whatever_their_own_temporary_folder_is(
        self, monkeypatch, tmp_path, value
    ):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.delenv(VARIABLE, raising=False)
        if value is not None:
            monkeypatch.setenv(VARIABLE, value)
        assert lock_path() == Path("/tmp/epochbench.lock")

    def test_the_environment_may_name_another(self, monkeypatch, path):
        monkeypatch.setenv(VARIABLE, str(path))
        assert lock_path() == path
        with one_at_a_time("mine"):
            assert not is_free(path)

    def unusable(self, path: Path) -> str:
        with pytest.raises(UsageError) as caught, one_at_a_time("mine", path=path, sleep=never):
            pass
        assert not isinstance(caught.value, Held)
        return str(caught.value)

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("file/lock", "Not a directory"),
            ("nowhere/lock", "No such file or directory"),
            ("folder", "Is a directory"),
            ("link", "Too many levels of symbolic links"),
            ("x" * 300, "File name too long"),
        ],
    )
    def test_one_that_cannot_be_used_is_named_with_the_remedy(self, tmp_path, name, why):
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "file")
        assert self.unusable(tmp_path / name) == (
            f"the lock {tmp_path / name} cannot be used: {why}; name another file with EPOCHBENCH_LOCK"
        )

    def test_so_is_a_file_system_without_locks(self, path, monkeypatch):
        def none(file: int, *_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "fcntl", none)
        monkeypatch.setattr(fcntl, "flock", none)
        assert self.unusable(path) == (
            f"the lock {path} cannot be used: No locks available; name another file with EPOCHBENCH_LOCK"
        )

    def test_a_file_that_another_makes_in_the_same_moment_is_the_one(self, path, monkeypatch):
        really = os.open

        def slow(name, flags, *rest):
            if flags & os.O_CREAT:
                os.close(really(path, os.O_CREAT | os.O_WRONLY, 0o666))
            return really(name, flags, *rest)

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", slow)
            with one_at_a_time("mine", path=path):
                pass
        assert is_free(path)
