"""Which sensors training teaches: a ratio of gradients, and measuring it moves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.__main__ import main
from benchmark.records.manifest import read_manifest
from benchmark.tracking.learning import LearningRatio
from methods.base import AnyModalitySegmenter
from methods.early_fusion.module import EarlyFusion
from methods.gemmnet.module import GEMMNet
from methods.magic.module import MAGIC
from methods.mobanet.module import MoBaNet
from methods.two_stream.module import MANet
from tests.support.method_checks import CLASSES, SMALL, TWO, training_batch
from tests.support.mobanet_tiny import TINY

CHANNELS = {"rgb": 3, "dsm": 1, "nir": 1}
# of families without a trained weight per sensor, with a frozen one, or with paths of their own
FAMILIES: dict[str, tuple[type[AnyModalitySegmenter], dict[str, Any]]] = {
    "early_fusion": (EarlyFusion, {"backbone": "tu-mobilenetv3_small_050"}),
    "mobanet": (MoBaNet, TINY),
    "manet": (MANet, {"backbone": "samvit_micro_patch16", "pretrained": False}),
    "gemmnet": (GEMMNet, {"rec": "l2", "generator_width": 2, "token_width": 8, "heads": 2}),
    "magic": (MAGIC, SMALL),
}


def measure(ratio: LearningRatio, batch: Any, loss_of: Callable[[Any], Tensor]) -> list[float]:
    """A step as the trainer takes it."""
    ratio.on_train_batch_start(None, None, batch, 0)  # type: ignore[arg-type]
    loss_of(batch).backward()
    return ratio.step_ratios(torch.device("cpu")).tolist()


def test_sensors_that_meet_in_a_convolution_share_the_gradient_by_its_slices() -> None:
    """Logits of a 1x1 convolution: the gradient at a pixel is a sum of weights over classes."""
    torch.manual_seed(0)
    meet = nn.Conv2d(5, 4, 1)
    sizes = [part.sum(0).norm().item() for part in meet.weight[:, :, 0, 0].split([3, 1, 1], 1)]
    ratio = LearningRatio(list(CHANNELS))

    def sum_of_logits(batch: Any) -> Tensor:
        image: Tensor = torch.cat([batch["image"][m] for m in CHANNELS], 1)
        # of two calls in one step the gradients add up
        return 3 * meet(image).sum() - meet(image).sum()

    batch = {"image": {m: torch.randn(2, count, 8, 8) for m, count in CHANNELS.items()}}
    found = measure(ratio, batch, sum_of_logits)
    assert found == pytest.approx([size / sum(sizes) for size in sizes], rel=1e-5)


def test_what_a_step_was_not_shown_counts_nothing() -> None:
    def rgb_twice(batch: Any) -> Tensor:
        # methods may write into their images
        return batch["image"]["rgb"].mul_(2).sum() + batch["image"]["dsm"].sum()

    ratio = LearningRatio(list(CHANNELS))
    rgb, dsm, nir = (torch.ones(1, 1, 4, 4) for _ in CHANNELS)
    assert measure(ratio, {"image": {"rgb": rgb, "dsm": dsm}}, rgb_twice) == pytest.approx(
        [2 / 3, 1 / 3, 0]
    )
    assert rgb.unique().tolist() == [1], "written into a copy"
    batch = {"image": {"rgb": rgb, "dsm": dsm, "nir": nir}}
    assert measure(ratio, batch, rgb_twice)[2] == 0
    overflow = measure(ratio, batch, lambda batch: batch["image"]["rgb"].sum() * torch.inf)
    assert overflow == [0, 0, 0] and ratio.averages() == {}


def small_batch() -> dict[str, Any]:
    batch = training_batch(TWO)
    batch["image"] = {m: image[..., :32, :32].clone() for m, image in batch["image"].items()}
    batch["mask"] = batch["mask"][:, :32, :32]
    return batch


@pytest.mark.parametrize("family", FAMILIES)
def test_every_network_is_measured_and_not_moved(family: str) -> None:
    method, options = FAMILIES[family]
    losses, gradients, ratios = [], [], []
    for measured in (False, True):
        torch.manual_seed(0)
        module = method(TWO, CLASSES, **options).train()
        batch, ratio = small_batch(), LearningRatio(list(TWO))
        if measured:
            ratio.on_train_batch_start(None, None, batch, 0)  # type: ignore[arg-type]
        loss = module.weighted_sum(module.training_losses(batch))
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: p.grad for name, p in module.named_parameters()})
        ratios.append(ratio.step_ratios(torch.device("cpu")).tolist())
    assert not any(ratios[0])
    assert min(ratios[1]) > 0 and sum(ratios[1]) == pytest.approx(1)
    if family == "manet":
        # torch has another kernel where frozen attention with a bias has to pass a gradient on
        torch.testing.assert_close(*losses)
    else:
        torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_what_a_discriminator_learns_leaves_the_pixels_alone() -> None:
    """It steps before the others: what both pass would be gone by then."""
    torch.manual_seed(0)
    options = {**FAMILIES["gemmnet"][1], "rec": "cgan", "discriminator_width": 2}
    module = GEMMNet(TWO, CLASSES, **options).train()
    batch, ratio = small_batch(), LearningRatio(list(TWO))
    ratio.on_train_batch_start(None, None, batch, 0)  # type: ignore[arg-type]
    entries, pairs = module.synthesise_batch(batch)
    assert len(pairs) == 2
    module.discriminator_terms(pairs, batch["mask"])["discriminator"].backward()
    assert not any(ratio.step_ratios(torch.device("cpu")))
    terms = module.segmentation_terms(entries, batch["mask"])
    terms |= module.generator_terms(pairs, batch["mask"])
    module.weighted_sum(terms).backward()
    assert all(ratio.step_ratios(torch.device("cpu")))


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
