"""The best k-means partition of numbers, found by dynamic programming."""

import numpy as np


def top_of_lowest_cluster(values: np.ndarray, clusters: int) -> float:
    """Return the largest member of the lowest cluster; of at most as many as there are values.

    Clusters of numbers are intervals, and the best beginning of the last one grows with its end:
    each layer is filled from the middle, in O(n log n).

    Example:
        >>> top_of_lowest_cluster(np.array([5.0, 0.1, 5.2, 0.0, 9.0]), clusters=3)
        0.1
    """
    points, weights = np.unique(values.astype(np.float64), return_counts=True)
    centred = points - np.average(points, weights=weights)
    sums = [np.cumsum(weights * centred**power) for power in range(3)]
    mass, first, second = (np.concatenate([[0.0], total]) for total in sums)

    def cost(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Squared distances of points[start:stop] from their mean."""
        total = first[stop] - first[start]
        return second[stop] - second[start] - total**2 / (mass[stop] - mass[start])

    count = len(points)
    stops = np.arange(1, count + 1)
    # of the first n points in as many clusters as there are layers
    best = np.concatenate([[np.inf], cost(np.zeros_like(stops), stops)])
    starts = []
    for layer in range(1, min(clusters, count)):
        filled, start = np.full(count + 1, np.inf), np.zeros(count + 1, int)
        ranges = [(layer + 1, count, layer, count - 1)]
        while ranges:
            low, high, left, right = ranges.pop()
            if low > high:
                continue
            middle = (low + high) // 2
            candidates = np.arange(left, min(right, middle - 1) + 1)
            costs = best[candidates] + cost(candidates, np.full_like(candidates, middle))
            place = int(costs.argmin())
            filled[middle], start[middle] = costs[place], candidates[place]
            ranges.append((low, middle - 1, left, candidates[place]))
            ranges.append((middle + 1, high, candidates[place], right))
        best = filled
        starts.append(start)
    for start in reversed(starts):
        count = start[count]
    return float(points[count - 1])
