"""Names in pictures are texts."""

from pathlib import Path

from matplotlib.figure import Figure

import benchmark.figures.contact_sheet  # noqa: F401 - draws with the same settings
from benchmark.figures.picture_grid import picture_grid, save_figure


def test_a_dollar_in_a_name_starts_no_formula(tmp_path: Path) -> None:
    figure, axes = picture_grid(1, 1, (2, 2))
    axes[0, 0].set_title(r"$\nosuchcommand{$ 5 % _ ^")
    save_figure(figure, "$x^2", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0
    assert isinstance(figure, Figure)
