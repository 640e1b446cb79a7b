"""Which cards are used at the same time, and with which processors: on machines that a folder describes."""

from __future__ import annotations

import itertools

import pytest

from bench.machine.placement import LEAST, cards_in_use, places
from bench.measurement import Device


def card(index, pci=""):
    return Device("A card", "cuda", index, uuid=f"uuid-{index}", pci=pci)


def machine(tmp_path, near):
    """The cards of a machine: `near` has the processors near each, as the kernel lists them."""
    cards = []
    for index, cpus in enumerate(near):
        pci = f"0000:{index + 16:02x}:00.0"
        folder = tmp_path / "bus/pci/devices" / pci
        folder.mkdir(parents=True)
        (folder / "local_cpulist").write_text(f"{cpus}\n")
        cards.append(card(index, pci))
    return cards


def placed(cards, cpus, threads, tmp_path):
    found = places(cards, range(cpus), threads, tmp_path)
    for one, other in itertools.combinations(found, 2):
        assert not set(one.cpus) & set(other.cpus), "two cards share a processor"
    assert len({len(place.cpus) for place in found}) <= 1, "it matters which card a launch runs on"
    return {place.card.index: place.cpus for place in found}


class TestPlaces:
    def test_each_card_gets_processors_of_its_own_node(self, tmp_path):
        cards = machine(tmp_path, ["0-15", "0-15", "16-31", "16-31"])
        assert placed(cards, 32, 32, tmp_path) == {
            0: tuple(range(8)),
            1: tuple(range(8, 16)),
            2: tuple(range(16, 24)),
            3: tuple(range(24, 32)),
        }

    def test_without_a_known_node_all_processors_are_divided(self, tmp_path):
        found = placed([card(0), card(1), card(2)], 16, 16, tmp_path)
        assert [len(cpus) for cpus in found.values()] == [5, 5, 5]

    def test_a_node_without_usable_processors_uses_the_others(self, tmp_path):
        cards = machine(tmp_path, ["64-95", "0-31"])  # the container may use the first 16 only
        assert placed(cards, 16, 16, tmp_path) == {0: tuple(range(8)), 1: tuple(range(8, 16))}

    def test_nodes_that_share_processors_are_one(self, tmp_path):
        cards = machine(tmp_path, ["0-15", "8-23", "24-31"])
        found = placed(cards, 32, 32, tmp_path)
        assert set(found[2]) <= set(range(24, 32))
        assert set(found) == {0, 1, 2}

    def test_all_have_as_many_as_the_smallest_share(self, tmp_path):
        cards = machine(tmp_path, ["0-23", "24-31", "24-31"])
        assert [len(cpus) for cpus in placed(cards, 32, 32, tmp_path).values()] == [4, 4, 4]

    def test_fewer_cards_where_there_are_too_few_processors(self, tmp_path):
        assert set(placed([card(n) for n in range(8)], 2 * LEAST + 1, 99, tmp_path)) == {0, 1}

    @pytest.mark.parametrize(("cpus", "threads"), [(2, 2), (2 * LEAST - 1, 2 * LEAST - 1), (16, 9)])
    def test_one_card_at_a_time_is_no_place(self, tmp_path, cpus, threads):
        assert placed([card(0), card(1)], cpus, threads, tmp_path) == {}

    def test_a_launch_keeps_its_threads(self, tmp_path):
        found = placed([card(n) for n in range(8)], 32, 8, tmp_path)
        assert [len(cpus) for cpus in found.values()] == [8, 8, 8, 8]

    def test_all_processors_as_threads_are_no_request(self, tmp_path):
        assert len(placed([card(n) for n in range(8)], 32, 32, tmp_path)) == 8

    def test_no_card_and_a_single_one_need_no_places(self, tmp_path):
        assert placed([], 16, 16, tmp_path) == placed([card(0)], 16, 16, tmp_path) == {}


class TestUse:
    def test_without_a_driver_no_card_is_known_to_be_in_use(self):
        assert cards_in_use([card(0), card(1)]) == {}

    def test_processes_are_those_of_the_card_with_the_uuid(self, monkeypatch):
        class Gpu:
            def __init__(self, uuid, processes):
                self.uuid, self.processes = uuid, processes

            def state(self):
                return self

        opened = [
            Gpu("GPU-uuid-1", frozenset({12, 13})),
            Gpu("GPU-uuid-0", frozenset()),
            Gpu("GPU-uuid-2", None),
            Gpu("GPU-other", frozenset({5})),
        ]
        monkeypatch.setattr("bench.machine.placement.open_gpus", lambda indices: opened)
        assert cards_in_use([card(0), card(1), card(2)]) == {"cuda:1": frozenset({12, 13})}
