"""What a worker process learns of itself from the kernel."""

from __future__ import annotations

import os

import pytest

from bench.worker.process_control import opened_devices


@pytest.mark.parametrize(
    ("file", "is_found"),
    [
        ("/dev/nvidia-uvm", True),
        ("/dev/kfd", True),
        ("/dev/dri/renderD128", True),
        ("/dev/nvidiactl", False),  # NVML, which only asks
        ("/dev/null", False),
        ("pipe:[4711]", False),
    ],
)
def test_a_driver_in_use_is_seen_by_the_file_that_it_has_open(tmp_path, file, is_found):
    (tmp_path / "0").symlink_to("/dev/null")
    (tmp_path / "3").symlink_to(file)
    assert opened_devices(tmp_path) == ([file] if is_found else [])


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="this system has no /proc")
def test_this_process_uses_none():
    assert opened_devices() == []
