"""Numbers as tables print them."""

from __future__ import annotations

import math


def format_mean_std(mean: float, std: float, decimals: int = 2, sign: str = " +- ") -> str:
    """Write `57.05 +- 0.31`; the mean alone where there is no deviation, a dash without a score.

    Example:
        >>> format_mean_std(57.049, 0.312), format_mean_std(57.049, float("nan"))
        ('57.05 +- 0.31', '57.05')
    """
    if math.isnan(mean):
        return "-"
    deviation = "" if math.isnan(std) else f"{sign}{std:.{decimals}f}"
    return f"{mean:.{decimals}f}{deviation}"
