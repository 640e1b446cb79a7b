"""How many steps at the beginning of a launch are start-up, only from their times.

The level is the mean of the second half, trimmed by a tenth at each end (Huber and Ronchetti, Robust Statistics, 2nd
ed., section 3.3), so that a start-up may take up to half of the series. Single slow steps (page faults, interrupts, the
first of an epoch) are no start-up: what a Hampel identifier finds (Davies and Gather, JASA 88 (1993) 782) has no
weight. The first half is compared with three shapes of every length, slower or faster than the level: a plateau, and a
linear and an exponential decay. Each has a posterior probability, and the answer is the posterior median of the end,
which has the least expected absolute error (Hoeting et al., Statistical Science 14 (1999) 382). A plateau ends with its
last step, a decay where its expected excess falls to two standard deviations of the noise, at least 3 %. Huge first
steps are always start-up.

A launch never gets steady where its start-up fills the first half, or where a trend remains after twice the start-up
and still in the second half: by the test of Mann (Econometrica 13 (1945) 245) and Kendall (Rank Correlation Methods,
chapter 4, with the variance for ties) and the slope of Theil and Sen (Sen, JASA 63 (1968) 1379).
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

FEW = 10  # steps; fewer show nothing
WINDOW = 5  # neighbours on each side in the running median
LEAST = 0.03  # of the level: an excess that matters
HUGE = 10.0  # levels
GRID = 1.08  # from one time constant to the next
BLOCKS = 60


def find_warmup(steps: Sequence[float]) -> int | None:
    """The number of steps before the launch is steady: 0 for no start-up, None if it never is.

    `steps` are the seconds of consecutive steps of equal work. Two cases give 0 because nothing can be known: fewer
    than ten steps, which are no more than a start-up might be, and steps a tenth of which a coarse clock takes for
    zero. Deviations within 3 % or within the noise of a single step are ignored. A slow step after fast ones counts
    only within the first tenth, if it takes ten times the level and longer than all later steps. A level that changes
    in the last sixth of the steps is not always noticed.
    """
    if len(steps) < FEW or sorted(steps)[len(steps) // 10] <= 0:
        return 0
    half = len(steps) // 2
    level = statistics.median(steps[half:])
    times = [step / level for step in steps]
    start = _slow_start(times, HUGE)
    if half - start < 3:
        return None
    rest, first = times[start:], half - start
    smooth = [statistics.median(rest[max(0, i - WINDOW) : i + WINDOW + 1]) for i in range(len(rest))]
    noise = _noise([abs(time / near - 1) for time, near in zip(rest, smooth, strict=True) if near > 0])
    single = [abs(time - near) > 3 * noise * near for time, near in zip(rest, smooth, strict=True)]
    clean = [near if out else time for time, near, out in zip(rest, smooth, single, strict=True)]
    late, cut = sorted(clean[first:]), (len(clean) - first) // 10
    level = statistics.fmean(late[cut : len(late) - cut])
    excess = [time / level - 1 for time in clean]
    # Noise is a share of the step. The bounds keep the ties and zeros of a coarse clock from an infinite weight.
    weights = [
        0.0 if out else (max(noise, 1e-3) * max(near, 0.1)) ** -2
        for near, out in zip(smooth, single, strict=True)
    ]
    end = start + _median(list(_candidates(excess[:first], weights[:first], noise)))
    early = len(times) // 10
    huge = max(HUGE, *times[early:])
    spikes = (i + 1 for i in range(early) if times[i] > huge)
    end = max(end, _slow_start(times, 1 + max(0.5, 4 * noise)), *spikes)
    return None if end > 0.95 * half or _drifts(excess, end - start) else end


def _slow_start(times: Sequence[float], bound: float) -> int:
    """The end of the slow steps at the beginning, each with at most two other steps before it."""
    end = 0
    for i, time in enumerate(times):
        if i > end + 2:
            break
        if time > bound:
            end = i + 1
    return end


def _noise(residuals: Sequence[float]) -> float:
    """The standard deviation of a step as a share of it, from its distances to the running median.

    1.4826 median absolute deviations (Rousseeuw and Croux, JASA 88 (1993) 1273), refined to the root mean square
    within 2.75 times itself, which varies less. That has 0.93 of the standard deviation of normal noise, since
    a window holds its own step, and 0.9 with the right tail of step times. Where most steps tie, it is the root
    mean square of the smallest 95 %.
    """
    scale = 1.4826 * statistics.median(residuals)
    if scale == 0:
        kept = sorted(residuals)[: int(0.95 * len(residuals))]
        return math.sqrt(statistics.fmean(residual**2 for residual in kept))
    for _ in range(4):
        kept = [residual for residual in residuals if residual <= 2.75 * scale]
        scale = math.sqrt(statistics.fmean(residual**2 for residual in kept))
    return scale / 0.9


def _candidates(
    excess: Sequence[float], weights: Sequence[float], noise: float
) -> Iterator[tuple[float, int]]:
    """Log posterior weight and end of no start-up, then of each shape and length; log lengths are uniform."""
    yield 0.0, 0
    band = max(LEAST, 2 * noise)
    share = -math.log(3 * math.log(len(excess)))
    # Sums of the weights and of the weighted excess, times the powers 0, 1, 2 of the step number.
    w0 = w1 = w2 = y0 = y1 = 0.0
    for i, (value, weight) in enumerate(zip(excess, weights, strict=True)):
        w0, w1, w2 = w0 + weight, w1 + i * weight, w2 + i * i * weight
        y0, y1 = y0 + weight * value, y1 + i * weight * value
        length = i + 1
        factor, size = _evidence(y0, w0)
        yield share - math.log(length) + factor, length if size > max(LEAST, noise) else 0
        factor, size = _evidence(y0 - y1 / length, w0 - 2 * w1 / length + w2 / length**2)
        yield share - math.log(length) + factor, math.ceil(length * (1 - band / size)) if size > band else 0
    constant = 1.0
    while constant < len(excess) / 2:
        shape, ratio, fit, norm = 1.0, math.exp(-1 / constant), 0.0, 0.0
        for value, weight in zip(excess[: int(6 * constant) + 1], weights, strict=False):
            fit, norm, shape = fit + shape * value * weight, norm + shape * shape * weight, shape * ratio
        factor, size = _evidence(fit, norm)
        end = math.ceil(constant * math.log(size / band)) if size > band else 0
        yield share + math.log(math.log(GRID)) + factor, end
        constant *= GRID


def _evidence(fit: float, norm: float) -> tuple[float, float]:
    """Log Bayes factor of a shape against none, and how far from the level it begins.

    The amplitude is a priori normal with a standard deviation of one level, so that its integral has a closed
    form (Kass and Raftery, JASA 90 (1995) 773). `fit` and `norm` are the shape's products with data and itself.
    """
    amplitude = fit / (norm + 1)
    return (fit * amplitude - math.log1p(norm)) / 2, abs(amplitude)


def _median(candidates: Sequence[tuple[float, int]]) -> int:
    likeliest = max(log_weight for log_weight, _ in candidates)
    ordered = sorted((end, math.exp(log_weight - likeliest)) for log_weight, end in candidates)
    sums = list(accumulate(weight for _, weight in ordered))
    return ordered[bisect_left(sums, sums[-1] / 2)][0]


def _drifts(excess: Sequence[float], end: int) -> bool:
    """True where a trend in the rest is significant, one of 2.5 % is still in the second half, one of 5 % in either.

    The tail of a decay is over by twice its end, or no longer changes the second half.
    """
    half = len(excess) // 2
    score, change = trend(excess[min(2 * end, half) :])
    _, late = trend(excess[half:])
    return abs(score) > 3 and abs(late) > 0.025 and max(abs(change), abs(late)) > 0.05


def trend(values: Sequence[float]) -> tuple[float, float]:
    """The score of Mann and Kendall, standard normal without a trend, and the change by Theil and Sen.

    A long series is taken as 60 to 119 means, or the pairs would be too many.
    """
    size = max(1, len(values) // BLOCKS)
    means = [statistics.fmean(values[i : i + size]) for i in range(0, len(values) - size + 1, size)]
    count = len(means)
    slopes = [(means[j] - means[i]) / (j - i) for j in range(count) for i in range(j)]
    ties = sum(tied * (tied - 1) * (2 * tied + 5) for tied in Counter(means).values())
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    score = sum((slope > 0) - (slope < 0) for slope in slopes) / math.sqrt(variance) if variance else 0.0
    return score, statistics.median(slopes) * count
