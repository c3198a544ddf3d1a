"""IMLT fulfils the contract; draws, losses, options and recipe behave as the dossier says (sections
4 and 5).
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from methods.imlt.module import IMLT
from methods.parts.losses import cross_entropy
from methods.parts.modality_dropout import draw_subsets
from methods.parts.optim import Recipe
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    SIZE,
    SMALL,
    THREE,
    check_eval_follows_training,
    check_trains_and_stays_exact,
    images,
    subsets,
    training_batch,
)
from usererror import UserError


class TestIMLT(MethodContract):
    method = IMLT
    options = SMALL


class TestNoContrast(MethodContract):
    method = IMLT
    options = {**SMALL, "contrast": "none"}
    counts = (3,)


make = TestIMLT.make


def test_streams_do_not_depend_on_the_set():
    """Check 3: what a modality contributes is the same whatever is encoded or fused beside it."""
    module, given = make().eval(), images(THREE)
    with torch.inference_mode():
        everything = module.encode(given)
        copies = {
            m: [tuple(part.clone() for part in stream) for stream in streams]
            for m, streams in everything.items()
        }
        for subset in subsets(list(THREE)):
            few = module.encode({m: given[m] for m in subset})
            module.decode(few, SIZE)
            for m in subset:
                for alone, among in zip(few[m], everything[m], strict=True):
                    torch.testing.assert_close(alone, among, rtol=1e-4, atol=1e-5)
            module.decode({m: everything[m] for m in subset}, SIZE)
    for m, streams in everything.items():
        for stream, copy in zip(streams, copies[m], strict=True):
            assert all(torch.equal(part, old) for part, old in zip(stream, copy, strict=True))


def test_only_fusion_tokens_reach_the_head():
    module, given = make().eval(), images(THREE)
    with torch.inference_mode():
        logits, extras = module.network.fuse(module.encode(given))
        torch.testing.assert_close(logits, module.network.head(extras["features"]), rtol=0, atol=0)
    with torch.no_grad():
        for layer in module.network.fusion:
            layer.modality_attention.out.weight.zero_()
            layer.stream_attention.out.weight.zero_()
        # nothing is read from the streams any more: the pictures cannot matter
        torch.testing.assert_close(
            module(given), module(images(THREE, seed=1)), rtol=1e-4, atol=1e-5
        )


def test_frequencies_of_the_draw():
    """Check 9: for three modalities each single and each pair 1/9, the full set 1/3; never the
    empty set.
    """
    module, draws = make(), 100_000
    assert (module.subsets, module.subsets_per) == ("size_uniform", "sample")
    torch.manual_seed(0)
    there = {m: torch.ones(draws, dtype=torch.bool) for m in THREE}
    drawn = torch.stack(list(draw_subsets(module.subsets, there, module.subsets_per).values()))
    counts = torch.bincount((drawn * torch.tensor([1, 2, 4])[:, None]).sum(0), minlength=8)
    expected = torch.tensor([0, 1 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 3])
    assert counts[0] == 0
    assert (counts / draws - expected).abs().max() < 0.005


def test_losses_are_those_of_the_drawn_subset():
    """Cross-entropy of the subset alone; the term of the same subset."""
    module, batch = make(subsets="full", head_dropout=0.0).train(), training_batch(THREE)
    module.network.head.norm.eval()
    batch["available"]["dsm"] = torch.tensor([False, False])
    with torch.no_grad():
        terms = module.training_losses(batch)
        rest = {m: image for m, image in batch["image"].items() if m != "dsm"}
        absent = module.training_losses({**batch, "image": rest})
        torch.testing.assert_close(terms, absent, rtol=1e-4, atol=1e-5)
        expected = cross_entropy(module(rest), batch["mask"])
        torch.testing.assert_close(terms["seg"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_the_drawn_subsets_are_what_is_fused(per):
    module, batch = make(subsets_per=per).train(), training_batch(THREE, batch=4)
    fuse, seen = module.network.fuse, []
    module.network.fuse = lambda encoded, present: (
        seen.append(torch.stack(list(present.values()))),
        fuse(encoded, present),
    )[1]
    torch.manual_seed(0)
    for _ in range(4):
        module.training_losses(batch)
    alike = [torch.equal(drawn, drawn[:, :1].expand(3, 4)) for drawn in seen]
    assert all(alike) if per == "batch" else not any(alike)
    assert not all(drawn.all() for drawn in seen)


@pytest.mark.parametrize("gap", [(), ("dsm",), ("rgb", "sar")])
@pytest.mark.parametrize("contrast", ["distill", "infonce", "none"])
def test_every_parameter_takes_part_in_every_step(gap, contrast):
    """Check 10: a modality that a whole batch lacks must not leave its parameters without gradient,
    or distributed
    processes would wait for each other."""
    module, batch = make(contrast=contrast).train(), training_batch(THREE)
    batch["image"] = {m: image for m, image in batch["image"].items() if m not in gap}
    batch["available"] = {m: torch.full((2,), m not in gap) for m in THREE}
    module.weighted_sum(module.training_losses(batch)).backward()
    assert [name for name, p in module.named_parameters() if p.grad is None] == []


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
@pytest.mark.filterwarnings("ignore:Grad strides do not match")
@pytest.mark.parametrize("idle", [False, True])
def test_distributed_steps_need_no_search_for_unused_parameters(tmp_path, idle):
    """Check 10 by torch's own complaint, with one process: its reducer refuses the next step when
    any was unused.
    """

    class Step(nn.Module):
        def __init__(self, module: IMLT) -> None:
            super().__init__()
            self.module = module
            if idle:
                self.spare = nn.Parameter(torch.zeros(1))

        def forward(self, batch):
            return self.module.weighted_sum(self.module.training_losses(batch))

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        step = nn.parallel.DistributedDataParallel(Step(make().train()))
        with (
            pytest.raises(RuntimeError, match="not used in producing loss")
            if idle
            else nullcontext()
        ):
            for gap in ("dsm", "rgb", ""):
                batch = training_batch(THREE)
                batch["image"].pop(gap, None)
                step(batch).backward()
    finally:
        torch.distributed.destroy_process_group()


def test_the_term_starts_near_the_logarithm_of_the_width():
    """Check 8 on the whole network; PVT-v2-b0 has C = 256 at the coarsest scale."""
    term = make().train().training_losses(training_batch(THREE))["con"]
    assert abs(term.item() - torch.tensor(256.0).log().item()) < 1.0


def test_terms_of_the_variants():
    batch = training_batch(THREE)
    assert set(make().training_losses(batch)) == {"seg", "con"}
    assert set(make(contrast="infonce").training_losses(batch)) == {"seg", "con"}
    assert set(make(contrast="none").training_losses(batch)) == {"seg"}
    assert make().loss_weights == {"seg": 1.0, "con": 0.3}
    assert make(contrast="none").network.pool is None


def test_summing_the_term_weighs_it_by_the_size_of_the_subset():
    torch.manual_seed(0)
    batch, options = training_batch(THREE), {"subsets": "full"}
    torch.manual_seed(1)
    mean = make(**options).train().training_losses(batch)["con"]
    summed = make(con_reduce="sum", **options).train().training_losses(batch)["con"]
    torch.testing.assert_close(summed, 3 * mean)


def test_tokens_vectors_and_queries_are_not_decayed():
    module = make(optimizer=Recipe(lr=1e-3))
    module.schedule_length = lambda: (100, 10.0)
    optimizer = module.configure_optimizers()["optimizer"]
    decayed, plain = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (1e-2, 0.0)
    names = {id(p): name for name, p in module.named_parameters()}
    special = {names[id(p)] for p in plain["params"] if p.ndim > 1}
    per_scale = {f"network.fusion.{i}.{kind}" for i in range(4) for kind in ("tokens", "vectors")}
    assert special == per_scale | {"network.pool.queries"}
    assert all(p.ndim > 1 for p in decayed["params"])
    assert sorted(map(id, decayed["params"] + plain["params"])) == sorted(names)
    module.recipe = Recipe(no_decay_1d=False)
    (group,) = module.configure_optimizers()["optimizer"].param_groups
    assert len(group["params"]) == len(names)


@pytest.mark.parametrize(
    "options",
    [
        {"contrast": "infonce", "subsets": "any_subset", "subsets_per": "batch", "ff_mult": 8 / 3},
        {"own_token": False, "token_grid": 8, "key_grid": 2, "con_reduce": "sum"},
        {"head_norm": "ln", "head_channels": 16, "pool_heads": 4, "subsets": "one_missing"},
        {"backbone": "resnet50", "head_width": 8},
        {"reduction": [16, 16, 32, 32]},
    ],
    ids=["a", "b", "c", "resnet50", "reduced"],
)
def test_options_train_and_stay_exact(options):
    check_trains_and_stays_exact(make(**options))


def test_what_cannot_be_configured():
    with pytest.raises(UserError, match="contrast 'both'"):
        make(contrast="both")
    with pytest.raises(UserError, match="con_reduce"):
        make(con_reduce="max")
    with pytest.raises(UserError, match="pool_heads"):
        make(pool_heads=7)
    with pytest.raises(UserError, match="no backbone resnet5"):
        make(backbone="resnet5")
    with pytest.raises(UserError, match="at least 4"):
        make(contrast="infonce").training_losses(training_batch(THREE, batch=1))
    with pytest.raises(RuntimeError, match="contrast: none"):
        make(contrast="none").network.contrastive_loss({}, torch.zeros(1, 256, 1, 1))


def test_eval_follows_training_after_evaluation():
    """What one eval phase keeps must not survive into the next."""
    check_eval_follows_training(make, THREE)
