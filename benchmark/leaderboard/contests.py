"""Tables of protocols that name the subsets they score, as contests do."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.formats.markdown import Part, escape_markdown
from benchmark.formats.table_files import write_table_files
from benchmark.leaderboard.compact import latex_columns
from benchmark.leaderboard.notes import describe_scoring, split_notes
from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.leaderboard.table import format_leaderboard, leaderboard_frame
from benchmark.records.groups import comparable_groups

NOTE = (
    "The protocol says which sensors are at hand at test, and nothing else is scored: there is no "
    "Average over subsets."
)


def write_contests(
    data: str, rows: Sequence[ScoreRow], skipped: Sequence[str], out: Path
) -> list[Path]:
    """Write `<data>.contests.csv`, `.md`, `.tex`, a table per protocol; nothing without rows."""
    if not rows:
        return []
    page: list[Part] = []
    for title, groups in comparable_groups([row.group for row in rows]).items():
        shown = format_leaderboard([row for row in rows if row.group in groups])
        page += [f"## Protocol {escape_markdown(title)}", shown]
    basis = f"mIoU in per cent {describe_scoring(rows)}; mean +- std over n seeds."
    page.append(escape_markdown(f"{NOTE} {basis}{split_notes(rows)}"))
    cells, best, note = latex_columns(rows)
    csv, stem = {"csv": leaderboard_frame(rows)}, f"{data}.contests"
    return write_table_files(out, stem, csv, page, {"": cells}, f"{NOTE} {note}", skipped, best)
