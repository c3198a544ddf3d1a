"""The parts of `make speed` about devices and threads, at sizes of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.choices import ROOT
from benchmark.profiling.cost import count_cost
from methods.mobanet.module import MoBaNet
from methods.sgma.module import SGMA
from tests.performance import device, threads, variants
from tests.performance.device import (
    HEAD,
    Budget,
    Row,
    lines_of,
    main,
    measure,
    measure_all,
)
from tests.performance.memory_peak import RESET, held, peak_of
from tests.performance.operations import count_evaluation, count_training
from tests.performance.variants import EAGER, Variant, all_variants
from tests.performance.workloads import PHASES, Case, evaluation

CPU = torch.device("cpu")
VIT = Case(MoBaNet, "vit_tiny_patch8", 32, 2)
PYRAMID = Case(SGMA, "pvt_v2_b0", 64, 2)
COMPILER = os.environ.get("CXX", "g++")
with_compiler = pytest.mark.skipif(not shutil.which(COMPILER), reason=f"there is no {COMPILER}")
COMPILED = pytest.param(VIT, Variant("compile", compiled=True), marks=with_compiler)
# what a machine with a GPU often lacks, and this table does not need
ABSENT = ("jsonargparse", "plotly", "pydantic", "rasterio", "segmentation_models_pytorch", "wandb")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "compile_encoders", lambda *given: "no compiler here")


LAST = Variant("channels_last", channels_last=True)


@pytest.mark.parametrize(("case", "variant"), [(PYRAMID, LAST), (VIT, LAST), COMPILED])
def test_a_variant_computes_what_eager_float32_computes(case: Case, variant: Variant) -> None:
    logits = []
    for each in (EAGER, variant):
        model, batch = case.build(each, CPU)
        with torch.inference_mode(), each.products_of(CPU):
            logits.append(model.eval()(batch["image"]))
    assert variant.channels_last == batch["image"]["rgb"].is_contiguous(
        memory_format=torch.channels_last
    )
    torch.testing.assert_close(*logits, rtol=0, atol=1e-4)


def test_half_precision_is_in_use() -> None:
    model, batch = PYRAMID.build(EAGER, CPU)
    with torch.inference_mode(), Variant("bf16", bf16=True).products_of(CPU):
        encoded = model.network.encoder(batch["image"])
    assert encoded["rgb"][-1].dtype == torch.bfloat16


def test_the_table_has_a_row_for_every_variant_and_a_line_for_what_fails(
    no_compiler: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure_all([VIT], CPU, 1, 8, tmp_path / "table.md")
    lines = (tmp_path / "table.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines if " px" in line]
    names = [variant.name for variant in all_variants(CPU)]
    assert [row[1:3] for row in rows] == [[phase, name] for phase in PHASES for name in names]
    for row in rows:
        assert len(row) == len(HEAD)
        if row[2] in ("compile", "all together"):
            assert row[3:8] == ["-"] * 5 and "no compiler here" in row[8]
        else:
            assert float(row[3]) > 0 and float(row[7]) > 0 and row[8] == "|"
    assert [row[4] for row in rows if row[2] == EAGER.name] == ["1.00", "1.00"]
    assert "Traceback" not in capsys.readouterr().out


def test_operations_of_an_evaluation_are_those_of_the_cost_tables() -> None:
    flops = count_evaluation(evaluation(PYRAMID, EAGER, CPU))
    cost = count_cost(PYRAMID.build(EAGER, CPU)[0].eval(), PYRAMID.side)
    assert flops == pytest.approx(PYRAMID.batch * 2e9 * cost.all_subsets_gmac)


def test_operations_of_a_step_by_hand() -> None:
    first, linear = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(4, 5)
    grouped = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
    wider = nn.ConvTranspose2d(8, 4, 2, stride=2)
    image = torch.randn(2, 3, 16, 16)

    def step() -> None:
        linear(wider(grouped(first(image))).movedim(1, -1)).sum().backward()

    # forward, gradient of the weights, and of the input: nobody wants that of the image
    products = 2 * (3 * 8 * 9) + 3 * (8 * 9 / 4) + 3 * (8 * 4) + 3 * (4 * 5)
    assert count_training(step) == 2 * image[:, 0].numel() * products


def test_a_case_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    large, product = Variant("large"), 2 * device.SIDE["cpu"] ** 3
    taken = {EAGER.name: 0.5, "product fp32": product / 12e9}
    taken |= {"half": 0.2, "product bf16": product / 60e9}

    def warm(row: Row, *_: Any) -> Callable[[], None]:
        if row.variant is large:
            raise RuntimeError("too large\nby far")
        row.first, row.peak = 3.0, 2.5
        return lambda: None

    chosen = [EAGER, Variant("half", bf16=True), large]
    monkeypatch.setattr(device, "all_variants", lambda _: chosen)
    monkeypatch.setattr(device, "_warm", warm)
    monkeypatch.setitem(device.COUNTS, "training", lambda _: 3e9)
    monkeypatch.setattr(device, "time_interleaved", lambda calls, _: {n: taken[n] for n in calls})
    lines = lines_of(VIT, "training", measure(VIT, "training", CPU, 1, Budget(8)))
    assert [line[3:] for line in lines] == [
        ["500.0", "1.00", "2.50", "50 %", "3.0", ""],
        ["200.0", "2.50", "2.50", "25 %", "3.0", ""],
        ["-", "-", "-", "-", "-", "too large"],
    ]


def test_what_does_not_fit_the_time_is_left_out() -> None:
    rows = measure(VIT, "training", CPU, 1, Budget(minutes=0))
    assert {row.problem for row in rows} == {"skipped: would take longer than 0 minutes"}


@pytest.mark.skipif(not RESET.exists(), reason="this system does not forget a peak of memory")
def test_the_peak_is_that_of_the_action_alone() -> None:
    large = torch.ones(2**26)  # 256 MiB
    del large
    before = held(CPU)
    found = peak_of(lambda: torch.ones(2**24), CPU) - before
    assert found == pytest.approx(2**26, rel=0.1)


def test_it_needs_little_beside_torch() -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))"
    words = [sys.executable, "-c", f"{blocked}; import tests.performance.device"]
    subprocess.run(words, cwd=ROOT, check=True)


def test_a_device_that_is_not_here_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--device", "tpu"])
    assert "DEVICE 'tpu' is not here" in capsys.readouterr().err


def test_trainings_beside_each_other_wait_as_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    child = (
        "import os; print(flush=True); input(); print(os.environ.get('GOMP_SPINCOUNT', 7), end='')"
    )
    monkeypatch.setattr(threads, "CHILD", child)
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    assert threads._seconds({}, 2) == 7
    assert threads._seconds({"GOMP_SPINCOUNT": "1000"}, 1) == 1000
