"""The file of a sweep: what it means, and what is no sweep."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import yaml

from benchmark.choices import CONFIGS, ROOT, methods
from benchmark.experiment.request import Request
from benchmark.records.selection import PUBLISHED, select_records
from benchmark.sweep.sweep_file import (
    FOLDER,
    find_sweep,
    override_words,
    parse_sweep,
    read_sweep,
    sweep_of_table,
    wanted_cells,
)
from usererror import UserError

DEFAULTS = Request("", "miniature")
GRID = {"method": ["sgma", "magic"], "data": ["miniature", "potsdam"], "seed": [0, 1]}


def cells(**content: Any) -> set[tuple[Any, ...]]:
    found = set()
    for entry in wanted_cells(parse_sweep({"grid": GRID, **content}, "a.yaml"), DEFAULTS):
        request = entry.request
        words = (request.method, request.data, request.seed, *request.overrides)
        found.add((*words, entry.resources.gpus))
    return found


def test_a_grid_is_the_product_of_its_columns() -> None:
    assert cells() == {(*names, 0) for names in product(*GRID.values())}


def test_exceptions_additions_and_rules_hold_in_their_order() -> None:
    found = cells(
        **{"except": [{"method": "magic", "data": "potsdam"}]},
        also=[{"method": "control", "seed": 7}],
        overrides={"trainer.max_steps": 2},
        where=[
            {"is": {"data": "potsdam"}, "resources": {"gpus": 4}},
            {"is": {"seed": [1, 7]}, "overrides": {"trainer.max_steps": 3, "data.window": 64}},
            {"is": {"seed": 7}, "overrides": {"data.window": 32}, "resources": {"gpus": 1}},
        ],
    )
    two, three = "--trainer.max_steps=2", ("--trainer.max_steps=3", "--data.window=64")
    assert found == {
        ("sgma", "miniature", 0, two, 0),
        ("sgma", "miniature", 1, *three, 0),
        ("sgma", "potsdam", 0, two, 4),
        ("sgma", "potsdam", 1, *three, 4),
        ("magic", "miniature", 0, two, 0),
        ("magic", "miniature", 1, *three, 0),
        ("control", "miniature", 7, three[0], "--data.window=32", 1),
    }


def test_precision_is_a_column_and_becomes_an_override() -> None:
    grid = {"method": "sgma", "data": "potsdam", "precision": ["fp32", "bf16"]}
    half = {"precision": "bf16"}
    rules = [{"is": half, "overrides": {"data.batch_size": 16}, "resources": {"gpus": 1}}]
    also = [{"method": "control", **half}]
    excluded = [{"method": "sgma", "precision": "fp32"}]
    common = ("--data.batch_size=16", "--trainer.precision=bf16-mixed", 1)
    found = {("sgma", "potsdam", 0, *common), ("control", "miniature", 0, *common)}
    assert cells(grid=grid, where=rules, also=also, **{"except": excluded}) == found
    found.add(("sgma", "potsdam", 0, "--trainer.precision=32-true", 0))
    assert cells(grid=grid, where=rules, also=also) == found


def test_rows_may_differ_in_settings_without_a_column() -> None:
    narrow = [{"data.modalities": ["rgb"]}, {"data.modalities": ["rgb", "dsm"]}]
    grid = {"method": "sgma", "data": "potsdam", "settings": narrow}
    also = [{"method": "magic", "settings": {"data.modalities": ["dsm"], "data.batch_size": 2}}]
    rules = [{"is": {"settings": narrow[:1]}, "overrides": {"data.batch_size": 8}}]
    sweep = parse_sweep({"grid": grid, "also": also, "where": rules}, "a.yaml")
    found = wanted_cells(sweep, DEFAULTS)
    assert [one.request.overrides for one in found] == [
        ("--data.batch_size=8", '--data.modalities=["rgb"]'),
        ('--data.modalities=["rgb", "dsm"]',),
        ('--data.modalities=["dsm"]', "--data.batch_size=2"),
    ]
    with pytest.raises(UserError, match="settings.*modalities is no setting"):
        parse_sweep({"grid": {**grid, "settings": [{"modalities": ["rgb"]}]}}, "a.yaml")


def test_what_is_named_twice_is_wanted_once() -> None:
    assert cells(also=[{"method": "sgma", "seed": 0}]) == cells()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"overides": {}}, ["overides", "Did you mean overrides?"]),
        ({"grid": {"methods": "sgma"}}, ["grid.methods", "Did you mean method?"]),
        ({"resources": {"gpu": 1}}, ["resources.gpu", "Did you mean gpus?"]),
        ({"where": [{"is": {}, "resources": {"memory": "much"}}]}, ["memory"]),
        ({"where": [{"overrides": {}}]}, ["where.0.is"]),
        ({"resources": {"minutes": 0}}, ["resources.minutes"]),
        ({"tune": {"trials": 1, "space": {"a": [1]}}}, ["tune.trials"]),
        (
            {"tune": {"trials": 2, "space": {"model.a": {"low": 1, "high": 0}}}},
            ["low must be below"],
        ),
        ({"tune": {"trials": 2, "space": {"model.a": []}}}, ["tune.space"]),
        ({"tune": {"trials": 2, "space": {"a": [1]}}}, ["a is no setting"]),
        ({"grid": {"seed": "first"}}, ["grid.seed"]),
        ({"grid": {"precision": "fp16"}}, ["grid.precision", "'fp32' or 'bf16'"]),
        # each would be done under another name than the planned one, or under a wrong label
        ({"overrides": {"seed_everything": 3}}, ["seed_everything is no setting"]),
        ({"overrides": {"cell.protocol": "sgma"}}, ["chosen in the grid"]),
        ({"where": [{"is": {}, "overrides": {"trainer": {"max_steps": 2}}}]}, ["no setting"]),
        ([], ["a.yaml"]),
    ],
)
def test_mistakes_are_one_line_with_the_key(content: Any, expected: list[str]) -> None:
    whole = {"grid": GRID, **content} if isinstance(content, dict) else content
    with pytest.raises(UserError) as caught:
        parse_sweep(whole, "a.yaml")
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in expected), text


def test_values_of_yaml_reach_the_parser_of_the_configuration_as_it_reads_them() -> None:
    text = "{data.a: no, data.b: null, data.c: 1.0e-5, data.d: 1e-5, data.e: [rgb], "
    text += "data.f: 2020-01-01}"
    words = override_words(yaml.safe_load(text))
    assert words == (
        "--data.a=false",
        "--data.b=null",
        "--data.c=1e-05",
        "--data.d=1e-5",
        '--data.e=["rgb"]',
        '--data.f="2020-01-01"',
    )


def test_the_documented_file_is_one() -> None:
    text = (ROOT / "docs" / "sweeps.md").read_text()
    sweep = parse_sweep(yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]), "docs")
    assert set(type(sweep).model_fields) <= sweep.model_fields_set
    assert set(type(sweep.resources).model_fields) <= sweep.resources.model_fields_set


def test_what_names_nothing_is_no_cell() -> None:
    sweep = parse_sweep({"grid": {}, "also": [{"method": "sgma"}]}, "a.yaml")
    assert [entry.request.method for entry in wanted_cells(sweep, DEFAULTS)] == ["sgma"]


def test_a_sweep_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean miniature"):
        find_sweep("miniatures")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_sweeps_name_what_there_is(path: Any) -> None:
    for entry in wanted_cells(read_sweep(path), DEFAULTS):
        entry.request.named()


def test_the_sweep_of_the_miniature_has_every_published_row() -> None:
    published = set()
    for record in select_records(PUBLISHED, ["miniature"])["miniature"].records:
        published.add((record.manifest.variant, record.manifest.seed))
    wanted = set()
    for entry in wanted_cells(read_sweep(find_sweep("miniature")), DEFAULTS):
        wanted.add((entry.request.method, entry.request.seed))
    assert published <= wanted


def test_smoke_runs_every_family_of_methods() -> None:
    families = set()
    for name in methods():
        own = yaml.safe_load((CONFIGS / "method" / f"{name}.yaml").read_text())
        families.add(own["cell"].get("method", name))
    run = set(read_sweep(find_sweep("smoke")).grid.method)
    assert families - {"gemmnet"} <= run


def test_every_table_of_scores_has_a_sweep_that_fills_it() -> None:
    assert sweep_of_table("sgma_I") == sweep_of_table("sgma_II") == FOLDER / "sgma_potsdam.yaml"
    with pytest.raises(UserError, match="Did you mean"):
        sweep_of_table("sgma_i")
