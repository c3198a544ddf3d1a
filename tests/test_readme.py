"""The README's commands: make resolves all of them, the quick ones run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
# two steps, and windows side by side: a quarter of the work of the evaluation
SHORT = "--trainer.max_steps 2 --trainer.val_check_interval 2 --data.init_args.stride 128"
SHORT += " --trainer.enable_progress_bar false"
PNG = b"\x89PNG"


def commands() -> list[str]:
    """Every line in the README's shell blocks, without its comment."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def make(words: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run make with this interpreter's environment in place of .venv; nothing is installed."""
    venv = Path(sys.prefix)
    names = [name for name in os.environ if not name.startswith(("MAKE", "MFLAGS"))]
    environment = {name: os.environ[name] for name in names}
    line = ["make", "-o", f"{venv}/.installed", f"VENV={venv}", *shlex.split(words)[1:], *more]
    return subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580
    )


def make_here(words: str, *more: str) -> int:
    """Run what make would start in this process, which has imported torch already."""
    resolved = make(words, "-n", *more)
    assert resolved.returncode == 0, resolved.stderr
    program, arguments = resolved.stdout.replace("\\\n", " ").split(" -m benchmark ")
    assert program == f"{sys.prefix}/bin/python"
    return main(shlex.split(arguments))


def test_every_command_is_a_make_target() -> None:
    found = commands()
    assert "make bench" in found and "make test" in found
    assert all(line.startswith("make ") for line in found)


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_command_resolves(line: str) -> None:
    done = make(line.replace("...", "x"), "-n")
    assert done.returncode == 0, done.stderr
    assert "benchmark" in done.stdout or "pytest" in done.stdout


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A directory in which `make bench` has run with two steps, and the variables that name it."""
    root = tmp_path_factory.mktemp("readme")
    variables = [f"RUNS={root}/runs", f"STORE={root}/stores"]
    done = make("make bench", *variables, f"ARGS={SHORT}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "miniature: mIoU in per cent" in done.stdout and "R+D+N" in done.stdout
    assert (root / "leaderboards" / "miniature.md").exists()
    return root, variables


def run_below(root: Path) -> Path:
    """The directory of the one run."""
    return next((root / "runs").rglob("config.json")).parent


def test_make_bench_is_not_repeated(places, capfd) -> None:
    _, variables = places
    assert make_here("make bench", *variables, f"ARGS={SHORT}") == 0
    assert "This cell is finished" in capfd.readouterr().out


def test_make_leaderboard(places) -> None:
    root, variables = places
    assert make_here("make leaderboard", *variables, f"ARGS=--out {root}/boards") == 0
    assert (root / "boards" / "miniature.csv").exists()


def test_make_picture_and_examples(places) -> None:
    root, variables = places
    run = run_below(root)
    out = root / "picture.png"
    assert make_here("make picture", *variables, f"RUN={run}", f"ARGS=--out {out}") == 0
    assert out.read_bytes().startswith(PNG)
    labels = sorted((run / "examples").rglob("label.png"))
    assert len(labels) == 3
    assert make_here("make examples", *variables, f"RUN={run}", "SCENES=2_14") == 0
    assert len(list((run / "examples").rglob("label.png"))) == 1


def test_make_report(places) -> None:
    root, variables = places
    assert make_here("make report", *variables, f"ARGS=--out {root}/report --data miniature") == 0
    page = (root / "report" / "index.html").read_text(encoding="utf-8")
    # the only dataset
    data = json.loads(page.split('id="data-0">')[1].split("</script>")[0])
    assert 'id="data-1"' not in page
    found = [(b, row) for b in data["boards"] for row in b["rows"] if row["runs"][0]["local"]]
    board, own = found[0]
    assert "max_steps" in own["overrides"] and own["training"][0]["val/average_miou"]["step"]
    scenes = board["gallery"]["scenes"]
    # beside the published rows that have pictures of theirs
    assert any(own["id"] in scene["rows"] for scene in scenes)


def test_make_evaluate(places, capfd) -> None:
    root, variables = places
    checkpoint = f"CHECKPOINT={run_below(root)}/checkpoints/last.ckpt"
    assert make_here("make evaluate", *variables, checkpoint) == 0
    assert "average" in capfd.readouterr().out


def test_make_show_and_data(places, capfd) -> None:
    root, variables = places
    sheet = f"OUT={root}/sheet.png"
    assert make_here("make show", "DATA=miniature", *variables, sheet) == 0
    assert (root / "sheet.png").read_bytes().startswith(PNG)
    assert make_here("make data", "DATA=miniature", "VERIFY=1", *variables) == 0
    assert "Verified" in capfd.readouterr().out


def test_data_that_is_not_there_is_explained(tmp_path: Path) -> None:
    done = make("make bench", "DATA=potsdam", f"STORE={tmp_path}")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "make data DATA=potsdam SOURCE=" in done.stderr


def test_help_lists_targets_methods_and_datasets() -> None:
    done = make("make help", f"PYTHON={sys.executable}")
    assert done.returncode == 0
    for text in ("make bench", "make test", "sgma_additive", "miniature", "potsdam", "pvt_v2_b2"):
        assert text in done.stdout
