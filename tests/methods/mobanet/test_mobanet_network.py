"""MoBaNet's streams, gradients, padding and options behave as the dossier says (section 10)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from methods.frozen_vit import FrozenViT
from methods.mobanet.module import MoBaNet, epoch_cosine
from methods.parts.optim import Recipe, parameter_groups
from tests.support import reference_mobanet as reference
from tests.support.method_checks import (
    CLASSES,
    SIZE,
    images,
    training_batch,
)
from tests.support.mobanet_tiny import BASE, GATE, TWO, VARIANTS, make, stirred
from usererror import UserError


@pytest.fixture(scope="module")
def settled() -> MoBaNet:
    return stirred(make()).eval()


@pytest.mark.parametrize("size", [(128, 128), (64, 96), (136, 72)])
def test_the_network_equals_the_equations(settled, size):
    """An independent build with equal weights (dossier section 10, last line); 128 x 128 is the
    native grid.
    """
    given = images(TWO, 2, size)
    with torch.inference_mode():
        expected = reference.forward(settled.network, given["rgb"], given["dsm"])
        torch.testing.assert_close(settled(given), expected, rtol=1e-4, atol=2e-5)


@pytest.fixture(scope="module")
def small() -> MoBaNet:
    """ViT-S/14 of DINOv2, 22 million frozen parameters."""
    return stirred(make(backbone="vit_small_patch14_dinov2")).eval()


@pytest.mark.parametrize("size", [(266, 266), (252, 252), (266, 280)])
def test_dinov2_equals_the_equations(small, size):
    given = images(TWO, 1, size)
    with torch.inference_mode():
        expected = reference.forward(small.network, given["rgb"], given["dsm"])
        torch.testing.assert_close(small(given), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        ((256, 256), (19, 19)),
        ((252, 252), (18, 18)),
        ((257, 300), (19, 22)),
        ((518, 518), (37, 37)),
    ],
)
def test_sizes(small, size, padded):
    """Check 9: padded to multiples of 14 with zeros, logits of exactly the input's size."""
    given = images(TWO, 1, size)
    with torch.inference_mode():
        encoded = small.encode(given)
        assert encoded["rgb"].shape[1:3] == padded
        logits = small.network.fuse(encoded)[0]
        assert logits.shape == (1, CLASSES, *padded)
        assert small.decode(encoded, size).shape == (1, CLASSES, *size)
    image = small.network.pad_to_patch(given["rgb"])
    assert torch.equal(image[..., : size[0], : size[1]], given["rgb"])
    assert not image[..., size[0] :, :].any() and not image[..., size[1] :].any()


def test_an_unpadded_image_is_refused(settled):
    with pytest.raises(ValueError, match="multiples of 8"):
        settled.network.backbone.embed_patches(torch.zeros(1, 3, 64, 60))


@pytest.mark.parametrize(
    ("modalities", "optical"), [(TWO, "rgb"), ({"dsm": 1, "irrg": 3, "sar": 2}, "irrg")]
)
def test_patch_embeddings(modalities, optical):
    """Check 2: the optical stream's is frozen, the others are trainable copies with storage of
    their own.
    """
    network = make(modalities).network
    assert network.optical == optical and len(network.embeddings) == len(modalities) - 1
    frozen = network.backbone.model.patch_embed.proj
    for copy in network.embeddings:
        assert torch.equal(copy.weight, frozen.weight) and torch.equal(copy.bias, frozen.bias)
        assert copy.weight.data_ptr() != frozen.weight.data_ptr() and copy.weight.requires_grad


def test_every_stream_passes_the_same_blocks():
    """Checks 1 and 2: CPIA 1 comes before block 0; 2 x depth calls of `depth` objects."""
    network, calls = make(backbone="vit_small_patch14_dinov2").network.eval(), []
    for index, block in enumerate(network.backbone.model.blocks):
        block.register_forward_hook(lambda *_, index=index: calls.append(index))
    for index, prompts in enumerate(network.cpia):
        prompts.register_forward_hook(lambda *_, index=index: calls.append(f"cpia {index}"))
    with torch.inference_mode():
        network.fuse(network.encode(images(TWO, 1, (56, 56))))
    stages = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert calls == [
        call for i, stage in enumerate(stages) for call in (f"cpia {i}", *stage, *stage)
    ]


def features(network, given: dict[str, Tensor]) -> list[list[Tensor]]:
    """Per stage the features of rgb and dsm."""
    encoded = network.encode(given)
    if network.cpia is None:
        return [list(stage) for stage in zip(encoded["rgb"], encoded["dsm"], strict=True)]
    return network._stages([encoded["rgb"], encoded["dsm"]])


@pytest.mark.parametrize("cpia", ["none", "code", "paper_eq9"])
def test_streams_meet_in_cpia_only(cpia):
    """Check 7."""
    network = stirred(make(cpia=cpia)).network.eval()
    given, other = images(TWO), images(TWO, seed=1)
    with torch.inference_mode():
        before = features(network, given)
        for changed, kept in (("dsm", 0), ("rgb", 1)):
            after = features(network, {**given, changed: other[changed]})
            equal = [torch.equal(a[kept], b[kept]) for a, b in zip(before, after, strict=True)]
            assert equal == [cpia == "none"] * 4


@pytest.mark.parametrize("kept", ["rgb", "dsm"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_missing_modality_is_an_image_of_zeros(variant, kept):
    """Check 20, and its counterpart for the other modality (dossier 7)."""
    module, given = stirred(make(**VARIANTS[variant])).eval(), images(TWO)
    missing = next(m for m in TWO if m != kept)
    with torch.inference_mode():
        alone = module({kept: given[kept]})
        zeros = module({**given, missing: torch.zeros_like(given[missing])})
        if module.network.cpia is not None:
            assert torch.equal(alone, zeros)
        else:  # the stream of zeros runs once for all samples
            torch.testing.assert_close(alone, zeros, rtol=1e-5, atol=1e-6)


def test_the_stream_of_zeros_is_kept_until_weights_or_size_change():
    module, given = stirred(make(**BASE)).eval(), images(TWO)
    calls = []
    module.network.backbone.model.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        encoded = module.encode(given)
        first = module.decode({"rgb": encoded["rgb"]}, SIZE)
        assert len(calls) == 3 and torch.equal(module.decode({"rgb": encoded["rgb"]}, SIZE), first)
        assert len(calls) == 3
        module({"rgb": given["rgb"][..., :24, :24]})
        assert len(calls) == 5
    with torch.no_grad():
        module.network.embeddings[0].bias[::2] += (
            1.0  # equal in all channels it would vanish in the norms
        )
    with torch.inference_mode():
        changed = module.decode({"rgb": encoded["rgb"]}, SIZE)
        assert not torch.allclose(changed, first, atol=1e-4)
        zeros = module({"rgb": given["rgb"], "dsm": torch.zeros_like(given["dsm"])})
        torch.testing.assert_close(changed, zeros, rtol=1e-5, atol=1e-6)


def test_one_step_moves_what_is_trained_and_nothing_else():
    """Checks 11 and 13; the batch of four has one masked sample."""
    module = make().train()
    frozen = {name: value.clone() for name, value in module.network.backbone.named_buffers()}
    assert not list(module.network.backbone.parameters()) and len(frozen) > 4 * 12
    optimizer = torch.optim.AdamW(parameter_groups(module.parameters(), 0.1), lr=1e-2)
    module.weighted_sum(module.training_losses(training_batch(TWO, 4))).backward()
    silent = {name for name, p in module.named_parameters() if not p.grad.any()}
    assert silent == {name for name, _ in module.named_parameters() if name.endswith(GATE)}
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer.step()
    for name, value in module.network.backbone.named_buffers():
        assert torch.equal(value, frozen[name]) and value.grad is None and not value.requires_grad
    moved = {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}
    # decay moves matrices without a gradient, and leaves the GroupNorm's vectors
    assert moved == {n for n in before if n not in silent or before[n].ndim > 1}


def test_only_matrices_decay():
    module = make()
    decayed, plain = parameter_groups(module.parameters(), 0.01)
    assert all(p.ndim > 1 for p in decayed["params"]) and plain["weight_decay"] == 0.0
    names = {id(p): name for name, p in module.named_parameters()}
    undecayed = {names[id(p)] for p in plain["params"]}
    assert {
        f"network.cpia.{i}.{k}.{j}" for i in range(4) for k in ("gamma", "beta") for j in range(2)
    } <= undecayed


def test_without_mcrm_there_are_no_heads():
    """Check 12: neither parameters nor evaluation; with it, heads run in training only."""
    module, batch = make(mcrm=False).train(), training_batch(TWO)
    assert module.network.heads is None and set(module.training_losses(batch)) == {"seg"}
    module, calls = make(), []
    for head in module.network.heads:
        head.register_forward_hook(lambda *_: calls.append(1))
    module.eval()(batch["image"])
    assert not calls
    assert set(module.train().training_losses(batch)) == {"seg", "hard"} and len(calls) == 2


def test_one_sample_cannot_be_trained_on_but_scored():
    """Check 10."""
    module = make()
    with pytest.raises(UserError, match="at least 2"):
        module.train().training_losses(training_batch(TWO, 1))
    assert module.eval()(images(TWO, 1)).shape == (1, CLASSES, *SIZE)


def test_real_gaps_train():
    """The head of a modality that the batch or a sample lacks learns nothing, the rest does."""
    batch = training_batch(TWO, 4)
    del batch["image"]["dsm"]
    module = make().train()
    module.weighted_sum(module.training_losses(batch)).backward()
    assert not any(p.grad.any() for p in module.network.heads[1].parameters())
    assert all(p.grad is not None for p in module.parameters())

    batch = training_batch(TWO, 4)
    batch["available"]["dsm"] = torch.tensor([True, False, True, True])
    noisy = {**batch, "image": {**batch["image"], "dsm": batch["image"]["dsm"].clone()}}
    noisy["image"]["dsm"][1] = 100.0
    terms = []
    for one in (batch, noisy):
        torch.manual_seed(0)
        terms.append(module.training_losses(one))
    assert all(torch.equal(terms[0][name], terms[1][name]) for name in terms[0])


def test_learning_rates_are_the_published_ones():
    """Check 21: epochs 0-4, 5, 20, 27 and 49 of 50."""
    rates = [2e-4 * epoch_cosine(epoch, 50, 1e-6 / 2e-4) for epoch in range(50)]
    assert rates[:6] == pytest.approx([4e-5, 8e-5, 1.2e-4, 1.6e-4, 2e-4, 2e-4])
    assert [rates[20], rates[27], rates[49]] == pytest.approx(
        [1.502e-4, 1.040e-4, 1.242e-6], rel=5e-4
    )
    assert epoch_cosine(0, 1, 0.005) == 1.0 and epoch_cosine(50, 50, 0.005) == pytest.approx(0.005)


@pytest.mark.parametrize("schedule", ["epoch_cosine", "poly"])
def test_schedule_of_the_optimiser(schedule, monkeypatch):
    module = make(schedule=schedule, optimizer=Recipe(lr=2e-4, weight_decay=1e-2))
    monkeypatch.setattr(module, "schedule_length", lambda: (5000, 100.0))
    configured = module.configure_optimizers()
    first = 4e-5 if schedule == "epoch_cosine" else 2e-5
    assert [group["lr"] for group in configured["optimizer"].param_groups] == pytest.approx(
        [first] * 2
    )
    assert configured["lr_scheduler"]["interval"] == (
        "epoch" if schedule == "epoch_cosine" else "step"
    )
    count = sum(
        p.numel() for group in configured["optimizer"].param_groups for p in group["params"]
    )
    assert count == sum(p.numel() for p in module.parameters())


def test_options_that_do_not_exist():
    for options in (
        {"cpia": "both"},
        {"schedule": "cosine"},
        {"mask_ratio": 2.0},
        {"backbone": "vit_tiny_patch9"},
    ):
        with pytest.raises(UserError):
            make(**options)
    for backbone in ("pvt_v2_b0", "vit_tiny_patch16_dinov3_qkvb"):
        with pytest.raises(UserError, match="DINOv2's or SAM's form"):
            make(backbone=backbone)


@pytest.mark.parametrize("variant", VARIANTS)
def test_configs_name_the_variants(variant):
    folder = Path(__file__).resolve().parents[3] / "configs" / "method"
    words = yaml.safe_load((folder / f"{variant}.yaml").read_text())
    assert words["cell"] == {"method": "mobanet", "variant": variant}
    own = {k: v for k, v in words["model"]["init_args"].items() if k in ("cpia", "dgfm", "mcrm")}
    defaults = {"cpia": "code", "dgfm": True, "mcrm": True}
    assert {**defaults, **own} == {**defaults, **VARIANTS[variant]}


@pytest.mark.parametrize(
    "backbone", ["vit_tiny_patch8", "vit_small_patch14_dinov2", "samvit_base_patch16"]
)
def test_nothing_frozen_drops_anything(backbone):
    """Train and eval mode are the same to it (dossier 5, trap c)."""
    with torch.device("meta"):
        modules = list(FrozenViT(backbone).modules())
    assert all(module.p == 0.0 for module in modules if isinstance(module, nn.Dropout))
    kinds = {type(module).__name__ for module in modules}
    assert not kinds & {"DropPath", "PatchDropout", "BatchNorm2d"} and "Dropout" in kinds
