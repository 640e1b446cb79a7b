"""How many steps at the beginning of a launch are start-up, told from nothing but their times.

The level is the median of the second half: a start-up may take up to half of the series. Single slow steps
(page faults, interrupts, the first of an epoch) are no start-up; a Hampel identifier puts the running median
in their place (Davies and Gather, JASA 88 (1993) 782). The first half is then held against three shapes of
every length, slower or faster than the level: a plateau, a linear and an exponential decay. Each has a
posterior probability, and the answer is the posterior median of the end, which has the least expected
absolute error (Hoeting et al., Statistical Science 14 (1999) 382; Berger, Statistical Decision Theory, 2nd
ed., section 2.4.2). A plateau ends with its last step, a decay where its expected excess falls to two
standard deviations of the noise, at least 3 %. Huge first steps are taken as they come.

A launch never settles where its start-up fills the first half, or where a trend is left after twice the
start-up or in the second half: by the test of Mann (Econometrica 13 (1945) 245) and Kendall (Rank Correlation
Methods, chapter 4, with the variance for ties), and the slope of Theil and Sen (Sen, JASA 63 (1968) 1379).
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

FEW = 10  # steps; of fewer nothing can be told
WINDOW = 5  # neighbours on each side in the running median
LEAST = 0.03  # of the level: an excess that matters
HUGE = 10.0  # levels
GRID = 1.08  # from one time constant to the next
BLOCKS = 60  # means of neighbouring steps that a trend is sought in, at least


def find_warmup(steps: Sequence[float]) -> int | None:
    """The number of steps before the launch has settled: 0 for no start-up, None if it never settles.

    `steps` are the seconds of consecutive steps of equal work. Fewer than ten tell nothing: a start-up would be
    half of them; nor do steps that a coarse clock mostly takes for zero. Both give 0. So does what lies within
    the noise of a single step, or within 3 %. A slow step behind fast ones counts if it is more than ten times
    the level, within the first tenth and slower than all after that.
    """
    half = len(steps) // 2
    level = statistics.median(steps[half:]) if len(steps) >= FEW else 0.0
    if level <= 0:
        return 0
    times = [step / level for step in steps]
    start = _slow_start(times, HUGE)
    if half - start < FEW // 3:
        return None
    smooth = [statistics.median(times[max(start, i - WINDOW) : i + WINDOW + 1]) for i in range(start, len(times))]
    noise = _noise([abs(time / near - 1) for time, near in zip(times[start:], smooth, strict=True) if near > 0])
    clean = [
        near if abs(time - near) > 3 * noise * near else time
        for time, near in zip(times[start:], smooth, strict=True)
    ]
    level = statistics.median(clean[half - start :])
    excess = [time / level - 1 for time in clean]
    # The noise is a share of the step; a coarse clock's zeros and constants still weigh no more than finitely.
    weights = [(max(noise, 1e-3) * max(near, 0.1)) ** -2 for near in smooth[: half - start]]
    found = start + _median(list(_candidates(excess[: half - start], weights, noise)))
    early = max(FEW // 2 + 1, len(times) // 10)
    huge = max(HUGE, *times[early:])
    spikes = (i + 1 for i in range(early) if times[i] > huge)
    found = max(found, _slow_start(times, 1 + max(0.5, 4 * noise)), *spikes)
    return None if found > 0.95 * half or _drifts(excess, found - start) else found


def _slow_start(times: Sequence[float], bound: float) -> int:
    """The steps up to the last one beyond the bound that no more than two others separate from the ones before."""
    end = 0
    for i, time in enumerate(times):
        if i > end + 2:
            break
        if time > bound:
            end = i + 1
    return end


def _noise(residuals: Sequence[float]) -> float:
    """The standard deviation of a step as a share of it, from its distances to the running median.

    The start is the median absolute deviation (Rousseeuw and Croux, JASA 88 (1993) 1273), which is zero where
    more than half of the steps tie; then the root mean square within 2.5 times itself, iterated, which varies
    less. On normal noise that comes to 0.88 standard deviations, since it cuts and a window holds its own step.
    """
    scale = 1.4826 * statistics.median(residuals)
    if scale == 0:
        return 1.25 * statistics.fmean(sorted(residuals)[: math.ceil(0.9 * len(residuals))])
    for _ in range(4):
        kept = [residual for residual in residuals if residual <= 2.5 * scale]
        scale = math.sqrt(statistics.fmean(residual**2 for residual in kept))
    return scale / 0.88


def _candidates(
    excess: Sequence[float], weights: Sequence[float], noise: float
) -> Iterator[tuple[float, int]]:
    """Log posterior weight and end of every start-up, lengths log-uniform, against none (weight 1).

    The least squares are weighted, the prior of the amplitude is normal with standard deviation 1, one level:
    its marginal likelihood has a closed form (Kass and Raftery, JASA 90 (1995) 773).
    """
    band = max(LEAST, 2 * noise)
    yield 0.0, 0
    log_shapes = math.log(3 * math.log(len(excess)))
    # Sums of weight and of weighted excess, times the powers 0, 1, 2 of the step number.
    w0 = w1 = w2 = y0 = y1 = 0.0
    for i, (value, weight) in enumerate(zip(excess, weights, strict=True)):
        w0, w1, w2 = w0 + weight, w1 + i * weight, w2 + i * i * weight
        y0, y1 = y0 + weight * value, y1 + i * weight * value
        length = i + 1
        prior = -math.log(length) - log_shapes
        log_weight, size = _evidence(y0, w0)
        yield log_weight + prior, length if size > max(LEAST, noise) else 0
        log_weight, size = _evidence(y0 - y1 / length, w0 - 2 * w1 / length + w2 / length**2)
        yield log_weight + prior, math.ceil(length * (1 - band / size)) if size > band else 0
    constant = 1.0
    while constant < len(excess) / 2:
        shape, ratio, fit, norm = 1.0, math.exp(-1 / constant), 0.0, 0.0
        for value, weight in zip(excess[: int(6 * constant) + 1], weights, strict=False):
            fit, norm, shape = fit + shape * value * weight, norm + shape * shape * weight, shape * ratio
        log_weight, size = _evidence(fit, norm)
        end = math.ceil(constant * math.log(size / band)) if size > band else 0
        yield log_weight + math.log(math.log(GRID)) - log_shapes, end
        constant *= GRID


def _evidence(fit: float, norm: float) -> tuple[float, float]:
    """Log of the Bayes factor of a shape against none, and how far from the level it begins."""
    amplitude = fit / (norm + 1)
    return (fit * amplitude - math.log1p(norm)) / 2, abs(amplitude)


def _median(candidates: list[tuple[float, int]]) -> int:
    """The weighted median of the ends."""
    likeliest = max(log_weight for log_weight, _ in candidates)
    ends = sorted((end, math.exp(log_weight - likeliest)) for log_weight, end in candidates)
    left = sum(weight for _, weight in ends) / 2
    for end, weight in ends:
        left -= weight
        if left <= 0:
            break
    return end


def _drifts(excess: Sequence[float], end: int) -> bool:
    """True where a trend is left that matters: in the whole rest and still in the second half, or there alone."""
    half = len(excess) // 2
    score, change = _trend(excess[min(2 * end, half) :])
    late_score, late_change = _trend(excess[half:])
    lasting = abs(change) > 0.04 and abs(late_change) > 0.025 and change * late_change > 0
    return (abs(score) > 3 and lasting) or (abs(late_score) > 3.5 and abs(late_change) > 0.05)


def _trend(values: Sequence[float]) -> tuple[float, float]:
    """Mann and Kendall's score, normal without a trend, and the change by Theil and Sen's slope."""
    size = max(1, len(values) // BLOCKS)
    means = [statistics.fmean(values[i : i + size]) for i in range(0, len(values) - size + 1, size)]
    count = len(means)
    slopes = [(means[j] - means[i]) / (j - i) for j in range(count) for i in range(j)]
    ties = sum(tied * (tied - 1) * (2 * tied + 5) for tied in Counter(means).values())
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    score = sum((slope > 0) - (slope < 0) for slope in slopes) / math.sqrt(variance) if variance else 0.0
    return score, statistics.median(slopes) * count
