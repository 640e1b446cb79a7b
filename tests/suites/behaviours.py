"""A suite that misbehaves: each value of the axis `behaviour` does one thing that a user's code might do."""

import ctypes
import locale
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from neighbour import WIDTH
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bench import Suite
from bench.training import Task

# What a careless suite does when it is imported: a parallel region, and megabytes of output.
PRODUCT = torch.randn(512, 512) @ torch.randn(512, 512)
print("x" * 3_000_000)


# A gibibyte to give back makes its end take long, as that of a loader's worker full of images does.
HEAVY = "import time; held = bytes(1) * 2**30 + bytes(1); print('ready', flush=True); time.sleep(600)"


def leave_process(new_session: bool) -> None:
    note(subprocess.Popen(["sleep", "600"], start_new_session=new_session).pid)


def leave_heavy_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", HEAVY], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    note(process.pid)


def note(pid: int) -> None:
    """Tells the test of a process that must not be left."""
    with Path(os.environ["BEHAVIOURS_PIDS"]).open("a") as pids:
        pids.write(f"{pid}\n")


class Careful(nn.Module):
    """Two layers that do what the behaviour says in their forward pass."""

    def __init__(self, behaviour: str) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.layers = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))

    def forward(self, inputs):
        if self.behaviour == "raises":
            raise ValueError("the user's own\nmistake")
        if self.behaviour == "exits":
            sys.exit(3)
        if self.behaviour == "exits_hard":
            os._exit(3)
        if self.behaviour == "segfaults":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.behaviour == "is_killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.behaviour == "hangs_in_c":
            ctypes.PyDLL(None).sleep(3600)  # with the interpreter's lock held: no signal handler runs
        if self.behaviour == "exceeds_a_limit":
            resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
            self.kept = torch.ones(2**34)
        if self.behaviour == "exceeds_its_group":
            Path(os.environ["BEHAVIOURS_GROUP"], "cgroup.procs").write_text(str(os.getpid()))
            self.kept = [torch.ones(2**24) for _ in range(2**10)]
        if self.behaviour == "kills_its_parent_and_leaves_a_process":
            leave_heavy_process()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(3600)
        if self.behaviour == "kills_its_parent":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(3600)
        if self.behaviour == "hangs":
            time.sleep(3600)
        if self.behaviour == "runs_out_of_memory":
            torch.empty(2**50)
        if self.behaviour == "unsupported":
            raise NotImplementedError("no such kernel here")
        outputs = self.layers(inputs)
        return outputs * float("nan") if self.behaviour == "diverges" else outputs


def build(case):
    behaviour = case["behaviour"]
    if behaviour == "is_no_task":
        return "a task"
    if behaviour == "prints":
        print("y" * 3_000_000, flush=True)
    if behaviour == "closes_stdout":
        sys.stdout.close()
        os.close(2)
    if behaviour == "changes_directory":
        os.chdir("/")
    if behaviour == "closes_stdin":
        os.close(0)
    if behaviour == "changes_locale":
        os.environ["LC_ALL"] = "de_DE.UTF-8"
        for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8", "C"):
            try:
                locale.setlocale(locale.LC_ALL, name)
                break
            except locale.Error:
                continue
    if behaviour == "forks" and os.fork() == 0:
        note(os.getpid())
        time.sleep(3600)
        os._exit(0)
    if behaviour == "leaves_files":
        tempfile.mkdtemp()
        Path(tempfile.gettempdir(), "notes").write_text("not needed any more")
    if behaviour == "leaves_processes":
        for new_session in (False, True):
            leave_process(new_session)
    workers = 2 if behaviour == "loader_workers" else 0
    data = TensorDataset(torch.randn(64, WIDTH), torch.randint(2, (64,)))
    loader = DataLoader(data, 16, num_workers=workers, persistent_workers=workers > 0)
    model = Careful(behaviour)
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=case.learning_rate),
        train_loader=loader,
        validate_loader=loader,
        test_loader=loader,
    )


suite = Suite(
    name="behaviours",
    build=build,
    axes={
        "device": ["cpu"],
        "epochs": [2],
        "behaviour": [
            "nothing",
            "raises",
            "exits",
            "exits_hard",
            "segfaults",
            "is_killed",
            "kills_its_parent",
            "hangs",
            "runs_out_of_memory",
            "exceeds_a_limit",
            "unsupported",
            "diverges",
            "is_no_task",
            "prints",
            "closes_stdout",
            "closes_stdin",
            "changes_directory",
            "changes_locale",
            "forks",
            "leaves_files",
            "leaves_processes",
            "loader_workers",
        ],
    },
)
