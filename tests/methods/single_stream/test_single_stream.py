"""What all networks of one image share: the first layer, what they see, losses, weights."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch.nn import functional as F

from methods.parts.backbones import pad_to_multiple, widen
from methods.parts.heads import to_image_size
from methods.single_stream.first_layer import create_resnet, respond
from methods.single_stream.module import SingleStream
from tests.support.method_checks import (
    CLASSES,
    FOUR,
    SIZE,
    THREE,
    TOLERANCE,
    images,
    subsets,
    training_batch,
)
from tests.support.single_stream import ARCHITECTURES, RESNET, SingleStreamContract
from usererror import UserError

OPTIONS = {**RESNET, "architecture": "unetformer"}


class TestOptical(SingleStreamContract):
    options = {**OPTIONS, "inputs": "optical", "subsets": "any_subset", "loss": "geoseg"}
    counts = (2, 3, 4)


class Early(SingleStreamContract):
    options = OPTIONS


optical, every = TestOptical.make, Early.make


def zeros_for(missing, given):
    return {m: torch.zeros_like(x) if m in missing else x for m, x in given.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_first_layer_is_the_convolution_of_all_channels_with_zeros_for_what_is_missing(name):
    network = every(FOUR, architecture=name, **ARCHITECTURES[name]).eval().network
    given, caught = images(FOUR), []
    network.model.forward = lambda sums: (caught.extend(sums), [])
    encoded = network.encode(given)
    assert len(network.model.first) == (2 if name == "abcnet" else 1)
    for subset in subsets(list(FOUR)):
        caught.clear()
        network.fuse({m: encoded[m] for m in subset})
        blank = {m: torch.zeros_like(padded) for m, padded in padded_images(given).items()}
        whole = {**blank, **{m: padded_images(given)[m] for m in subset}}
        side_by_side = torch.cat([whole[m] for m in FOUR], 1)
        for found, conv in zip(caught, network.model.first, strict=True):
            torch.testing.assert_close(found, conv(side_by_side), **TOLERANCE)


def padded_images(given):
    return {m: pad_to_multiple(image) for m, image in given.items()}


@pytest.mark.parametrize("make", [optical, every])
def test_a_missing_key_is_an_image_of_zeros(make):
    module, given = make(FOUR).eval(), images(FOUR)
    with torch.inference_mode():
        for subset in subsets(list(FOUR)):
            alone = module({m: given[m] for m in subset})
            whole = module(zeros_for(set(FOUR) - set(subset), given))
            torch.testing.assert_close(alone, whole, **TOLERANCE)


def test_the_optical_network_sees_one_modality():
    modalities = {"dsm": 1, "irrg": 3, "rgb": 3}
    module, given = optical(modalities).eval(), images(modalities)
    first = module.network.model.first[0]
    assert first.in_channels == 3
    with torch.inference_mode():
        expected = module({"irrg": given["irrg"]})
        assert torch.equal(module(given), expected)
        assert torch.equal(module(zeros_for({"dsm", "rgb"}, given)), expected)
        # the network by itself, on the image
        padded = pad_to_multiple(given["irrg"])
        logits, _ = module.network.model([first(padded)])
        assert torch.equal(expected, to_image_size(logits, SIZE))
        blind = module({"dsm": given["dsm"]})
        assert torch.equal(blind, module({"irrg": torch.zeros_like(given["irrg"])}))
    # nothing has three channels: the first one
    assert optical({"dsm": 1, "sar": 2}).network.model.first[0].in_channels == 1


@pytest.mark.parametrize("make", [optical, every])
def test_a_subset_is_seen_where_its_pixels_change_a_logit(make):
    module, given, other = make(FOUR).eval(), images(FOUR), images(FOUR, seed=1)
    with torch.inference_mode():
        for subset in subsets(list(FOUR)):
            one = module({m: given[m] for m in subset})
            two = module({m: other[m] for m in subset})
            assert module.sees(subset) == (not torch.equal(one, two)), subset


def test_what_was_scored_on_images_of_zeros_is_another_experiment():
    assert SingleStream.revision_of({"inputs": "optical"}) == 2
    assert SingleStream.revision_of({"inputs": "all"}) == SingleStream.revision_of({}) == 1


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (250, 250)])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sizes(name, size):
    module = every({"rgb": 3}, architecture=name, **ARCHITECTURES[name]).eval()
    given = images({"rgb": 3}, size=size)
    with torch.inference_mode():
        assert module(given).shape == (2, CLASSES, *size)
        network = module.train().network
        logits, extras = network.fuse(network.encode(given))
        heads = {"unetformer": 1, "abcnet": 2, "pspnet": 1}.get(name, 0)
        assert len(extras["auxiliary"]) == heads
        for guess in extras["auxiliary"]:
            stride = network.stride * logits.shape[-1] // guess.shape[-1]
            assert to_image_size(guess, size, stride).shape == (2, CLASSES, *size)
        assert module.eval().network.fuse(network.encode(given))[1] == {"auxiliary": []}


def test_widened_kernel_keeps_the_image_and_repeats_its_mean():
    conv = torch.nn.Conv2d(3, 5, 7, stride=2, padding=3)
    wide = widen(conv, [1, 3, 2, 3], keep=True)
    mean = conv.weight.mean(1)
    assert torch.equal(wide.weight[:, 1:4], conv.weight) and torch.equal(wide.bias, conv.bias)
    for channel in (0, 4, 5, 6, 7, 8):
        torch.testing.assert_close(wide.weight[:, channel], mean)
    # a grey image in three channels is one channel with three times the kernel
    grey, other = torch.randn(1, 1, 16, 16), widen(conv, [1], keep=True)
    alike = 3 * respond(other, grey, slice(0, 1)) + conv.bias[:, None, None]
    torch.testing.assert_close(alike, conv(grey.expand(-1, 3, -1, -1)), **TOLERANCE)
    assert widen(conv, [3], keep=False) is conv
    drawn = widen(conv, [2], keep=False).weight.std().item()
    assert drawn == pytest.approx((2 / 49 / 5) ** 0.5, rel=0.1)


def test_pretrained_weights_are_kept(tmp_path):
    original = timm.create_model(RESNET["backbone"])
    torch.save(original.state_dict(), tmp_path / "weights.pth")
    words = {**OPTIONS, "pretrained": True, "pretrained_path": str(tmp_path / "weights.pth")}
    module = every({"dsm": 1, "rgb": 3}, **words)
    kernel = original.conv1[0].weight
    assert torch.equal(module.network.model.first[0].weight[:, 1:], kernel)
    deep = original.layer4[0].conv1.weight
    assert torch.equal(module.network.model.pyramid["layer4"][0].conv1.weight, deep)


def test_the_rest_of_the_resnet_is_timms():
    torch.manual_seed(0)
    first, rest = create_resnet([3], "resnet18", False, None)
    torch.manual_seed(0)
    whole = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3, 4))
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        for found, expected in zip(rest.eval()(first(image)), whole.eval()(image), strict=True):
            assert torch.equal(found, expected)


def test_mistakes_are_named():
    for words, match in (
        ({"inputs": "rgb"}, "neither all nor optical"),
        ({"architecture": "wnet"}, "none of unetformer"),
        ({"loss": "focal"}, "neither cross_entropy nor geoseg"),
        ({"backbone": "pvt_v2_b0"}, "no ResNet"),
    ):
        with pytest.raises(UserError, match=match):
            every(**words)


def test_geosegs_terms_are_those_of_the_dossier():
    """Section 2.5, with sums written out."""
    module, batch = optical().train(), training_batch(THREE)
    mask = batch["mask"]
    torch.manual_seed(0)
    logits = torch.randn(2, CLASSES, *mask.shape[1:])
    found = module.entropy(logits, mask)
    smoothed = F.cross_entropy(
        logits, mask, ignore_index=255, label_smoothing=0.05, reduction="sum"
    )
    torch.testing.assert_close(found, smoothed / mask.numel())
    log, valid = logits.log_softmax(1), mask != 255
    nll = -log.gather(1, torch.where(valid, mask, 0)[:, None])[:, 0]
    by_hand = torch.where(valid, 0.95 * nll - 0.05 / CLASSES * log.sum(1), 0.0)
    torch.testing.assert_close(found, by_hand.mean())
    assert found < 0.95 * F.cross_entropy(logits, mask, ignore_index=255, label_smoothing=0.05)


def test_dice_is_that_of_the_dossier_and_a_class_that_is_not_there_counts_nothing():
    module, batch = optical().train(), training_batch(THREE)
    mask = batch["mask"]
    mask[mask == 2] = 255
    caught = {}

    def keep(_part, _given, result):
        caught["logits"] = result[0].detach()

    module.network.model.register_forward_hook(keep)
    terms = module.training_losses(batch)
    assert set(terms) == {"seg", "dice", "auxiliary"}
    share = to_image_size(caught["logits"], SIZE).softmax(1) * (mask != 255)[:, None]
    losses = []
    for label in range(CLASSES):
        where = (mask == label).float()
        overlap, total = (share[:, label] * where).sum(), share[:, label].sum() + where.sum()
        score = 1 - (2 * overlap + 0.05) / (total + 0.05)
        losses.append(score if where.any() else torch.zeros(()))
    torch.testing.assert_close(terms["dice"].detach(), torch.stack(losses).mean())
    # and the library's own convention
    assert (
        smp.losses.DiceLoss("multiclass", smooth=0.05, ignore_index=255)(
            to_image_size(caught["logits"], SIZE), mask
        )
        != terms["dice"]
    )


def test_the_suites_loss_is_the_default_and_heads_count_by_their_weight():
    module, batch = every().train(), training_batch(THREE)
    assert module.loss_weights["auxiliary"] == 0.4
    torch.manual_seed(0)
    terms = module.training_losses(batch)
    assert set(terms) == {"seg", "auxiliary"}
    torch.testing.assert_close(module.weighted_sum(terms), terms["seg"] + 0.4 * terms["auxiliary"])
