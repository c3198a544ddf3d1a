"""The README's commands, in the current environment: the quick ones run, the others are resolved by make."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHORT = "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.enable_progress_bar false"


def commands() -> list[str]:
    """Every line in the README's shell blocks, without its comment."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    return [
        line.split("#")[0].strip()
        for block in blocks
        for line in block.splitlines()
        if line.strip()
    ]


def make(words: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run make with this interpreter's environment in place of .venv, and without installing anything."""
    venv = Path(sys.prefix)
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))
    }
    line = ["make", "-o", f"{venv}/.installed", f"VENV={venv}", *words.split()[1:], *more]
    return subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580
    )


def test_every_command_is_a_make_target() -> None:
    found = commands()
    assert "make bench" in found and "make test" in found
    assert all(line.startswith("make ") for line in found)


@pytest.mark.parametrize(
    "line", [line for line in commands() if "SEED" in line or "SOURCE" in line or "=" not in line]
)
def test_command_resolves(line: str) -> None:
    done = make(line, "-n")
    assert done.returncode == 0, done.stderr
    assert "benchmark" in done.stdout or "pytest" in done.stdout or "ruff" in done.stdout


def test_make_bench_and_what_follows_it(tmp_path: Path) -> None:
    """The first command of the README with two steps, then the ones that need its run."""
    places = [f"RUNS={tmp_path}/runs", f"STORE={tmp_path}/stores"]
    done = make("make bench", *places, f"ARGS={SHORT}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "miniature: mIoU in per cent" in done.stdout and "R+D+N" in done.stdout
    assert (tmp_path / "leaderboards" / "miniature.md").exists()

    run = next((tmp_path / "runs").rglob("config.json")).parent
    again = make("make bench", *places, f"ARGS={SHORT}")
    assert again.returncode == 0 and "This cell is finished" in again.stdout
    board = make("make leaderboard", *places, f"ARGS=--out {tmp_path}/boards")
    assert board.returncode == 0 and (tmp_path / "boards" / "miniature.csv").exists()
    picture = make("make picture", *places, f"RUN={run}", f"ARGS=--out {tmp_path}/picture.png")
    assert picture.returncode == 0, picture.stderr[-3000:]
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    report = make("make report", *places, f"ARGS=--out {tmp_path}/report")
    assert report.returncode == 0, report.stderr[-3000:]
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    content = json.loads(page.split('id="data">')[1].split("</script>")[0])
    board = next(entry for entry in content["datasets"] if entry["name"] == "miniature")["boards"][
        0
    ]
    (own,) = [row for row in board["rows"] if "max_steps" in row["overrides"]]
    assert own["runs"][0]["local"] and own["training"][0]["val/average_miou"]["step"]
    assert [list(scene["rows"]) for scene in board["gallery"]["scenes"]] == 3 * [[own["id"]]]
    anew = make("make examples", *places, f"RUN={run}", "SCENES=2_14")
    assert anew.returncode == 0, anew.stderr[-3000:]
    assert len(list((run / "examples").rglob("label.png"))) == 1
    checkpoint = make("make evaluate", *places, f"CHECKPOINT={run}/checkpoints/last.ckpt")
    assert checkpoint.returncode == 0 and "average" in checkpoint.stdout
    shown = make("make show", "DATA=miniature", *places, f"OUT={tmp_path}/sheet.png")
    assert shown.returncode == 0 and (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    verified = make("make data", "DATA=miniature", "VERIFY=1", *places)
    assert verified.returncode == 0 and "Verified" in verified.stdout


def test_data_that_is_not_there_is_explained(tmp_path: Path) -> None:
    done = make("make bench", "DATA=potsdam", f"STORE={tmp_path}")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "make data DATA=potsdam SOURCE=" in done.stderr


def test_help_lists_targets_methods_and_datasets() -> None:
    done = make("make help", f"PYTHON={sys.executable}")
    assert done.returncode == 0
    for text in ("make bench", "make test", "sgma_additive", "miniature", "potsdam", "pvt_v2_b2"):
        assert text in done.stdout
