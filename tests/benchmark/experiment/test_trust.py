"""Run directories come from others: what their configuration may make this program do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.experiment.restore import load_trained_run
from benchmark.experiment.trust import import_stored_class, trusted_overrides
from methods.base import AnyModalitySegmenter
from tests.benchmark.experiment.test_bench import bench, only_run
from usererror import UserError

OWN = Path(__file__).resolve().parents[3] / "examples" / "own_method"
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def import_folders() -> Iterator[None]:
    """Leave `sys.path` as it was."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def finished(tiny_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("work") / "runs"
    quiet = ["--trainer.callbacks+=lightning.pytorch.callbacks.RichModelSummary"]
    assert bench(tiny_stores, runs, "--trainer.max_steps", "2", *quiet, method="control") == 0
    return only_run(runs)


@pytest.fixture
def received(finished: Path, tmp_path: Path) -> Callable[[Edit], Path]:
    """A copy of the run whose configuration somebody edited."""

    def edited(edit: Edit) -> Path:
        run = tmp_path / "received"
        shutil.copytree(finished, run)
        content = json.loads((run / "config.json").read_text())
        edit(content)
        (run / "config.json").write_text(json.dumps(content))
        return run

    return edited


def evaluate(run: Path, stores: Path, *words: str) -> int:
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    places = ["--store", str(stores), "--out", str(run.parent / "out")]
    return main(["evaluate", "--checkpoint", checkpoint, *places, *words])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("imss: ") and error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("section", ["model", "data"])
@pytest.mark.parametrize("trust", [False, True])
def test_no_class_of_a_received_run_but_the_bases_is_called(
    section: str, trust: bool, received: Callable[[Edit], Path], tmp_path: Path
) -> None:
    target = tmp_path / "executed"
    popen = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(target)]}}
    run = received(lambda content: content["resolved"][section].update(popen))
    with pytest.raises(UserError, match=r"subprocess\.Popen"):
        _ = load_trained_run(run, trust).data
    assert not target.exists()


def test_a_module_beside_a_received_run_is_not_imported(
    received: Callable[[Edit], Path], tiny_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor one of the working directory, until the user says so."""

    def edit(content: dict[str, Any]) -> None:
        content["resolved"]["model"]["class_path"] = "beside_the_run.Net"
        content["request"]["method"] = str(run / "mine.yaml")

    run = Path()
    run = received(lambda content: None)
    content = json.loads((run / "config.json").read_text())
    edit(content)
    (run / "config.json").write_text(json.dumps(content))
    (run / "mine.yaml").write_text("model:\n  class_path: beside_the_run.Net\n")
    (run / "beside_the_run.py").write_text(
        "import pathlib\n"
        "from methods.control.module import Control\n"
        "pathlib.Path(__file__).with_name('imported').touch()\n"
        "class Net(Control):\n    pass\n"
    )
    with pytest.raises(UserError, match="TRUST=1"):
        load_trained_run(run)
    assert evaluate(run, tiny_stores) == 2
    assert "TRUST=1" in one_line(capsys)
    assert not (run / "imported").exists() and "beside_the_run" not in sys.modules
    assert type(load_trained_run(run, trust=True).model).__name__ == "Net"


@pytest.mark.parametrize(
    "word",
    [
        "--config=evil.yaml",
        "--model=subprocess.Popen",
        "--model.class_path=subprocess.Popen",
        '--model.optimizer={"class_path": "subprocess.Popen"}',
        '--model.optimizer={"class\\u005fpath": "subprocess.Popen"}',
        "--data.init_args.rasters.class_path=subprocess.Popen",
        "--trainer.strategy=evil.Strategy",
        "--print_config",
        "-c=evil.yaml",
    ],
)
def test_words_of_a_run_that_could_load_something_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="TRUST=1"):
        list(trusted_overrides([word], trust=False))


def test_plain_words_are_kept_and_what_watched_a_run_is_never_built() -> None:
    words = ["--trainer.max_steps", "2", "--data.rasters={dsm: ndsm}", "--model.optimizer.lr=1e-3"]
    words += ["--trainer.precision=bf16-mixed", "--trainer.gradient_clip_val=0.5"]
    watching = ["--trainer.logger=os.system", "--trainer.callbacks+=evil.C", "--trainer.plugins=x"]
    for trust in (False, True):
        kept = list(trusted_overrides([*watching, *words], trust))
        assert kept == [
            "--trainer.max_steps=2",
            "--data.rasters={dsm: ndsm}",
            "--model.optimizer.lr=1e-3",
            "--trainer.precision=bf16-mixed",
            "--trainer.gradient_clip_val=0.5",
        ]


def test_a_run_that_was_watched_is_evaluated_without(finished: Path, tiny_stores: Path) -> None:
    assert "RichModelSummary" in (finished / "config.json").read_text()
    assert evaluate(finished, tiny_stores) == 0


def test_names_of_an_evaluation_lead_nowhere(
    received: Callable[[Edit], Path], tiny_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--cell.variant=../../x"]
    run = received(lambda content: content["request"].update(overrides=words))
    assert evaluate(run, tiny_stores) == 2
    assert "'../../x' cannot be the name of a method" in one_line(capsys)


def test_only_segmenters_are_methods() -> None:
    with pytest.raises(UserError, match="AnyModalitySegmenter"):
        import_stored_class("methods.parts.optim.Recipe", AnyModalitySegmenter, trust=True)


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content["resolved"]["model"]["init_args"].update(nonsense=1),
        lambda content: content["resolved"]["model"]["init_args"].update(backbone=["x"]),
        lambda content: content["resolved"]["data"]["init_args"].update(name="../../tiny"),
        lambda content: content["resolved"]["data"]["init_args"].update(nonsense=1),
        lambda content: content["resolved"].update(model=3),
        lambda content: content["request"].update(method=3),
        lambda content: content["request"].update(overrides=[[1]]),
    ],
)
def test_a_configuration_that_nobody_wrote_is_one_line(
    edit: Edit, received: Callable[[Edit], Path]
) -> None:
    with pytest.raises(UserError):
        _ = load_trained_run(received(edit)).data


@pytest.mark.parametrize(
    "change",
    [{"window": "64"}, {"stride": 0}, {"outputs": [0, 9, 2]}, {"stitching": "x"}, {"classes": 3}],
)
def test_inputs_that_nobody_wrote_are_one_line(
    change: dict[str, Any], received: Callable[[Edit], Path]
) -> None:
    run = received(lambda content: None)
    content = json.loads((run / "inputs.json").read_text())
    (run / "inputs.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError, match=r"inputs\.json"):
        load_trained_run(run)


def test_names_of_modalities_stay_inside_the_run(
    received: Callable[[Edit], Path], tiny_stores: Path
) -> None:
    climbing = {"modalities": ["../../rgb"], "rasters": {"../../rgb": "rgb"}}

    def edit(content: dict[str, Any]) -> None:
        content["resolved"]["data"]["init_args"].update(climbing, store=str(tiny_stores))

    with pytest.raises(UserError, match="name of a modality"):
        _ = load_trained_run(received(edit)).data


def test_nothing_is_generated_where_a_run_says(
    received: Callable[[Edit], Path], tmp_path: Path
) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["request"]["store"] = str(tmp_path / "elsewhere")
        content["resolved"]["data"]["init_args"]["name"] = "miniature"

    with pytest.raises(UserError, match="make data DATA=miniature STORE="):
        _ = load_trained_run(received(edit)).data
    assert not (tmp_path / "elsewhere").exists()


def test_a_method_of_ones_own_needs_trust_or_its_name(
    tiny_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = str(OWN / "mine.yaml")
    assert bench(tiny_stores, tmp_path / "runs", "--trainer.max_steps=2", method=mine) == 0
    run = only_run(tmp_path / "runs")
    capsys.readouterr()
    assert evaluate(run, tiny_stores) == 2
    assert "TRUST=1" in one_line(capsys)
    for words in (["--trust"], ["--method", mine]):
        assert evaluate(run, tiny_stores, *words) == 0
    assert type(load_trained_run(run, trust=True).model).__name__ == "LateAverage"
