"""A leaderboard as a table in memory."""

from pathlib import Path

import pandas as pd

from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.leaderboard.table import leaderboard_frame
from benchmark.records.groups import seed_groups
from benchmark.records.selection import select_records


def read_leaderboard(runs: str | Path, data: str) -> pd.DataFrame:
    """Read the records below a directory of runs, and the published ones, of one dataset.

    Returns:
        The columns of `<data>.csv`: a row per method and setting, scores in per cent, mean and
        standard deviation over seeds.

    Raises:
        UserError: no such folder, no record of the dataset.
    """
    records = select_records(Path(runs), [data])[data].records
    return leaderboard_frame(leaderboard_rows(seed_groups(records)))
