"""The method of examples/own_method, which is in none of the packages, through the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmark.__main__ import main
from tests.support.contract import MethodContract

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "own_method"
SHORT = "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.enable_progress_bar false"
SMALL = "--data.init_args.batch_size 2 --data.init_args.num_workers 0 --data.init_args.window 32"


@pytest.fixture(autouse=True)
def import_folders():
    """Leave `sys.path` as it was."""
    before = list(sys.path)
    yield
    sys.path[:] = before


def test_two_steps_and_every_subset(tiny_stores: Path, tmp_path: Path, capsys) -> None:
    words = [f"METHOD={FOLDER / 'mine.yaml'}", "DATA=tiny", f"STORE={tiny_stores}"]
    overrides = [*SHORT.split(), *SMALL.split()]
    assert main(["bench", *words, f"RUNS={tmp_path / 'runs'}", *overrides]) == 0
    capsys.readouterr()
    table = pd.read_csv(tmp_path / "leaderboards" / "tiny.csv")
    assert list(table["method"]) == ["mine"]
    assert table[["mIoU R", "mIoU D", "mIoU N", "mIoU R+D+N"]].notna().all(axis=None)


def test_a_dataset_of_ones_own_chooses_sensors(tiny_stores: Path, tmp_path: Path) -> None:
    data = tmp_path / "two_sensors.yaml"
    text = (FOLDER / "two_sensors.yaml").read_text(encoding="utf-8")
    assert "name: miniature" in text
    data.write_text(text.replace("name: miniature", "name: tiny"), encoding="utf-8")
    words = [f"METHOD={FOLDER / 'mine.yaml'}", f"DATA={data}", f"STORE={tiny_stores}"]
    overrides = [*SHORT.split(), *SMALL.split()]
    assert main(["bench", *words, f"RUNS={tmp_path / 'runs'}", *overrides]) == 0
    manifest = json.loads(next((tmp_path / "runs").rglob("manifest.json")).read_text())
    assert list(manifest["modalities"]) == ["rgb", "nir"]
    assert (manifest["method"], manifest["data"]) == ("mine", "two_sensors")


class TestContract(MethodContract):
    options = {"width": 8}
    # the suite's own networks refuse them; this one is its author's
    test_unknown_and_no_modalities_are_refused = None
    counts = (3,)

    @classmethod
    def make(cls, *words, **options):
        sys.path.append(str(FOLDER))
        from late_average import LateAverage

        cls.method = LateAverage
        return super().make(*words, **options)


def test_a_constructor_that_drops_the_seed_is_one_line(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dropping.py").write_text(
        "from methods.control.module import Control\n"
        "class Net(Control):\n"
        "    def __init__(self, modalities, num_classes, seed=0, ignore_index=255):\n"
        "        options = {'backbone': 'pvt_v2_b0', 'pretrained': False}\n"
        "        super().__init__(modalities, num_classes, **options)\n"
    )
    mine = tmp_path / "drops.yaml"
    mine.write_text("model:\n  class_path: dropping.Net\n")
    words = [f"METHOD={mine}", "DATA=tiny", f"STORE={tiny_stores}", f"RUNS={tmp_path / 'runs'}"]
    assert main(["bench", *words, "SEED=3", *SMALL.split()]) == 2
    assert "Net.__init__ drops seed" in capsys.readouterr().err
