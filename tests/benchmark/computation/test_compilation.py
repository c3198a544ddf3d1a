"""Compiled encoders: no graph break in any, the same numbers and draws, one line without a
compiler.
"""

from __future__ import annotations

import os
import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.choices import PUBLISHED
from benchmark.computation.compilation import MOST_VERSIONS, compile_encoders
from benchmark.experiment.models import build_model
from benchmark.records.manifest import MANIFEST, read_manifest
from methods.parts.network import AnyModalityNetwork
from tests.support.method_checks import (
    CLASSES,
    TWO,
    images,
    training_batch,
)

CPU = torch.device("cpu")
COMPILER = os.environ.get("CXX", "g++")
with_compiler = pytest.mark.skipif(not shutil.which(COMPILER), reason=f"there is no {COMPILER}")
# every class of encoder; of timm's pyramids those that M3L and MuSS take apart too
ENCODERS = [
    ("control", {"backbone": "pvt_v2_b0"}),
    ("control", {"backbone": "resnet18"}),
    ("m3l", {"backbone": "pvt_v2_b0"}),
    ("m3l_block", {"backbone": "pvt_v2_b0"}),
    ("m3l_block", {"backbone": "resnet18"}),
    ("muss_early", {"backbone": "pvt_v2_b0"}),
    ("muss_early", {"backbone": "resnet18"}),
    ("mmformer", {"width": 16, "mlp": 24, "heads": 4, "grid": 3}),
    ("gemmnet_ae", {"token_width": 16, "generator_width": 8}),
    ("shaspec", {"backbone": "resnet50_w4"}),
    ("shaspec_light", {}),
    ("metars", {}),
    ("mobanet", {"backbone": "vit_tiny_patch8"}),
    ("mobanet", {"backbone": "samvit_tiny_patch8"}),
    ("cmnext", {"backbone": "pvt_v2_b0"}),
    ("unet", {"backbone": "resnet18"}),
]


@pytest.fixture(autouse=True)
def forgotten() -> Any:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(recompile_limit=MOST_VERSIONS):
        yield
    torch._dynamo.reset()


@pytest.mark.parametrize(("method", "options"), ENCODERS)
def test_encoders_are_one_graph_each_and_all_are_used(method: str, options: dict[str, Any]) -> None:
    plain, batch = build_model(method, TWO, CLASSES, **options).train(), training_batch(TWO)
    compiled, used = deepcopy(plain), []
    for encoder in plain.network.encoding_modules():
        encoder.register_forward_pre_hook(lambda module, _: used.append(id(module)))
    for encoder in compiled.network.encoding_modules():
        # a graph break is an error
        encoder.compile(backend="eager", fullgraph=True)
    with torch.no_grad():
        losses = []
        for model in (plain, compiled):
            torch.manual_seed(0)
            losses.append(model.training_losses(batch))
    torch.testing.assert_close(*losses)
    assert set(used) == set(map(id, plain.network.encoding_modules()))
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] and not counters["graph_break"]


@with_compiler
def test_a_compiled_encoder_gives_the_same_logits_and_losses_under_the_same_names() -> None:
    # four blocks of one shape: a graph with its gradient and one without
    plain = build_model("mobanet", TWO, CLASSES, backbone="vit_tiny_patch8")
    compiled = deepcopy(plain)
    assert compile_encoders(compiled, CPU) == ""
    batch, losses = training_batch(TWO), []
    for model in (plain, compiled):
        torch.manual_seed(0)
        terms = model.train().training_losses(batch)
        model.weighted_sum(terms).backward()
        losses.append([terms, {name: p.grad for name, p in model.named_parameters()}])
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        logits = [model.eval()(images(TWO)) for model in (plain, compiled)]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-4)
    # the trial, with gradients, and without
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3
    # weights keep their names, and a copy for counting is none that is compiled
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert not deepcopy(compiled).network.encoding_modules()[0]._compiled_call_impl


class Dropping(AnyModalityNetwork):
    """A network whose encoder draws."""

    def __init__(self) -> None:
        super().__init__(["rgb"])
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5))

    def encoding_modules(self) -> list[nn.Module]:
        return [self.layers]


@with_compiler
def test_a_compiled_encoder_draws_what_a_plain_one_draws() -> None:
    model: Any = SimpleNamespace(network=Dropping())
    images, found = torch.randn(2, 3, 8, 8), []
    for step in ("plain", "compiled"):
        if step == "compiled":
            assert compile_encoders(model, CPU) == ""
        torch.manual_seed(5)
        found.append(model.network.layers(images))
    torch.testing.assert_close(*found)


def test_without_a_compiler_the_encoders_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = build_model("mmformer", TWO, CLASSES)
    nothing = {"force_disable_caches": True, "cpp.cxx": ("no-such-compiler",)}
    with torch._inductor.config.patch(nothing):
        problem = compile_encoders(model, CPU)
    assert "torch cannot compile here" in problem and "\n" not in problem
    assert not any(one._compiled_call_impl for one in model.network.encoding_modules())


def test_a_method_that_names_no_encoder_is_told() -> None:
    other: Any = SimpleNamespace(network=AnyModalityNetwork(["rgb"]))
    assert "encoding_modules" in compile_encoders(other, CPU)


def test_records_of_before_say_that_nothing_was_compiled() -> None:
    manifests = sorted((PUBLISHED / "records").rglob(MANIFEST))
    assert manifests
    assert {read_manifest(path.parent).compiled for path in manifests} == {"none"}
