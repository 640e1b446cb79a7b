from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import CGROUP, FOUR, GIB, QUIET, one

from bench.machine.doctor import memory


@pytest.mark.parametrize(
    ("files", "state", "found"),
    [
        ({}, "ok", "none"),
        ({"memory.max": "max", "memory.current": 5 * GIB}, "ok", "none"),
        ({"memory.max": 4 * GIB, "memory.current": GIB}, "ok", "4.0 GiB, of which 1.0 GiB are in use"),
        ({"memory.max": 4 * GIB, "memory.current": 4 * GIB - 1}, "warning", "4.0 GiB, of which 4.0 GiB"),
        (
            {"memory.max": 4 * GIB, "memory.current": 4 * GIB, "memory.stat": f"inactive_file {2 * GIB}"},
            "ok",
            "4.0 GiB, of which 2.0 GiB are in use",
        ),
        (
            {"memory.max": 8 * GIB, "memory.high": 2**20, "memory.current": 2**20},
            "warning",
            "1.0 MiB, of which 1.0 MiB",
        ),
        ({"memory/memory.limit_in_bytes": 9223372036854771712}, "ok", "none"),
        (
            {
                "memory/memory.limit_in_bytes": 2 * GIB,
                "memory/memory.usage_in_bytes": 2 * GIB,
                "memory/memory.stat": f"inactive_file 0\ntotal_inactive_file {GIB}",
            },
            "ok",
            "2.0 GiB, of which 1.0 GiB are in use",
        ),
    ],
)
def test_memory_limit(tmp_path, files, state, found):
    finding = one(memory.limit, tmp_path, {f"{CGROUP}/{path}": text for path, text in files.items()})
    assert finding.state == state
    assert found in finding.found


@pytest.mark.parametrize(
    ("available", "state", "found"),
    [
        (12 * GIB, "ok", "12.0 GiB of 16.0 GiB"),
        (GIB, "warning", "1.0 GiB of 16.0 GiB"),
        (None, "unknown", "not reported by"),
    ],
)
def test_free_memory(tmp_path, available, state, found):
    finding = one(memory.free, tmp_path, facts=replace(QUIET, available=available))
    assert finding.state == state
    assert found in finding.found


@pytest.mark.parametrize(
    ("swap", "swapped", "state", "found"),
    [
        (0, 0, "ok", "none"),
        (2 * GIB, 0, "ok", "2.0 GiB, none in use"),
        (2 * GIB, 3 * 2**20, "warning", "3.0 MiB of 2.0 GiB in use"),
        (None, None, "unknown", "not reported by"),
    ],
)
def test_swap(tmp_path, swap, swapped, state, found):
    finding = one(memory.swap, tmp_path, facts=replace(QUIET, swap=swap, swapped=swapped))
    assert finding.state == state
    assert found in finding.found


@pytest.mark.parametrize(
    ("setting", "state", "found"),
    [
        ("[always] madvise never", "notice", "always"),
        ("always [madvise] never", "ok", "madvise"),
        ("always madvise [never]", "ok", "never"),
        ("", "unknown", "not reported by"),
    ],
)
def test_huge_pages(tmp_path, setting, state, found):
    finding = one(memory.huge_pages, tmp_path, {"sys/kernel/mm/transparent_hugepage/enabled": setting})
    assert finding.state == state
    assert found in finding.found


@pytest.mark.parametrize(
    ("setting", "personality", "state", "found"),
    [
        (2, "00000000", "ok", "random"),
        (2, "", "ok", "random"),
        (2, "00040000", "notice", "the same in all launches (personality)"),
        (1, "00000000", "notice", "the heap is the same in all launches (1)"),
        (0, "00000000", "notice", "the same in all launches (0)"),
        ("", "", "unknown", "not reported by the kernel"),
    ],
)
def test_address_layout(tmp_path, setting, personality, state, found):
    files = {"proc/sys/kernel/randomize_va_space": setting, "proc/self/personality": personality}
    finding = one(memory.layout, tmp_path, files)
    assert finding.state == state
    assert finding.found.startswith(found)


def test_a_pinned_allocator_is_all_there_is_to_say(tmp_path):
    finding = one(memory.allocator, tmp_path)
    assert (finding.state, finding.found) == ("ok", "pinned")


@pytest.mark.parametrize(
    ("environ", "files", "found", "remedy"),
    [
        (
            {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"},
            {},
            "LD_PRELOAD preloads jemalloc",
            "`unset LD_PRELOAD`",
        ),
        ({"LD_PRELOAD": "a.so:libtcmalloc_minimal.so.4"}, {}, "preloads tcmalloc", "`unset LD_PRELOAD`"),
        (
            {},
            {"etc/ld.so.preload": "/lib/libmimalloc.so"},
            "the system preloads mimalloc",
            "/etc/ld.so.preload",
        ),
        ({"MALLOC_ARENA_MAX": "2"}, {}, "MALLOC_ARENA_MAX=2", "`unset MALLOC_ARENA_MAX`"),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
            {},
            "glibc.malloc.hugetlb=1",
            "`unset GLIBC_TUNABLES`",
        ),
    ],
)
def test_what_pinning_does_not_reach(tmp_path, environ, files, found, remedy):
    finding = one(memory.allocator, tmp_path, files, environ=environ)
    assert finding.state == "notice"
    assert found in finding.found
    assert remedy in finding.remedy


def test_other_preloads_and_tunables_are_let_be(tmp_path):
    environ = {"LD_PRELOAD": "libfaketime.so", "GLIBC_TUNABLES": "glibc.cpu.x86_ibt=on"}
    assert one(memory.allocator, tmp_path, environ=environ).state == "ok"


def test_an_allocator_that_is_not_to_be_pinned(tmp_path):
    finding = one(memory.allocator, tmp_path, conditions=replace(FOUR, allocator="system"))
    assert (finding.state, finding.remedy) == ("notice", "Leave out --allocator system.")


def test_a_c_library_without_the_settings(tmp_path):
    assert "not glibc" in one(memory.allocator, tmp_path, facts=replace(QUIET, mallopt=False)).found
