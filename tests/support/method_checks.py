"""Inputs of methods, and checks that tests of single methods share with the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any
from unittest.mock import patch

import torch
from jsonargparse import ArgumentParser
from timm.models import register_model
from timm.models.pvt_v2 import _create_pvt2
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from methods.base import AnyModalitySegmenter

CHANNELS = {"rgb": 3, "dsm": 1, "sar": 2, "event": 5}
TWO, THREE, FOUR = (dict(list(CHANNELS.items())[:count]) for count in (2, 3, 4))
# of methods on the shared encoder
SMALL = {"backbone": "tiny_pvt_v2", "pretrained": False, "head_width": 16}
CLASSES = 4
SIZE = (40, 72)  # not multiples of 32
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@register_model
def tiny_pvt_v2(pretrained: bool = False, **options: Any) -> nn.Module:
    """A PVT-v2 of one narrow block per stage; the control keeps one of two."""
    sizes = {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}
    model: nn.Module = _create_pvt2("pvt_v2_b0", pretrained, **sizes, **options)
    return model


def subsets(names: list[str]) -> Iterator[tuple[str, ...]]:
    for count in range(1, len(names) + 1):
        yield from combinations(names, count)


def images(
    modalities: dict[str, int], batch: int = 2, size: tuple[int, int] = SIZE, seed: int = 0
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.randn(batch, c, *size, generator=generator) for m, c in modalities.items()}


def training_batch(modalities: dict[str, int], batch: int = 2, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, CLASSES, (batch, *SIZE), generator=generator)
    mask[:, :5] = 255
    present = {m: torch.ones(batch, dtype=torch.bool) for m in modalities}
    return {"image": images(modalities, batch, seed=seed), "mask": mask, "available": present}


def check_eval_follows_training(
    make: Callable[[], AnyModalitySegmenter], modalities: dict[str, int]
) -> None:
    """What one eval phase keeps (folded weights, responses) must not survive a training step into
    the next.
    """
    module, given = make().eval(), images(modalities)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    with torch.inference_mode():
        first = module(given)
    module.train()
    module.weighted_sum(module.training_losses(training_batch(modalities))).backward()
    optimizer.step()
    fresh = make().eval()
    fresh.load_state_dict(module.state_dict())
    with torch.inference_mode():
        second = module.eval()(given)
        torch.testing.assert_close(second, fresh(given), rtol=0, atol=0)
    assert not torch.allclose(first, second, atol=1e-3)


def check_cached_subsets(
    module: AnyModalitySegmenter, given: dict[str, Tensor], atol: float = 1e-5
) -> None:
    """Every subset of what is encoded once, and of what is masked, equals its own images alone."""

    def check_close(found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=atol)

    # a method of anybody's need not be made of a network that masks
    network = getattr(module, "network", None)
    alone, every = {}, list(subsets(list(given)))
    with torch.inference_mode():
        encoded = module.encode(given)
        assert set(encoded) == set(given)
        for subset in every:
            logits = module.decode({m: encoded[m] for m in subset}, SIZE)
            assert logits.shape == (2, CLASSES, *SIZE) and logits.isfinite().all()
            check_close(logits, module({m: given[m] for m in subset}))
            alone[subset] = logits
        if network is None:
            return
        # each of a batch's two samples has a subset of its own
        for place, one in enumerate(every[: len(every) // 2 + 1]):
            other = every[-1 - place]
            present = {m: torch.tensor([m in one, m in other]) for m in given}
            with patch.object(network, "fuse", partial(network.fuse, present=present)):
                masked = module.decode(encoded, SIZE)
            check_close(masked, torch.stack([alone[one][0], alone[other][1]]))


def tensors_of(entries: Any) -> Iterator[Tensor]:
    """The tensors of what `encode` returned, whatever it is made of, in their order."""
    for leaf in tree_leaves(list(entries)):
        if isinstance(leaf, Tensor):
            yield leaf


def check_rounding(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Equal to 1e-5 of the largest value."""
    largest = max(float(part.detach().abs().max()) for part in expected if part.numel())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * largest)


def check_trains_and_stays_exact(module: AnyModalitySegmenter) -> None:
    """One step's losses are finite, and evaluation by subsets is exact after it."""
    modalities = module.modalities
    loss = module.train().weighted_sum(module.training_losses(training_batch(modalities)))
    loss.backward()
    assert loss.isfinite()
    check_cached_subsets(module.eval(), images(modalities), atol=1e-4)


def default_options(method: type[AnyModalitySegmenter]) -> dict[str, Any]:
    """The options of a method and their defaults, as the command line finds them."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(method)
    return parser.get_defaults().as_dict()
