"""Names, configs, identities: what a cell is called and what it consists of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from benchmark import choices
from benchmark.__main__ import COMMANDS, main, parse_words
from benchmark.experiment.config import config_files, import_class, read_section
from benchmark.experiment.identity import identify_config
from benchmark.experiment.lightning_cli import (
    ParsedExperiment,
    explain_parser_errors,
    silence_known_warnings,
)
from benchmark.experiment.request import Request
from benchmark.experiment.restore import model_overrides
from usererror import UserError

ROOT = Path(__file__).resolve().parents[3]


def parse(
    method: str, data: str, protocol: str = "standard", seed: int = 0, *overrides: str, **words: Any
) -> Any:
    request = Request(
        method, data, protocol, seed, "", Path("runs"), Path("stores"), overrides=overrides, **words
    )
    return ParsedExperiment(request).parsed


def pairs() -> list[tuple[str, str]]:
    """Methods with what changes their files: the scale of the data, and datasets they refine."""
    found = []
    for method in choices.methods():
        for data in [*choices.datasets(), "mine"]:
            own = (choices.CONFIGS / "method" / f"{method}.{data}.yaml").exists()
            if own or data in ("miniature", "potsdam"):
                found.append((method, data))
    return found


@pytest.mark.parametrize(("method", "data"), pairs())
def test_every_method_parses(method: str, data: str) -> None:
    assert parse(method, data)["cell"]["variant"] == method


@pytest.mark.parametrize("data", [*choices.datasets(), "mine"])
@pytest.mark.parametrize("protocol", choices.protocols())
def test_every_dataset_parses_under_every_protocol(data: str, protocol: str) -> None:
    parsed = parse("sgma", data, protocol)
    assert parsed["cell"]["protocol"] == protocol
    assert parsed["data"]["init_args"]["name"] == data


def test_paper_scale_is_the_published_recipe_and_small_scale_is_ours() -> None:
    paper, small = parse("sgma", "potsdam"), parse("sgma", "miniature")
    model = paper["model"]["init_args"]
    # sgma dossier, section 9
    assert (model["backbone"], model["pretrained"]) == ("pvt_v2_b2", True)
    optimizer = model["optimizer"]
    assert (optimizer["lr"], optimizer["weight_decay"], optimizer["poly_power"]) == (
        6e-5,
        1e-2,
        0.9,
    )
    assert (optimizer["warmup_epochs"], paper["trainer"]["max_epochs"]) == (10, 200)
    assert model["loss_weights"] == {"sgf": 2.0, "mas": 1.0}
    assert paper["data"]["init_args"]["window"] == 512
    # the small scale of docs/architecture.md and configs/method
    assert (
        small["model"]["init_args"]["backbone"] == "pvt_v2_b0"
        and not small["model"]["init_args"]["pretrained"]
    )
    assert small["model"]["init_args"]["optimizer"]["lr"] == 5e-4
    assert small["trainer"]["max_steps"] == 300 and small["trainer"]["val_check_interval"] == 60
    assert small["data"]["init_args"]["window"] == 128


def test_scale_is_a_choice_whatever_the_data() -> None:
    own, published = parse("sgma", "mine", scale="paper"), parse("sgma", "potsdam")
    assert own["model"] == published["model"] and own["cell"]["scale"] == "paper"
    steps = ("max_epochs", "max_steps", "check_val_every_n_epoch")
    assert [own["trainer"][name] for name in steps] == [200, -1, 1]
    assert own["data"]["init_args"]["window"] == published["data"]["init_args"]["window"] == 512
    trial, small = parse("sgma", "potsdam", scale="small"), parse("sgma", "miniature")
    assert trial["model"] == small["model"] and trial["cell"]["scale"] == "small"
    assert trial["trainer"] == small["trainer"]
    assert trial["data"]["init_args"]["window"] == 128
    # the scale that the data have anyway makes no other experiment
    assert parse("sgma", "miniature", scale="small") == small
    assert parse("sgma", "potsdam", scale="paper") == published


def test_runs_of_before_there_was_a_scale_are_read() -> None:
    content = Request("sgma", "miniature").to_json()
    del content["scale"]
    assert Request.from_json(content) == Request("sgma", "miniature")


def test_backbones_are_those_of_the_method() -> None:
    for name in ("vit_large_patch14_dinov2", "samvit_base_patch16"):
        assert Request("mobanet_cpia", "miniature", backbone=name).named().backbone == name
    for method in ("mmformer", "gemmnet_ae"):
        with pytest.raises(UserError, match=f"METHOD={method} has an encoder of its own"):
            Request(method, "miniature", backbone="resnet50").named()
    with pytest.raises(UserError, match="Unknown BACKBONE 'vit_large_patch14_dinov2'"):
        Request("sgma_additive", "miniature", backbone="vit_large_patch14_dinov2").named()


def test_overrides_come_last_and_reach_inside_the_model() -> None:
    parsed = parse(
        "sgma",
        "miniature",
        "standard",
        3,
        "--trainer.max_epochs",
        "2",
        "--model.optimizer.lr",
        "1e-3",
    )
    assert parsed["trainer"]["max_epochs"] == 2
    assert parsed["model"]["init_args"]["optimizer"]["lr"] == 1e-3


def test_one_seed_reaches_data_and_model() -> None:
    config = ParsedExperiment(
        Request("sgma", "miniature", "standard", 3, "", Path("runs"), Path("stores"))
    ).config
    assert config.data.init_args.seed == config.model.init_args.seed == config.seed_everything == 3


def test_identity_names_what_changes_a_number_and_nothing_else() -> None:
    base = identify_config(parse("sgma", "miniature"), "f")
    same = parse(
        "sgma",
        "miniature",
        "standard",
        0,
        "--data.num_workers",
        "0",
        "--trainer.accelerator",
        "cpu",
    )
    assert identify_config(same, "f") == base
    # as records of before there was the option, and what is faster and else the same
    old = parse("sgma", "miniature")
    assert "exact" not in old["cell"] and old["cell"].pop("compile") == "none"
    assert identify_config(old, "f") == base
    faster = parse("sgma", "miniature", "standard", 0, "--cell.compile", "encoder")
    assert faster["cell"]["compile"] == "encoder" and identify_config(faster, "f") == base
    other_seed = identify_config(parse("sgma", "miniature", "standard", 1), "f")
    assert other_seed[0] != base[0] and other_seed[1] == base[1]
    stopped = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    later = [*stopped, "--trainer.callbacks.patience=9"]
    changed = [
        identify_config(parse("sgma", "miniature"), "another fingerprint"),
        identify_config(parse("sgma", "miniature", "sgma"), "f"),
        identify_config(parse("sgma_additive", "miniature"), "f"),
        identify_config(
            parse("sgma", "miniature", "standard", 0, "--model.proto_norm", "none"), "f"
        ),
        identify_config(parse("sgma", "miniature", "standard", 0, "--trainer.max_steps", "7"), "f"),
        identify_config(parse("sgma", "miniature", "standard", 0, "--data.stride", "128"), "f"),
        identify_config(
            parse("sgma", "miniature", "standard", 0, "--evaluation.absent", "zero"), "f"
        ),
        identify_config(parse("sgma", "miniature", "standard", 0, "--cell.exact", "true"), "f"),
        identify_config(parse("sgma", "miniature", "standard", 0, "--cell.accumulate", "2"), "f"),
        identify_config(
            parse("sgma", "miniature", "standard", 0, "--trainer.precision", "bf16-mixed"), "f"
        ),
        identify_config(parse("sgma", "miniature", "standard", 0, *stopped), "f"),
        identify_config(parse("sgma", "miniature", "standard", 0, *later), "f"),
    ]
    assert len({base[1], *(group for _, group in changed)}) == len(changed) + 1


def test_the_mark_of_a_control_is_in_the_cell_and_not_in_its_identity() -> None:
    marked = set()
    for method in choices.methods():
        for path in config_files(method, "potsdam", "standard"):
            if read_section(path, "cell").get("control"):
                marked.add(method)
    assert {"control", "control_dropout", "muss_dropout", "unet", "unet_dropout"} <= marked
    assert not marked & {"sgma", "sgma_additive", "muss", "muss_early", "m3l"}
    plain, mark = (
        parse("sgma", "miniature"),
        parse("sgma", "miniature", "standard", 0, "--cell.control", "true"),
    )
    assert mark["cell"]["control"] and identify_config(mark, "f") == identify_config(plain, "f")


def test_identities_of_published_records_still_hold() -> None:
    """Records carry the configuration they were made with; their names must not change."""
    manifests = [
        json.loads(path.read_text())
        for path in sorted((ROOT / "results/records").rglob("manifest.json"))
    ]
    assert manifests
    groups = {manifest["identity"]: manifest["group"] for manifest in manifests}
    for manifest in manifests:
        config, fingerprint = manifest["config"], manifest["fingerprint"]
        taught = [
            one["identity"] for one in manifest.get("stages", []) if one["stage"] == "teacher"
        ]
        # beside a student stands its teacher
        teacher = (taught[0], groups[taught[0]]) if taught else None
        unmarked = {**config, "cell": {k: v for k, v in config["cell"].items() if k != "control"}}
        marked = {**config, "cell": {**config["cell"], "control": False}}
        for version in (unmarked, marked):
            revision = manifest.get("revision", 1)
            assert identify_config(version, fingerprint, revision, teacher) == (
                manifest["identity"],
                manifest["group"],
            )


def test_a_corrected_method_has_another_identity_for_the_same_configuration() -> None:
    config = parse("muss_early", "miniature")
    first, second = (identify_config(config, "f", revision) for revision in (1, 2))
    assert first == identify_config(config, "f")
    assert first[0] != second[0] and first[1] != second[1]
    # what a correction does not touch keeps its records
    for method, revision in (
        ("muss_early", 2),
        ("muss", 1),
        ("imlt", 2),
        ("sgma", 1),
        ("metars", 2),
    ):
        model = parse(method, "miniature")["model"]
        assert import_class(model["class_path"]).revision_of(model["init_args"]) == revision


def test_help_and_names_import_nothing_heavy() -> None:
    code = (
        "import sys, contextlib\n"
        "from benchmark.__main__ import main, build_parser\n"
        "build_parser()[0].format_help(); main(['list']); main(['bench', '--method', 'nosuch'])\n"
        "heavy = {'torch', 'lightning', 'rasterio', 'pandas', 'wandb', 'timm'}\n"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
    )


def test_help_of_every_command_shows_an_example_that_parses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for verb, command in COMMANDS.items():
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        assert command.example in capsys.readouterr().out
        program, *words = command.example.split()
        assert program == "imss" and parse_words(words)[1] is command


def test_variables_of_make_are_options() -> None:
    words = ["data", "DATA=potsdam", "SOURCE=/a b", "INCOMPLETE=1", "COPY=yes", "RUNS=x"]
    for no in ("", "0", "No", "false"):
        arguments, _ = parse_words([*words, f"FORCE={no}"])
        assert (arguments.data, str(arguments.source)) == ("potsdam", "/a b")
        assert arguments.allow_incomplete and arguments.copy and not arguments.force
    words = ["predict", "RUN=r", "INPUT=rgb=a.tif nir=b.tif:4", "OUT=x.tif", "PROBABILITIES=1"]
    arguments, _ = parse_words(words)
    assert arguments.input == ["rgb=a.tif", "nir=b.tif:4"] and arguments.probabilities
    old, new = parse_words(["lens", "DATA=x"]), parse_words(["conventions", "--data", "x"])
    assert old[1] is new[1] and old[0].data == new[0].data


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bench", "method=mobanet"], "Did you mean METHOD?"),
        (["bench", "METHODS=mobanet"], "Did you mean METHOD?"),
        (["bench", "DATA=miniature", "EPOCHS=3"], 'ARGS="--trainer.max_epochs'),
        (["compare", "METHOD=sgma"], "Did you mean METHODS?"),
        (["leaderboard", "FORCE="], "leaderboard has no variable FORCE"),
        (["bench", "--metho", "mobanet"], "Did you mean --method?"),
        (["bench", "--epochs=3"], "bench has no option --epochs"),
        (["bench", "--cell.scale", "paper"], "--cell.scale is chosen as SCALE="),
        (["bench", "SCALE=Paper"], "Did you mean paper?"),
        (["evaluate"], "evaluate needs CHECKPOINT=<a checkpoint that"),
        (["picture", "RUN="], "picture needs RUN=<a run directory that"),
        (["predict", "--run=x"], "predict needs INPUT=<"),
        (["publish", "RUN=nowhere"], "There is no record in nowhere"),
        (["evaluate", "CHECKPOINT=nowhere"], "<run>/checkpoints/best.ckpt"),
        (["bench", "--trainr.max_epochs", "3"], "--trainer.<name>"),
        ([], "Unknown command ''; valid are: bench"),
        (["benhc"], "Did you mean bench?"),
        (["leaderboard", "--runz", "x"], "leaderboard has no option --runz. Did you mean --runs?"),
        (["leaderboard", "RUNS=nowhere"], "There is no folder nowhere: RUNS is"),
        (["data", "mytown", "--source=nowhere"], "nowhere does not exist."),
        (["lens", "ign"], "conventions does not know what ign is for"),
        (["bench", "--trainer.max_epochs", "3", "SEED=1"], "come directly after the command"),
        (["bench", "--seed", "one"], "SEED is 'one': give numbers"),
    ],
)
def test_a_wrong_or_missing_word_runs_nothing(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and expected in error


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--model.backbone resnet50", "methods.mmformer.module.MMFormer has no option --model.b"),
        ("--model.optimiser.lr 1", "Did you mean --model.optimizer?"),
        ("--model.optimizer.lrr 3", "MMFormer has no option --model.optimizer.lrr"),
        # no abbreviations
        ("--trainer.max_epoch 1", "no option --trainer.max_epoch. Did you mean --trainer.max_e"),
        ("--trainer.max_stepz=3", "Did you mean --trainer.max_steps?"),
        ("--cell.select 1", "The configuration has no option --cell.select."),
        ("--model.optimizer.lr abc", "does not parse: --model.optimizer.lr: Expected"),
        ("--trainer.max_steps x", "does not parse: --trainer.max_steps: Expected"),
    ],
)
def test_an_unknown_setting_names_its_class(words: str, expected: str) -> None:
    with pytest.raises(UserError, match=re.escape(expected)), explain_parser_errors():
        parse("mmformer", "miniature", "standard", 0, *words.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "SGMA"], ["Unknown METHOD 'SGMA'", "Did you mean sgma?"]),
        (["--method", "sgmaa"], ["Unknown METHOD 'sgmaa'", "sgma_additive", "Did you mean sgma"]),
        (
            ["--data", "potsdan"],
            ["Unknown DATA 'potsdan'", "miniature", "Did you mean potsdam", "make data DATA="],
        ),
        (["--protocol", "none"], ["Unknown PROTOCOL 'none'", "standard"]),
        (["--backbone", "vgg"], ["Unknown BACKBONE 'vgg'", "pvt_v2_b2"]),
    ],
)
def test_unknown_names_list_the_valid_ones(
    words: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--store", str(tmp_path), *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    assert all(text in error for text in expected), error


def test_evaluation_on_other_data_keeps_the_trained_network() -> None:
    trained = parse("sgma", "miniature", "standard", 0, "--model.proto_norm", "none")["model"][
        "init_args"
    ]
    paper = {**trained, "pretrained": True}
    rebuilt = parse("sgma", "potsdam", "standard", 0, *model_overrides({"init_args": paper}))[
        "model"
    ]["init_args"]
    assert rebuilt == trained, (
        "potsdam's own scale would take another backbone; pretrained weights are not looked for"
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    late = "import sys, time; time.sleep(0.5); from benchmark.__main__ import main; "
    late += "sys.exit(main(['list']))"
    line = f'{sys.executable} -c "{late}" | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_warnings_that_no_user_can_act_on_stay_silent() -> None:
    """Lightning's own flattening of arguments, which newer torch finds fault with."""
    from lightning.pytorch.utilities import _pytree

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        _pytree._tree_flatten([{"a": [1]}])
        loud = len(heard)
        silence_known_warnings()
        _pytree._tree_flatten([{"a": [1]}])
        assert len(heard) == loud
