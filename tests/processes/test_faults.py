"""What a run survives, done for real: killed, interrupted, out of disk or memory, beside another run.

In each: nothing measured is lost, no process and no temporary file is left behind, the exit code is as
documented, and where the run can go on it becomes the run that was not cut off.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fakes
import psutil
import pytest
from tiers import long_only, takes_long

import bench
from bench import cli
from bench.analysis.run.stopping import StopRule
from bench.cli.options import conditions
from bench.measurement import Failure, Measurement
from bench.results.journal import Journal, read_journal
from bench.running.plan import Plan
from bench.running.preparation import describe
from bench.running.rounds import run
from bench.running.workers import Workers

ROOT = Path(__file__).parents[2]
SMALL, BEHAVIOURS = (str(ROOT / "tests" / "suites" / name) for name in ("small.py", "behaviours.py"))
MODES = ("--axis", "mode=train,inference_mode")  # the longest and the shortest case of four
CASES, LAUNCHES = 2, 3
THRICE = ("--launches", str(LAUNCHES), "--repeats", "0", "--no-profile")
EXACTLY = (*MODES, *THRICE)
PATIENCE = 60.0  # seconds until the kernel has ended what it was told to end


# A parent that dies with the first thing it writes, or a share of it: a request, while the worker still starts.
ASKS_AND_DIES = """
import os, signal
import psutil
from bench.cli.options import conditions
from bench.measurement.messages import PreloadRequest
from bench.running.fork_server import ForkServer

server = ForkServer(conditions())
print(psutil.Process().children()[0].pid, flush=True)
write = os.write
os.write = lambda place, what: (write(place, what[:SHARE]), os.kill(os.getpid(), signal.SIGKILL))
server.ask(PreloadRequest(("json",)), 60.0)
"""


class Run:
    """`python -m bench run` in a process of its own, with a folder for its temporary files."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.temporary = cwd / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._below: set[psutil.Process] = set()

    def until(self, words: str) -> None:
        """Waits for a line of progress."""
        lines = iter(self.process.stderr.readline, "")
        assert any(words in line for line in lines), f"no line had {words!r}"

    def send(self, number: int) -> None:
        """Sends a signal, and keeps in mind what runs below the process then."""
        self._held()
        try:
            self._below |= set(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            pass  # it was done before
        self.process.send_signal(number)
        self.process.send_signal(signal.SIGCONT)

    def _held(self) -> None:
        """Stops it, so that it starts nothing between a look at what it has started and the signal."""
        self.process.send_signal(signal.SIGSTOP)
        if self.process.returncode is None:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def ended(self) -> tuple[int, str, str]:
        """Exit code and output, once nothing of it is left."""
        out, err = self.process.communicate(timeout=PATIENCE * 5)
        _, alive = psutil.wait_procs(self._below, timeout=PATIENCE)
        assert not alive, "processes were left behind"
        assert not [path.name for path in self.temporary.iterdir() if is_of_a_run(path)]
        return self.process.returncode, out, err


def is_of_a_run(path: Path) -> bool:
    """Whether a run made this, and was to remove it.

    What torch.compile builds is kept on purpose: the next launch is to find it. Python itself tries whether it can
    write where temporary files go (`tempfile`, a file of four bytes under a name without a prefix); a process that is
    killed in that moment leaves the try.
    """
    if path.name.startswith("torchinductor_"):
        return False
    try:
        return not (len(path.name) == 8 and path.is_file() and path.read_bytes() in (b"", b"blat"))
    except FileNotFoundError:
        return False  # it is gone again


def launches(folder: Path) -> Counter:
    """How often each launch is in the journal; every line must be whole."""
    records = read_journal(folder / "journal.jsonl")
    return Counter((r.case.id, r.kind, r.round) for r in [*records.measurements, *records.failures])


def is_complete(folder: Path, cases: int = CASES, timed: int = LAUNCHES, apart: int = 1) -> bool:
    """Whether each case has its timed launches and those apart from timing: it is counted, or profiled as well."""
    made = launches(folder)
    return len(made) == cases * (timed + apart) and set(made.values()) == {1}


def left_behind(word: str) -> list[str]:
    """The command lines of processes that have this in the names of their open files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = [os.readlink(descriptor) for descriptor in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(word in name for name in files):
            found.append((process / "cmdline").read_text())
    return found


def wait_for_end_of(pid: int) -> None:
    """Of a process that is nobody's child here; fails where it does not end."""
    try:
        psutil.Process(pid).wait(PATIENCE)
    except psutil.NoSuchProcess:
        pass


class TestParent:
    @takes_long("kills a run again and again")
    @pytest.mark.parametrize("times", [2, 10])
    def test_it_is_killed_at_random_moments_and_gone_on_with_each_time(self, tmp_path, times):
        moments = random.Random(20)
        kept: Counter = Counter()
        current = Run(SMALL, *THRICE, "--out", "out", cwd=tmp_path)
        current.until("round 1")  # before that there is nothing to go on with
        for _ in range(times):
            try:
                current.process.wait(timeout=moments.uniform(0.0, 5.0))
            except subprocess.TimeoutExpired:
                pass
            current.send(signal.SIGKILL)
            current.ended()
            now = launches(tmp_path / "out")
            assert not kept - now, "a launch that was measured is lost"
            kept = now
            current = Run("--resume", "out", cwd=tmp_path)
        code, out, err = current.ended()
        assert code == 0, err
        assert is_complete(tmp_path / "out", cases=4)
        assert "inference_mode" in out

    @takes_long("kills, hangs or stops a whole run")
    def test_it_is_killed_while_it_starts_a_worker(self, tmp_path):
        current = Run(SMALL, *EXACTLY, "--out", "out", cwd=tmp_path)
        while not any(map(is_of_a_run, current.temporary.iterdir())) and current.process.poll() is None:
            continue  # no sleep: the moment is short
        current.send(signal.SIGKILL)
        code, _, err = current.ended()
        assert code == -signal.SIGKILL, err

    @pytest.mark.parametrize("share", [None, 20])
    def test_it_is_killed_before_a_worker_that_it_has_asked_can_know(self, tmp_path, share):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
        asks = ASKS_AND_DIES.replace("SHARE", str(share))
        died = subprocess.run([sys.executable, "-c", asks], env=environment, stdout=subprocess.PIPE)
        assert died.returncode == -signal.SIGKILL
        wait_for_end_of(int(died.stdout))
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("number", "code", "again"),
        [
            (signal.SIGINT, 130, False),
            *long_only((signal.SIGTERM, 143, True), (signal.SIGINT, 130, True), (signal.SIGTERM, 143, False)),
        ],
    )
    @takes_long("kills, hangs or stops a whole run")
    def test_it_is_asked_to_stop_once_or_twice(self, tmp_path, number, code, again):
        current = Run(SMALL, *EXACTLY, "--out", "out", cwd=tmp_path)
        current.until("round 2")
        current.send(number)
        if again:
            current.send(number)
        returned, out, err = current.ended()
        assert returned == code
        assert not left_behind(str(tmp_path / "out"))
        before = launches(tmp_path / "out")
        assert before.total() >= CASES
        if not again:
            assert "resume with: bench run --resume out" in err
            assert "inference_mode" in out
            assert (tmp_path / "out" / "summary.csv").is_file()
            assert bench.read(tmp_path / "out").summary["case"].nunique() == CASES
        code, _, err = Run("--resume", "out", cwd=tmp_path).ended()
        assert code == 0, err
        assert is_complete(tmp_path / "out")
        assert not before - launches(tmp_path / "out")


class TestDisk:
    @takes_long("fills a disk and goes on")
    def test_it_fills_and_with_room_again_the_run_goes_on(self, disk, tmp_path):
        fakes.fill(disk, room=32_000)
        folder = disk / "out"
        code, _, err = Run(
            SMALL, *MODES, "--launches", "2", "--repeats", "0", "--out", str(folder), cwd=tmp_path
        ).ended()
        assert code == 2
        assert "No space left on device" in err
        assert f"bench run --resume {folder}" in err
        made = launches(folder)
        assert 0 < made.total() < CASES * 2
        assert not read_journal(folder / "journal.jsonl").notes, "half a line is of no use"
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        code, _, err = Run("--resume", str(folder), cwd=tmp_path).ended()
        assert code == 0, err
        assert is_complete(folder, timed=2, apart=2)
        assert not made - launches(folder)

    def test_it_is_read_only(self, disk, tmp_path):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, _, err = Run(SMALL, "--out", str(disk / "out"), cwd=tmp_path).ended()
        assert code == 2
        assert f"{disk / 'out'} cannot be written: Read-only file system" in err
        assert len(err.strip().splitlines()) == 1

    @takes_long("kills, hangs or stops a whole run")
    def test_a_journal_that_is_torn_at_any_byte_of_its_last_line_is_gone_on_with(self, tmp_path):
        path = tmp_path / "journal.jsonl"
        journal = Journal(path)
        for number in (1, 2, 3):
            journal.append(fakes.measurement(round=number))
        journal.close()
        whole = path.read_bytes()
        last = whole[:-1].rfind(b"\n") + 1
        for cut in range(last, len(whole)):
            path.write_bytes(whole[:cut])
            records = read_journal(path)
            assert [record.round for record in records.measurements] == [1, 2]
            assert len(records.notes) == (cut > last)
            again = Journal(path)
            again.append(fakes.measurement(round=3))
            again.close()
            assert path.read_bytes() == whole


class TestTwoRuns:
    @takes_long("two runs, one behind the other")
    def test_the_second_waits_for_the_first_or_leaves_and_names_it(self, tmp_path):
        first = Run(SMALL, "--launches", "500", "--out", "first", cwd=tmp_path)
        first.until("round 1")
        (tmp_path / "second").mkdir()
        code, _, err = Run(SMALL, *EXACTLY, "--no-wait", "--out", "no", cwd=tmp_path / "second").ended()
        assert code == 2
        assert (
            f"another run is measuring on processors or cards of this one: bench run {SMALL} --launches 500"
            in err
        )
        assert f"process {first.process.pid}" in err
        assert len(err.strip().splitlines()) == 1
        second = Run(SMALL, *EXACTLY, "--launches", "1", "--out", "out", cwd=tmp_path / "second")
        second.until("waiting for another run to end")
        assert not (tmp_path / "second" / "out").exists()
        first.send(signal.SIGINT)
        code, _, err = second.ended()
        assert code == 0, err
        assert is_complete(tmp_path / "second" / "out", timed=1)
        assert first.ended()[0] == 130


@pytest.fixture
def group():
    """A control group of the kernel with little memory."""
    for root, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        place = Path("/sys/fs/cgroup", root, f"epochbench-test-{os.getpid()}")
        try:
            place.mkdir()
            (place / limit).write_text(str(800 * 2**20))
        except OSError:
            if place.exists():
                place.rmdir()
            continue
        yield place
        place.rmdir()
        return
    pytest.skip("making a control group with a memory limit is not allowed here")


def launched(tmp_path: Path, behaviour: str, start_method: str = "fork", timeout: float = 60.0):
    """One launch that does this behaviour."""
    with Workers(conditions(start_method=start_method), tmp_path) as workers:
        (listing,) = describe(workers, [BEHAVIOURS], {"behaviour": [behaviour]})
        (case,) = listing.expansion.cases
        from bench.suite.case import Schedule

        schedule = Schedule(launches=1, repeats=0, timeout=timeout)
        (record,) = run(workers, Plan([case], {listing.name: BEHAVIOURS}, schedule), StopRule(schedule))
    return record


class TestLaunch:
    @takes_long("kills, hangs or stops a whole run")
    def test_the_kernel_kills_it_for_want_of_memory(self, tmp_path, group, monkeypatch):
        monkeypatch.setenv("BEHAVIOURS_GROUP", str(group))
        record = launched(tmp_path, "exceeds_its_group")
        assert isinstance(record, Failure)
        assert record.failure == "out_of_memory"
        assert "the kernel killed a process because memory ran out" in record.message

    @pytest.mark.parametrize("start_method", ["fork", *long_only(("spawn",))])
    def test_it_hangs_inside_c_code(self, tmp_path, start_method):
        record = launched(tmp_path, "hangs_in_c", start_method, timeout=2.0)
        assert isinstance(record, Failure)
        assert record.failure == "timeout"

    @pytest.mark.parametrize("start_method", ["fork", *long_only(("spawn",))])
    @takes_long("kills, hangs or stops a whole run")
    def test_it_kills_its_fork_server_and_leaves_a_process_in_a_session_of_its_own(
        self, tmp_path, monkeypatch, start_method
    ):
        monkeypatch.setenv("BEHAVIOURS_PIDS", str(tmp_path / "pids"))
        record = launched(tmp_path, "kills_its_parent_and_leaves_a_process", start_method)
        assert isinstance(record, Failure)
        assert (record.failure, record.message) == ("crash", "killed by SIGKILL")
        (pid,) = map(int, (tmp_path / "pids").read_text().split())
        assert not is_running(pid)

    @takes_long("kills, hangs or stops a whole run")
    def test_its_temporary_files_go_with_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = {path.name for path in tmp_path.iterdir()}
        record = launched(tmp_path, "leaves_files")
        assert isinstance(record, Measurement), record
        left = {path.name for path in tmp_path.iterdir()} - before
        assert not [name for name in left if not name.endswith(".log")]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@takes_long("kills, hangs or stops a whole run")
class TestGoingOn:
    @pytest.fixture(scope="class")
    def stopped(self, tmp_path_factory):
        """A run of one launch of a suite that can be changed, as a folder to copy."""
        here = tmp_path_factory.mktemp("stopped")
        (here / "mine.py").write_text(Path(SMALL).read_text().replace('"small"', '"mine"'))
        code, _, err = Run(
            "mine.py", "-k", "no_grad", "--launches", "1", "--repeats", "0", "--out", "out", cwd=here
        ).ended()
        assert code == 0, err
        return here

    @takes_long("goes through a whole run")
    def test_a_complete_run_measures_nothing_more(self, stopped, monkeypatch, capfd):
        monkeypatch.chdir(stopped)
        before = (stopped / "out" / "journal.jsonl").read_bytes()
        assert cli.exit_code(["run", "--resume", "out", "--launches", "1"]) == 0
        assert (stopped / "out" / "journal.jsonl").read_bytes() == before

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            (["--launches", "3"], "--launches: 1, now 3"),
            (["--threads", "97"], "now 97"),
            (["--allocator", "system"], "--allocator: pinned, now system"),
            (["-k", "eval"], "-k: no_grad, now eval"),
            (["--axis", "batch_size=64"], "--axis: none, now batch_size=64"),
        ],
    )
    def test_other_flags_are_refused_by_name(self, stopped, monkeypatch, capfd, flags, words):
        monkeypatch.chdir(stopped)
        assert cli.exit_code(["run", "--resume", "out", *flags]) == 2
        err = capfd.readouterr().err
        assert words in err
        assert len(err.strip().splitlines()) == 1

    def test_changed_code_is_refused_by_name(self, stopped, monkeypatch, capfd):
        monkeypatch.chdir(stopped)
        suite = stopped / "mine.py"
        text = suite.read_text()
        suite.write_text(f"{text}\nchanged = True\n")
        assert cli.exit_code(["run", "--resume", "out"]) == 2
        assert f"{suite} changed" in capfd.readouterr().err
        suite.write_text(text.replace('"no_grad"', '"train"'))
        assert cli.exit_code(["run", "--resume", "out"]) == 2
        suite.write_text(text)
        assert (stopped / "out" / "summary.csv").is_file(), "a refusal takes nothing away"

    @takes_long("goes through a whole run")
    def test_a_changed_machine_is_refused_by_name(self, stopped, monkeypatch, capfd):
        monkeypatch.chdir(stopped)
        path = stopped / "out" / "environment.json"
        text = path.read_text()
        path.write_text(json.dumps({**json.loads(text), "cpu": "Another processor", "host": "elsewhere"}))
        assert cli.exit_code(["run", "--resume", "out"]) == 2
        err = capfd.readouterr().err
        assert "cpu: Another processor, now " in err
        assert "elsewhere" not in err
        path.write_text(text)
