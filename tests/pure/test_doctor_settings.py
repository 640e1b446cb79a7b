from __future__ import annotations

import pytest
from scenes import look, one

from bench.machine.doctor import settings


def test_none_is_all_there_is_to_say(tmp_path):
    finding = one(settings.openmp, tmp_path)
    assert (finding.state, finding.found) == ("ok", "none that affects launches")


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("OMP_NUM_THREADS", "8", "notice"),
        ("MKL_NUM_THREADS", "1", "notice"),
        ("OMP_NUM_THREADS", "4,2", "notice"),
        ("OMP_NUM_THREADS", "4", "ok"),
        ("OMP_NUM_THREADS", "", "ok"),
        ("OMP_PROC_BIND", "close", "warning"),
        ("OMP_PROC_BIND", "TRUE", "warning"),
        ("OMP_PROC_BIND", "false", "ok"),
        ("OMP_PLACES", "cores", "warning"),
        ("GOMP_CPU_AFFINITY", "0-3", "warning"),
        ("KMP_AFFINITY", "granularity=fine,compact,1,0", "warning"),
        ("KMP_AFFINITY", "disabled", "ok"),
        ("KMP_AFFINITY", "verbose,none", "ok"),
        ("OMP_WAIT_POLICY", "passive", "notice"),
        ("OMP_WAIT_POLICY", "ACTIVE", "ok"),
        ("GOMP_SPINCOUNT", "0", "notice"),
        ("KMP_BLOCKTIME", "0", "notice"),
        ("OMP_THREAD_LIMIT", "2", "warning"),
        ("OMP_THREAD_LIMIT", "4", "ok"),
        ("OMP_DYNAMIC", "TRUE", "warning"),
        ("OMP_DYNAMIC", "false", "ok"),
        ("OMP_STACKSIZE", "4M", "ok"),
    ],
)
def test_openmp(tmp_path, name, value, state):
    finding = one(settings.openmp, tmp_path, environ={name: value})
    assert finding.state == state
    if state != "ok":
        assert finding.found.startswith(f"{name}=")
        assert f"`unset {name}`" in finding.remedy


def test_where_openmp_binds_nothing_its_places_do_not_matter(tmp_path):
    environ = {"OMP_PROC_BIND": "false", "OMP_PLACES": "cores", "GOMP_CPU_AFFINITY": "0-3"}
    assert one(settings.openmp, tmp_path, environ=environ).state == "ok"


def test_each_setting_is_a_finding_of_its_own(tmp_path):
    environ = {"OMP_DYNAMIC": "true", "OMP_PROC_BIND": "spread", "OMP_NUM_THREADS": "1"}
    found = look(settings.openmp, tmp_path, environ=environ)
    assert [finding.found.partition("=")[0] for finding in found] == [
        "OMP_NUM_THREADS",
        "OMP_PROC_BIND",
        "OMP_DYNAMIC",
    ]


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("PYTORCH_ALLOC_CONF", "expandable_segments:True", "notice"),
        ("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64", "notice"),
        ("PYTORCH_CUDA_ALLOC_CONF", "", "ok"),
        ("CUDA_LAUNCH_BLOCKING", "1", "warning"),
        ("CUDA_LAUNCH_BLOCKING", "0", "ok"),
        ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1", "warning"),
        ("PYTORCH_NO_CUDA_MEMORY_CACHING", "0", "warning"),  # torch asks only whether it is set
    ],
)
def test_pytorch(tmp_path, name, value, state):
    finding = one(settings.torch, tmp_path, environ={name: value})
    assert finding.state == state
    if state != "ok":
        assert finding.found.startswith(f"{name}={value}: ")
        assert f"`unset {name}`" in finding.remedy
