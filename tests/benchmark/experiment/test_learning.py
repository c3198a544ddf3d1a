"""Which sensors training teaches: a ratio of gradients, and measuring it moves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.__main__ import main
from benchmark.records.manifest import read_manifest
from benchmark.tracking.learning import LearningRatio
from methods.parts.network import AnyModalityNetwork

CHANNELS = {"rgb": 3, "dsm": 1, "nir": 1}


class Shared(AnyModalityNetwork):
    """One convolution for all sensors, maps of two sizes, their weighted sum."""

    def __init__(self) -> None:
        super().__init__(CHANNELS)
        self.encoder = nn.Conv2d(1, 4, 3, padding=1)
        self.shares = dict(zip(CHANNELS, (5.0, 1.0, -2.0), strict=True))

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        maps = {m: self.encoder(image.mean(1, keepdim=True)) for m, image in images.items()}
        return {m: [fine, nn.functional.avg_pool2d(fine, 2)] for m, fine in maps.items()}

    def fuse(self, encoded: Mapping[str, list[Tensor]], present: Any = None) -> Any:
        terms = []
        for m, (fine, coarse) in encoded.items():
            terms.append(self.shares[m] * (fine.tanh().mean() + 3 * coarse.square().mean()))
        return torch.stack(terms).sum(), {}


def test_ratios_are_those_of_gradients_at_the_features() -> None:
    """Beside gradients that autograd is asked for, of two calls within a step."""
    torch.manual_seed(0)
    network = Shared()
    module: Any = SimpleNamespace(network=network, training=True)
    ratio = LearningRatio(list(CHANNELS))
    ratio.on_fit_start(None, module)  # type: ignore[arg-type]
    images = {m: torch.randn(2, channels, 8, 8) for m, channels in CHANNELS.items()}
    steps = []
    for names in (["rgb", "dsm", "nir"], ["rgb", "nir"]):
        calls = [network.encode({m: images[m] for m in some}) for some in (names, names[:1])]
        loss = network.fuse(calls[0])[0] + network.fuse(calls[1])[0]
        norms = []
        for m in CHANNELS:
            maps = [features for call in calls for features in call.get(m, [])]
            gradients = torch.autograd.grad(loss, maps, retain_graph=True) if maps else []
            norms.append(torch.cat([g.flatten() for g in gradients] or [torch.zeros(1)]).norm())
        # what autograd was asked for passed the hooks too
        ratio.take_step()
        loss.backward()
        found = ratio.take_step()
        torch.testing.assert_close(found, torch.stack(norms) / torch.stack(norms).sum())
        steps.append(found)
    assert steps[1][1] == 0 and steps[0].min() > 0
    assert ratio.take_step().tolist() == [0, 0, 0], "no gradient, no ratio"
    # maps that no weight made: a share would say that the sensor learns nothing
    network.encode = lambda images: {**Shared.encode(network, images), "sar": images["rgb"]}
    other = LearningRatio(["rgb", "sar"])
    other.on_fit_start(None, module)  # type: ignore[arg-type]
    network.encode({"rgb": images["rgb"]})["rgb"][0].sum().backward()
    assert other.take_step().tolist() == [0, 0] and not other.watched and other.averages() == {}
    other.on_fit_end(None, module)  # type: ignore[arg-type]
    ratio.on_fit_start(None, module)  # type: ignore[arg-type]
    module.training = False
    network.fuse(network.encode(images))[0].backward()
    assert ratio.take_step().tolist() == [0, 0, 0], "evaluation is not looked at"
    ratio.on_fit_end(None, module)  # type: ignore[arg-type]
    assert "encode" not in vars(network)


def bench(stores: Path, runs: Path, *words: str) -> dict[str, Tensor]:
    """Weights at the end of two steps; the first run of RUNS is the one that is looked at."""
    places = ["--data", "tiny", "--store", str(stores), "--runs", str(runs)]
    length = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "1"]
    length += ["--data.window", "32", "--data.batch_size", "2", "--data.num_workers", "0"]
    length += ["--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"]
    assert main(["bench", "--method", "control", *places, *length, *words]) == 0
    (place,) = runs.rglob("last.ckpt")
    weights: dict[str, Tensor] = torch.load(place, weights_only=True)["state_dict"]
    return weights


def test_measuring_changes_no_number_and_is_in_the_record(
    tiny_stores: Path, tmp_path: Path
) -> None:
    plain = bench(tiny_stores, tmp_path / "plain")
    watched = bench(tiny_stores, tmp_path / "watched", "--cell.learning", "true")
    assert all(torch.equal(value, watched[name]) for name, value in plain.items())
    found = []
    for runs in ("plain", "watched"):
        (path,) = (tmp_path / runs).rglob("manifest.json")
        found.append(read_manifest(path.parent))
    assert found[0].identity == found[1].identity
    assert found[0].learning == {} and list(found[1].learning) == list(CHANNELS)
    assert sum(found[1].learning.values()) == pytest.approx(1, abs=2e-4)
    (table,) = (tmp_path / "watched").rglob("metrics.csv")
    assert "train/learning/dsm" in table.read_text().splitlines()[0]
    # the sums of an interrupted run go on
    (place,) = (tmp_path / "watched").rglob("last.ckpt")
    states = torch.load(place, weights_only=True)["callbacks"]
    again = LearningRatio(list(CHANNELS))
    again.load_state_dict(states["LearningRatio"])
    assert again.averages() == found[1].learning
