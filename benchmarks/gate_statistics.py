"""How often the paired test of `bench ab` raises false alarms, what it detects, and whether its interval holds.

    python -m benchmarks.gate_statistics FOLDER [RUNS]

FOLDER has recordings of step times, `NAME.parquet` each: columns round, position, side (a and a2, the same code;
plus3, plus5, plus10, slower by that many per cent), fork_server, step, nanoseconds. RUNS (10,000) is the number of runs
of each kind in the first table, and of rows of each kind in the last two.

(a) runs of the same code with noise that is fitted to a recording; (b) a and a2 of the recordings, swapped at random;
(c) the slower sides against a, with fork servers drawn repeatedly; (d) slowdowns in synthetic noise: the shown interval
and the ratio at the pair at which the row stops. All are judged at every look, and a case that is decided gets no more
pairs. A common rule is judged for comparison, *naive*: a mean more than 5 % above, of one launch per side.

A million rows need arrays of rows, so the statistics are implemented here a second time; the first line printed is the
number of rows that were checked to equal those of `bench/analysis/compare/sequential.py`.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
import numpy.typing
import pandas
from scipy.signal import lfilter
from scipy.stats import binomtest

from bench.analysis.compare.sequential import (
    Opposite,
    PairedFinding,
    Pairs,
    looks_at,
    paired_finding,
    paired_verdicts,
    rank_sum_cdf,
)
from bench.analysis.compare.verdict import EQUIVALENCE, FAMILY, SHOWN
from bench.suite.case import MOST_PAIRS

Array = numpy.typing.NDArray[numpy.float64]
Places = numpy.typing.NDArray[numpy.integer]

CASES, THRESHOLD, SLOT = 24, 0.01, 0.01
FORK_SERVERS = (0.0, 0.005, 0.01, 0.015)
SWAPS = 2000
SLOWDOWNS = (0.01, 0.03, 0.05, 0.1)
VALUES = ("median", "mean")
WITHIN = (20, 40, MOST_PAIRS)
BEYOND, NAIVE = math.log1p(THRESHOLD), math.log(1.05)
BURST, FAST, SPEEDS = math.log(1.1), math.log(1.03), math.log(1.06)
BURSTS = (0.1, 0.5)  # how much slower such a launch is
_BATCH = 250  # rows whose effects stay in the processor's cache
_RUNS_AT_ONCE = 500
_NOTHING = Opposite([], 0, 0, 0.0)
REGRESSED, IMPROVED, EQUIVALENT, INCONCLUSIVE = range(4)


class Noise(NamedTuple):
    """The noise of the logarithm of a launch's time; `beside` is the part that only a second metric has."""

    drift: float
    memory: float  # of the drift, from launch to launch
    burst_rate: float
    burst_stays: float
    slow_share: float
    gaussian: float
    beside: float


class Judged(NamedTuple):
    """Rows at their looks, one a line of each array (looks x rows); ratio and interval as logarithms."""

    pairs: Array
    p: Array
    p_beyond: Array
    ratio: Array
    low: Array
    high: Array
    smallest: Array


def main() -> None:
    began = time.monotonic()
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    recordings = {path.stem: launches_of(path) for path in sorted(Path(sys.argv[1]).glob("*.parquet"))}
    noises = {name: fitted(recording) for name, recording in recordings.items()}
    print(f"the same as paired_finding(): {checked(recordings, noises)} rows at their looks")
    fits(recordings, noises)
    false_alarms(noises, runs)
    swapped(recordings)
    power(recordings, runs)
    coverage(noises, runs)
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes")


# ---- recordings and the noise that is fitted to them


def launches_of(path: Path) -> pandas.DataFrame:
    """One row per launch, in their order: logarithms of the median and the mean of its steps after warm-up."""
    steps = pandas.read_parquet(path).rename(
        columns={"nursery": "fork_server"}
    )  # its name in older recordings
    steps = steps[steps["step"] >= (steps["step"].max() + 1) / 5]
    made = steps.groupby(["round", "position", "side", "fork_server"])["nanoseconds"].agg(["median", "mean"])
    made = made.apply(numpy.log).reset_index().sort_values(["round", "position"])
    for value in VALUES:
        made[f"rest of {value}"] = made[value] - made.groupby("side")[value].transform("median")
    return made


def fitted(recording: pandas.DataFrame) -> Noise:
    """Fitted by moments: bursts from 10 % on, the slow speed from half of it, drift by the autocorrelation."""
    rests = recording["rest of median"].to_numpy()
    bursts = rests > BURST
    body = rests[~bursts]
    slow = float((body > FAST).mean())
    calm = numpy.minimum(rests, BURST)
    lags = [autocorrelation(calm, lag) for lag in range(1, 7)]
    memory = min(max(sum(lags[1:]) / max(sum(lags[:-1]), 1e-9), 0.5), 0.95)
    rest = max(body.var() - slow * (1 - slow) * SPEEDS**2, body.var() / 4)
    drift = min(max(lags[0] / memory, 0) * body.var(), 0.9 * rest)
    stays = (bursts[1:] & bursts[:-1]).sum() / max(1, bursts[:-1].sum()) if bursts.sum() >= 10 else 0.5
    alike = numpy.corrcoef(rests, recording["rest of mean"])[0, 1]
    return Noise(
        drift=math.sqrt(drift),
        memory=memory,
        burst_rate=max(float(bursts.sum()), 0.5) / len(rests),
        burst_stays=float(stays),
        slow_share=slow,
        gaussian=math.sqrt(rest - drift),
        beside=float(rests.std() * math.sqrt(1 / alike**2 - 1)),
    )


def autocorrelation(values: Array, lag: int) -> float:
    moved = values - values.mean()
    return float((moved[lag:] * moved[:-lag]).mean() / moved.var())


def drawn(noise: Noise, rows: int, launches: int, chance: numpy.random.Generator) -> Array:
    """Launches of `rows` cases, each in their order (rows x launches)."""
    steps = chance.standard_normal((rows, launches)) * noise.drift
    steps[:, 1:] *= math.sqrt(1 - noise.memory**2)
    made: Array = lfilter([1.0], [1.0, -noise.memory], steps, axis=1)
    made += noise.gaussian * chance.standard_normal((rows, launches))
    made += SPEEDS * (chance.random((rows, launches)) < noise.slow_share)
    begins = noise.burst_rate * (1 - noise.burst_stays) / (1 - noise.burst_rate)
    throws = chance.random((rows, launches))
    bursts = numpy.empty((rows, launches), dtype=bool)
    bursts[:, 0] = throws[:, 0] < noise.burst_rate
    for number in range(1, launches):
        bursts[:, number] = throws[:, number] < numpy.where(bursts[:, number - 1], noise.burst_stays, begins)
    made[bursts] += numpy.log1p(chance.uniform(*BURSTS, int(bursts.sum())))
    return made


def paired(
    noise: Noise, rows: int, server_sd: float, chance: numpy.random.Generator, second: bool = False
) -> tuple[Array, Array]:
    """Log ratios of candidate over base, and the signs of the leads (-1 where the base led): rows x pairs.

    With a `second` metric of each launch the logs are rows x 2 x pairs.
    """
    launches = drawn(noise, rows, 2 * MOST_PAIRS, chance)
    launches[:, ::2] += math.log1p(SLOT)
    firsts = chance.integers(0, 2, (rows, MOST_PAIRS // 2)) * 2.0 - 1
    signs = numpy.stack([firsts, -firsts], axis=2).reshape(rows, MOST_PAIRS)
    logs = signs * (launches[:, ::2] - launches[:, 1::2])
    if server_sd:
        logs += math.sqrt(2) * server_sd * chance.standard_normal(logs.shape)
    if second:
        beside = math.sqrt(2) * noise.beside * chance.standard_normal(logs.shape)
        logs = numpy.stack([logs, logs + beside], axis=1)
    return logs, signs


# ---- the statistics of bench/analysis/compare/sequential.py, many rows at a time


def opposites(logs: Array, signs: Array) -> Iterator[tuple[Places, int, int, Array]]:
    """A few rows at a time, of as many leads each: which they are, led, followed, and the effects, not sorted."""
    leads = (signs < 0).sum(axis=1)
    for led in numpy.unique(leads).tolist():
        alike = numpy.flatnonzero(leads == led)
        for start in range(0, len(alike), _BATCH):
            rows = alike[start : start + _BATCH]
            order = numpy.argsort(signs[rows], axis=1, kind="stable")
            sides = numpy.take_along_axis(logs[rows], order, axis=1)
            effects = (sides[:, :led, None] + sides[:, None, led:]) / 2
            yield rows, led, logs.shape[1] - led, effects.reshape(len(rows), -1)


def tails(effects: Array, shift: float, led: int, followed: int) -> tuple[Array, Array]:
    chances = numpy.array(rank_sum_cdf(led, followed))
    low = (effects < shift).sum(axis=1) + (effects <= shift).sum(axis=1)
    return chances[(low + 1) // 2], chances[(2 * effects.shape[1] - low + 1) // 2]


def interval(effects: Array, error: float, led: int, followed: int) -> tuple[Array | float, Array | float]:
    out = int(numpy.searchsorted(rank_sum_cdf(led, followed), error / 2, side="right"))
    return (effects[:, out - 1], effects[:, -out]) if out else (-math.inf, math.inf)


def p_at_looks(logs: Array, signs: Array, made: Sequence[tuple[int, float]]) -> Array:
    """That of no change, at each of these looks the smallest so far."""
    found = numpy.ones((len(made), len(logs)))
    for look, (number, share) in enumerate(made):
        for rows, led, followed, effects in opposites(logs[:, :number], signs[:, :number]):
            found[look, rows] = 2 * numpy.minimum(*tails(effects, 0.0, led, followed)) / share
    return numpy.minimum.accumulate(numpy.minimum(found, 1))


def judged(logs: Array, signs: Array, made: Sequence[tuple[int, float]], family: int) -> Judged:
    """All that is found of these rows at these looks."""
    apart, ratio, low, high, smallest = numpy.ones((5, len(made), len(logs)))
    for look, (number, share) in enumerate(made):
        for rows, led, followed, effects in opposites(logs[:, :number], signs[:, :number]):
            effects.sort(axis=1)
            below, above = tails(effects, -BEYOND, led, followed)[0], tails(effects, BEYOND, led, followed)[1]
            apart[look, rows] = numpy.maximum(below, above) / share
            ratio[look, rows] = numpy.median(effects if led and followed else logs[rows, :number], axis=1)
            low[look, rows], high[look, rows] = interval(effects, (1 - SHOWN) * share, led, followed)
            _, top = interval(effects, FAMILY / family * share, led, followed)
            smallest[look, rows] = numpy.maximum(top - ratio[look, rows], BEYOND)
    p_beyond = numpy.minimum.accumulate(numpy.minimum(apart, 1))
    pairs = numpy.array([number for number, _ in made])
    return Judged(pairs, p_at_looks(logs, signs, made), p_beyond, ratio, low, high, smallest)


def first_verdicts(rows: Judged, family: int) -> tuple[Places, Places]:
    """The verdict of each row, judged alone at its share of a family's error, and the place of its look.

    The place is the last look if there was no verdict.
    """
    differs = rows.p <= FAMILY / family
    verdict = numpy.where(rows.p_beyond <= EQUIVALENCE, EQUIVALENT, INCONCLUSIVE)
    verdict[differs & (rows.ratio < -BEYOND)] = IMPROVED
    verdict[differs & (rows.ratio > BEYOND)] = REGRESSED
    known = verdict != INCONCLUSIVE
    known[-1] = True
    at = known.argmax(axis=0)
    return verdict[at, numpy.arange(len(at))], at


def checked(recordings: dict[str, pandas.DataFrame], noises: dict[str, Noise]) -> int:
    """How many rows at looks were compared with paired_finding(): synthetic ones, and recorded ones with their ties."""
    chance = numpy.random.default_rng(1)
    found = 0
    for name, noise in noises.items():
        for logs, signs in (
            paired(noise, 20, 0.01, chance),
            recorded(recordings[name], "plus3", "median", 20, chance),
            balanced(recordings[name], "plus10", "mean", 20, chance),
        ):
            made = looks_at(logs.shape[1])
            mine = judged(logs, signs, made, 2)
            for row in range(len(logs)):
                for look, (number, _) in enumerate(made):
                    leads = (signs[row, :number] < 0).tolist()
                    one = paired_finding(Pairs(logs[row, :number].tolist(), leads), THRESHOLD)
                    assert one is not None
                    shown = [math.exp(value[look, row]) for value in (mine.ratio, mine.low, mine.high)]
                    assert shown == [one.ratio, one.low, one.high], (name, row, look)
                    theirs = (min(1.0, one.p), min(1.0, one.p_beyond))
                    assert (mine.p[look, row], mine.p_beyond[look, row]) == theirs, (name, row, look)
                    seen = max(THRESHOLD, math.expm1(mine.smallest[look, row]))
                    assert math.isclose(seen, one.smallest(2) or math.inf, rel_tol=1e-12), (name, row, look)
                    found += 1
    return found


# ---- the tables


def said(count: int, number: int) -> str:
    """With the exact binomial interval (Clopper and Pearson 1934) of 95 %."""
    bounds = binomtest(count, number).proportion_ci(0.95, "exact")
    return f"{count:6} of {number:6} {count / number:7.2%} ({bounds.low:6.2%} to {bounds.high:6.2%})"


def fits(recordings: dict[str, pandas.DataFrame], noises: dict[str, Noise]) -> None:
    print(f"""
noise of a launch's log time, fitted to recordings, and of what it draws (2,000 x 80 launches)
  bursts: {math.expm1(BURST):.0%} and more above the side's median
  recording   launches     sd   drawn  autocorrelation      bursts""")
    for name, noise in noises.items():
        rests = recordings[name]["rest of median"].to_numpy()
        made = drawn(noise, 2000, 80, numpy.random.default_rng(2))
        made -= numpy.median(made)
        along = numpy.mean([autocorrelation(row, 1) for row in made])
        print(
            f"  {name:11} {len(rests):8} {rests.std():7.2%} {made.std():7.2%} {autocorrelation(rests, 1):8.2f}"
            f" {along:5.2f} {(rests > BURST).mean():10.1%} {(made > BURST).mean():6.1%}"
        )


def false_alarms(noises: dict[str, Noise], runs: int) -> None:
    print(f"""
(a) runs of the same code that alarm: {CASES} cases, {MOST_PAIRS} pairs, T = {THRESHOLD:.0%}, at most 2 %
  fork server effects are of each case by itself, and so are its launches: what cases share would lower all shares
  0.0 %: also what shared fork servers have, whatever their effects are, since these cancel in a pair
  recording  fork server  {"a row a case":>42}  {"two rows a case":>42}    naive""")
    for name, noise in noises.items():
        for server_sd in FORK_SERVERS:
            chance = numpy.random.default_rng([3, int(server_sd * 1000), *name.encode()])
            counts: Counter[str] = Counter()
            for begun in range(0, runs, _RUNS_AT_ONCE):
                counts += Counter(alarming(noise, min(_RUNS_AT_ONCE, runs - begun), server_sd, chance))
            print(
                f"  {name:10} {server_sd:11.1%}  {said(counts['1'], runs)}  {said(counts['2'], runs)}"
                f"  {counts['naive'] / runs:7.2%}",
                flush=True,
            )


def alarming(noise: Noise, runs: int, server_sd: float, chance: numpy.random.Generator) -> dict[str, int]:
    """How many of these runs raise an alarm, by the number of rows per case.

    The first of Holm's steps wants a row whose p is at most the error over the family, so that only runs which ever
    have one are judged in full.
    """
    made = looks_at(MOST_PAIRS)
    both, signs = paired(noise, runs * CASES, server_sd, chance, second=True)
    found = {"naive": int((both[:, 0, 0] > NAIVE).reshape(runs, CASES).any(axis=1).sum())}
    p = numpy.stack([p_at_looks(both[:, row], signs, made)[-1] for row in (0, 1)], axis=1)
    for rows in (1, 2):
        least = p[:, :rows].reshape(runs, -1).min(axis=1)
        cases = (
            slice(run * CASES, (run + 1) * CASES) for run in numpy.flatnonzero(least <= FAMILY / CASES / rows)
        )
        found[str(rows)] = sum(alarm(both[some, :rows], signs[some], made) for some in cases)
    return found


def alarm(logs: Array, signs: Array, made: Sequence[tuple[int, float]]) -> bool:
    """Whether a run (cases x rows x pairs) ends with a row regressed or improved: as SideBySide judges it."""
    cases, rows, pairs = logs.shape
    all_rows = judged(logs.reshape(-1, pairs), numpy.repeat(signs, rows, axis=0), made, cases * rows)
    findings: dict[int, PairedFinding] = {}
    verdict: dict[int, str] = {}
    wanted = set(range(cases))
    for look, (number, share) in enumerate(made):
        for row in range(cases * rows):
            if row // rows in wanted:
                findings[row] = PairedFinding(
                    pairs=number,
                    ratio=math.exp(all_rows.ratio[look, row]),
                    low=0.0,
                    high=math.inf,
                    slot=1.0,
                    p=float(all_rows.p[look, row]),
                    p_beyond=float(all_rows.p_beyond[look, row]),
                    threshold=THRESHOLD,
                    seen=_NOTHING,
                    share=share,
                )
        verdict = paired_verdicts(findings, cases * rows)
        wanted = {row // rows for row, one in verdict.items() if one == "inconclusive"}
    return any(one in ("regressed", "improved") for one in verdict.values())


def sides_of(recording: pandas.DataFrame, side: str, value: str) -> tuple[Array, Array, Places]:
    """A side against a, round by round: logs, signs of the leads, and which fork server it was."""
    table = recording.pivot(index="round", columns="side", values=[value, "position", "fork_server"])
    logs = (table[value][side] - table[value]["a"]).to_numpy()
    signs = numpy.where(table["position"]["a"] < table["position"][side], -1.0, 1.0)
    _, blocks = numpy.unique(table["fork_server"]["a"].to_numpy(), return_inverse=True)
    return logs, signs, blocks


def swapped(recordings: dict[str, pandas.DataFrame]) -> None:
    print(f"""
(b) a and a2 of the recordings, swapped at random by fork server: {SWAPS} swaps, one row, T = {THRESHOLD:.0%}
  Each side had its own fork server for four rounds, unlike in `bench ab`: its effects stay in four successive pairs.
  The interval is that of the swaps; the number of blocks is small, however.
  By block: the mean of its pairs, with the lead of the first. Naive: of the pairs, with either side as the base""")
    for name, recording in recordings.items():
        for value in VALUES:
            logs, signs, blocks = sides_of(recording, "a2", value)
            _, firsts = numpy.unique(blocks, return_index=True)
            number = len(firsts)
            means = numpy.bincount(blocks, logs) / numpy.bincount(blocks)
            swaps = numpy.random.default_rng([4, *name.encode()]).integers(0, 2, (SWAPS, number)) * 2.0 - 1
            alarms = []
            for each, leads, flips in ((logs, signs, swaps[:, blocks]), (means, signs[firsts], swaps)):
                rows = judged(flips * each, flips * leads, looks_at(len(each), ended=True), 1)
                alarms.append(int((first_verdicts(rows, 1)[0] <= IMPROVED).sum()))
            least = min(2 / math.comb(n, n // 2) / share for n, share in looks_at(number, ended=True))
            print(
                f"  {name:10} {value:6}  by pair {said(alarms[0], SWAPS)}  naive"
                f" {numpy.mean(numpy.abs(logs) > NAIVE) / 2:5.1%}\n{'':21}by block {said(alarms[1], SWAPS)}"
                f"  of {number} independent blocks ({2**number} ways to swap), p at least {min(1, least):.2g}"
            )


def recorded(
    recording: pandas.DataFrame, side: str, value: str, rows: int, chance: numpy.random.Generator
) -> tuple[Array, Array]:
    """Rows of pairs, made of blocks of one fork server each that are drawn with replacement; leads as recorded."""
    logs, signs, blocks = sides_of(recording, side, value)
    _, lengths = numpy.unique(blocks, return_counts=True)
    (length,) = set(lengths.tolist())
    hands = chance.integers(0, len(lengths), (rows, -(-MOST_PAIRS // length)))
    found = [each.reshape(-1, length)[hands].reshape(rows, -1)[:, :MOST_PAIRS] for each in (logs, signs)]
    return found[0], found[1]


def balanced(
    recording: pandas.DataFrame, side: str, value: str, rows: int, chance: numpy.random.Generator
) -> tuple[Array, Array]:
    """As `recorded`, with leads balanced in every two pairs: of a block two of either lead, drawn with replacement.

    A block in which all pairs have the same lead is dropped.
    """
    logs, signs, blocks = sides_of(recording, side, value)
    pools = [
        [numpy.flatnonzero((blocks == one) & (signs == lead)) for lead in (-1, 1)]
        for one in numpy.unique(blocks)
    ]
    pools = [each for each in pools if all(map(len, each))]
    hands = chance.integers(0, len(pools), (rows, -(-MOST_PAIRS // 4)))
    taken = numpy.empty((*hands.shape, 2, 2), dtype=int)
    for place, pool in enumerate(pools):
        drawn_here = hands == place
        for lead in (0, 1):
            taken[drawn_here, :, lead] = chance.choice(pool[lead], (int(drawn_here.sum()), 2))
    turned = chance.random(taken.shape[:3]) < 0.5
    taken[turned] = taken[turned][:, ::-1]
    places = taken.reshape(rows, -1)[:, :MOST_PAIRS]
    return logs[places], signs[places]


def power(recordings: dict[str, pandas.DataFrame], resamples: int) -> None:
    print(f"""
(c) slower sides against a, T = {THRESHOLD:.0%}, a row of a family of two: {resamples} times blocks of a fork server,
  drawn with replacement. balanced: of each block two pairs of either lead, one of each in every two pairs, as
  `bench ab` has them; recorded: which side led is as it was recorded, which chance left unbalanced
  pairs: mean to any verdict, {MOST_PAIRS} where there was none; smallest: median of what would be seen in {MOST_PAIRS}
                                    regressed within
  recording  leads    side   value       20      40      {MOST_PAIRS}  pairs  smallest    naive""")
    for name, recording in recordings.items():
        for draws in (balanced, recorded):
            for value in VALUES:
                for side in ("plus3", "plus5", "plus10"):
                    chance = numpy.random.default_rng([5, *name.encode()])
                    logs, signs = draws(recording, side, value, resamples, chance)
                    rows = judged(logs, signs, looks_at(MOST_PAIRS), 2)
                    verdict, at = first_verdicts(rows, 2)
                    took = rows.pairs[at]
                    within = [numpy.mean((verdict == REGRESSED) & (took <= most)) for most in WITHIN]
                    print(
                        f"  {name:10} {draws.__name__} {side:6} {value:6} {within[0]:7.1%} {within[1]:7.1%}"
                        f" {within[2]:7.1%} {took.mean():6.1f} {numpy.expm1(numpy.median(rows.smallest[-1])):9.1%}"
                        f" {numpy.mean(logs[:, 0] > NAIVE):8.1%}",
                        flush=True,
                    )


def coverage(noises: dict[str, Noise], number: int) -> None:
    print(f"""
(d) slowdowns in synthetic noise, {number} rows each of a family of two, T = {THRESHOLD:.0%}, {MOST_PAIRS} pairs: how
  often the shown interval of {SHOWN:.0%} holds the slowdown at the look at which the row stopped (at least 93 %),
  and how much the ratio is off: mean and median. Fork servers of 0 % are shared ones
  recording  fork server  slowdown  {"held":>42}  off: mean  median  pairs  regressed""")
    made = looks_at(MOST_PAIRS)
    for name, noise in noises.items():
        for server_sd in (0.0, 0.01):
            for slowdown in SLOWDOWNS:
                chance = numpy.random.default_rng(
                    [6, int(server_sd * 1000), int(slowdown * 100), *name.encode()]
                )
                logs, signs = paired(noise, number, server_sd, chance)
                rows = judged(logs + math.log1p(slowdown), signs, made, 2)
                verdict, at = first_verdicts(rows, 2)
                stop = (at, numpy.arange(number))
                held = (rows.low[stop] <= math.log1p(slowdown)) & (math.log1p(slowdown) <= rows.high[stop])
                off = numpy.expm1(rows.ratio[stop]) - slowdown
                print(
                    f"  {name:10} {server_sd:11.0%} {slowdown:9.0%}  {said(int(held.sum()), number)}"
                    f"  {off.mean():+9.3%} {numpy.median(off):+7.3%} {rows.pairs[at].mean():6.1f}"
                    f" {numpy.mean(verdict == REGRESSED):10.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
