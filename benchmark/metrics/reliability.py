"""Whether confidences can be trusted, and what a lost sensor changes: scores from counts.

The confidence of a pixel is the largest of its class probabilities. Four pixels of a network with
two classes, in two of the bins:

    confidence   right?   bin                  pixels  hits  mean confidence   gap
    0.62         yes      (0.600, 0.667]       2       1     0.64              0.14
    0.66         no
    0.96         yes      (0.933, 1]           2       2     0.97              0.03
    0.98         yes

ECE = (2 * 0.14 + 2 * 0.03) / 4 = 0.085, the mean gap of all pixels, and MCE = 0.14, the largest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.metrics.confusion import Counts, Floats, divide_or_nan

BINS = 15  # of equal width, as Guo et al. 2017 have them
# confidences and Brier terms are summed as whole numbers of this size, so that no sum depends on
# its order; a term is off by half of it at most, as much as networks in float32 know of a
# probability, and the sums of 2^38 pixels can be stored
UNIT = 2.0**-22
SURE = (BINS - 1) / BINS  # lower edge of the highest bin
SURE_NAME = "14/15"


@dataclass(frozen=True)
class ReliabilityCounts:
    """Counts of the scored pixels under every subset, whose axis comes first."""

    subsets: tuple[str, ...]
    pixels: Counts  # per bin of confidence, `(subsets, BINS)`; a bin holds its upper edge
    hits: Counts  # of these, pixels whose class is right
    confidence: Counts  # sum of their confidences in `UNIT`
    brier: Counts  # sum over pixels of the squared distance to the truth in `UNIT`, `(subsets,)`
    # pixels whose class is another than with all sensors that the scene has, where that was wrong
    # and where it was right, `(subsets, 2)`
    changed: Counts


@dataclass(frozen=True)
class ReliabilityScores:
    """Scores in [0, 1] per subset, `(subsets,)`; nan where no pixel was scored."""

    accuracy: Floats  # share of right pixels, the overall accuracy of the leaderboard
    confidence: Floats  # mean
    ece: Floats
    mce: Floats
    brier: Floats  # in [0, 2]
    wrong_and_sure: Floats  # share of pixels that are wrong with a confidence above `SURE`
    changed: Floats  # share of pixels whose class is another than with all sensors
    lost: Floats  # share of pixels that were right with all sensors and are another class now


def reliability_scores(counts: ReliabilityCounts) -> ReliabilityScores:
    """Score every subset.

    ECE and MCE are equations 3 and 5 of Guo et al. 2017, "On Calibration of Modern Neural Networks"
    (arXiv 1706.04599): with B_m the pixels of bin m of n pixels,

        ECE = sum over m of |B_m| / n * |accuracy(B_m) - confidence(B_m)|
        MCE = max over m of |accuracy(B_m) - confidence(B_m)|, of bins with pixels

    The Brier score is that of Brier 1950, "Verification of forecasts expressed in terms of
    probability": the mean over pixels of the sum over classes of (p - 1 or 0)^2, 0 to 2.

    Example:
        >>> pixels, hits = np.zeros((2, 1, BINS), np.int64)
        >>> pixels[0, [9, 14]], hits[0, [9, 14]] = 2, (1, 2)
        >>> confidence = (pixels * np.r_[[0.64] * 14, 0.97] / UNIT).astype(np.int64)
        >>> none = np.zeros((1, 2), np.int64)
        >>> counts = ReliabilityCounts(("R",), pixels, hits, confidence, none[:, 0], none)
        >>> scores = reliability_scores(counts)
        >>> scores.ece.round(3).tolist(), scores.mce.round(3).tolist(), scores.accuracy.tolist()
        ([0.085], [0.14], [0.75])
    """
    pixels = counts.pixels.sum(1)
    accuracy, confidence = bin_means(counts)
    gaps = np.abs(accuracy - confidence)
    # an empty bin has no gap
    weighted = np.where(counts.pixels > 0, counts.pixels * gaps, 0)
    wrong = counts.pixels - counts.hits
    return ReliabilityScores(
        accuracy=divide_or_nan(counts.hits.sum(1), pixels),
        confidence=divide_or_nan(counts.confidence.sum(1) * UNIT, pixels),
        ece=divide_or_nan(weighted.sum(1), pixels),
        mce=np.fmax.reduce(gaps, 1),
        brier=divide_or_nan(counts.brier * UNIT, pixels),
        wrong_and_sure=divide_or_nan(wrong[:, -1], pixels),
        changed=divide_or_nan(counts.changed.sum(1), pixels),
        lost=divide_or_nan(counts.changed[:, 1], pixels),
    )


def bin_means(counts: ReliabilityCounts) -> tuple[Floats, Floats]:
    """Accuracy and mean confidence of each bin, `(subsets, BINS)`; nan where it has no pixel."""
    confidence = divide_or_nan(counts.confidence * UNIT, counts.pixels)
    return divide_or_nan(counts.hits, counts.pixels), confidence


def check_reliability(counts: ReliabilityCounts, pixels: Counts, hits: Counts) -> None:
    """Raise a ValueError unless counts are possible and have these scored and right pixels.

    Both are `(subsets,)`, of the confusion counts that belong to them.
    """
    number = len(counts.subsets)
    shapes = [(number, BINS)] * 3 + [(number,), (number, 2)]
    arrays = (counts.pixels, counts.hits, counts.confidence, counts.brier, counts.changed)
    if [array.shape for array in arrays] != shapes:
        raise ValueError("the arrays have other shapes")
    if not np.array_equal(counts.pixels.sum(1), pixels):
        raise ValueError("the scored pixels are others than those of the confusion counts")
    if not np.array_equal(counts.hits.sum(1), hits):
        raise ValueError("the right pixels are others than those of the confusion counts")
    edges = np.arange(BINS + 1) / BINS
    # every confidence was rounded by half a unit at most
    _, means = bin_means(counts)
    outside = (means < edges[:-1] - UNIT) | (means > edges[1:] + UNIT)
    impossible = (
        (counts.hits > counts.pixels).any()
        or outside.any()
        or (counts.confidence[counts.pixels == 0] > 0).any()
        or (counts.brier * UNIT > 2 * pixels * (1 + UNIT)).any()
        or (counts.changed.sum(1) > pixels).any()
    )
    if impossible:
        raise ValueError("there are more hits, changes or confidence than pixels allow")


def bin_edges() -> Sequence[float]:
    """Edges of the bins of confidence, `BINS + 1`.

    Example:
        >>> [round(edge, 3) for edge in bin_edges()[-2:]]
        [0.933, 1.0]
    """
    return [number / BINS for number in range(BINS + 1)]
