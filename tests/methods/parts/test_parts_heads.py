"""The all-MLP head against SegFormer's order of operations, its folding, and the way back to the
image's size.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from methods.parts.heads import AllMLPHead, to_image_size
from methods.parts.kernel_folding import FoldCache
from usererror import UserError

WIDTHS = (8, 12, 16, 20)


def maps(seed: int = 0, batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, c, 32 >> i, 24 >> i, generator=generator) for i, c in enumerate(WIDTHS)
    ]


def head(norm: str = "bn") -> AllMLPHead:
    """A head whose batch statistics and affine parameters are not their initial values."""
    torch.manual_seed(0)
    module = AllMLPHead(WIDTHS, 5, width=24, norm=norm)
    torch.nn.init.normal_(module.norm.weight)
    torch.nn.init.normal_(module.norm.bias)
    with torch.no_grad():
        for seed in range(5):
            module.train()([3 * x + 1 for x in maps(seed)])
    return module


def textbook(module: AllMLPHead, given: list[torch.Tensor]) -> torch.Tensor:
    """SegFormer: project, upsample_bilinear, concatenate, fuse, norm, ReLU, classify."""
    size = given[0].shape[-2:]
    wide = [
        F.interpolate(p(x), size=size, mode="bilinear")
        for p, x in zip(module.projections, given, strict=True)
    ]
    return module.classifier(F.relu(module.norm(module.fusion(torch.cat(wide, 1)))))


@pytest.mark.parametrize("norm", ["bn", "ln"])
def test_folded_equals_textbook(norm):
    module = head(norm).eval()
    with torch.inference_mode():
        expected = textbook(module, maps())
        assert (module(maps()) - expected).abs().max() < 1e-5 * max(1.0, expected.abs().max())


@pytest.mark.parametrize("norm", ["bn", "ln"])
def test_mixes_may_be_averaged(norm):
    """The head of mean maps is the rest of the head after the mean of the mixes, which it leaves as
    they are.
    """
    module, given = head(norm).eval(), [maps(seed) for seed in range(3)]
    with torch.inference_mode():
        mean = sum(module.mix_scales(one) for one in given) / 3
        before = mean.clone()
        expected = textbook(module, [sum(scale) / 3 for scale in zip(*given, strict=True)])
        torch.testing.assert_close(
            module.classify_mixed(module.activate_mixed(mean)), expected, rtol=1e-4, atol=1e-5
        )
        assert torch.equal(mean, before)


@pytest.mark.parametrize("norm", ["bn", "ln"])
def test_training_form_equals_textbook(norm):
    module = head(norm).train()
    module.dropout.eval()
    torch.testing.assert_close(module(maps()), textbook(module, maps()), rtol=1e-4, atol=1e-5)


def test_gradients_in_eval_reach_the_weights():
    results = []
    for form in (AllMLPHead.__call__, textbook):
        module = head().eval().double()
        form(module, [x.double() for x in maps()]).square().sum().backward()
        results.append([p.grad for p in module.parameters()])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


def test_folded_once_per_phase_and_anew_after_a_change(monkeypatch):
    module, count = head().eval(), []
    folded = AllMLPHead._folded
    monkeypatch.setattr(AllMLPHead, "_folded", lambda self: count.append(1) or folded(self))

    def check() -> int:
        with torch.inference_mode():
            torch.testing.assert_close(
                module(maps()), textbook(module, maps()), rtol=1e-4, atol=1e-4
            )
            module(maps())
        return len(count)

    assert check() == 1 and check() == 1
    module.eval()
    assert check() == 2
    other = {name: value + 0.1 * value.abs() for name, value in head().state_dict().items()}
    module.load_state_dict(other)
    assert check() == 3
    with torch.no_grad():
        module.fusion.weight.add_(0.1)
    assert check() == 4
    module.norm.weight = torch.nn.Parameter(torch.rand(24))
    assert check() == 5
    module.norm.running_var.mul_(2)
    assert check() == 6


def test_fold_made_under_inference_mode_serves_later_calls():
    module = head().eval()
    with torch.inference_mode():
        expected = module(maps())
    with torch.no_grad():
        assert not module(maps()).is_inference()
    logits = module([x.requires_grad_() for x in maps()])
    logits.sum().backward()
    torch.testing.assert_close(logits.detach(), expected, rtol=1e-4, atol=1e-5)


def test_copies_start_with_an_empty_cache():
    module = head().eval()
    with torch.inference_mode():
        module(maps())
    copied = copy.deepcopy(module)
    assert copied._fold is not module._fold and copied._fold._value is None
    assert isinstance(FoldCache().__reduce__()[0](), FoldCache)


def test_parameters_built_under_inference_mode_are_folded_each_time():
    with torch.inference_mode():
        module = AllMLPHead(WIDTHS, 5, width=24).eval()
        first = module(maps())
        module.classifier.bias.add_(1)
        torch.testing.assert_close(module(maps()), first + 1)


def test_half_precision_head_is_close():
    module = head().eval()
    with torch.inference_mode():
        expected = module(maps())
        with torch.autocast("cpu", torch.bfloat16):
            half = module(maps())
    assert (half - expected).abs().max() < 0.05 * expected.abs().max()


def test_unknown_norm():
    with pytest.raises(UserError, match="bn, syncbn, ln"):
        AllMLPHead(WIDTHS, 5, norm="gn")


def test_back_to_the_images_size():
    logits = torch.randn(1, 3, 16, 24)
    full = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    for size in ((64, 96), (33, 95), (1, 33)):
        torch.testing.assert_close(to_image_size(logits, size), full[..., : size[0], : size[1]])
    for size in ((65, 96), (64, 32), (64, 200)):
        with pytest.raises(ValueError, match="cannot be cropped"):
            to_image_size(logits, size)
