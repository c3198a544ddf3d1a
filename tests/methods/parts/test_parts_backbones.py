"""Encoders: channels, padding, packing, and where pretrained weights come from."""

from __future__ import annotations

import time
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from methods.parts.backbones import (
    SharedEncoder,
    create_pyramid,
    pad_to_multiple,
    to_three_channels,
)
from methods.weights import locate_weights
from usererror import UserError


def test_three_channels():
    image = torch.randn(2, 5, 4, 4)
    assert torch.equal(to_three_channels(image[:, :3]), image[:, :3])
    assert torch.equal(to_three_channels(image[:, :1]), image[:, [0, 0, 0]])
    two = to_three_channels(image[:, :2])
    torch.testing.assert_close(
        two, torch.stack([image[:, 0], image[:, :2].mean(1), image[:, 1]], 1)
    )
    # more channels: torch's adaptive average over the channel axis
    for channels in (2, 4, 5):
        rows = image[:, :channels].flatten(2).transpose(1, 2)
        expected = (
            torch.nn.functional.adaptive_avg_pool1d(rows, 3).transpose(1, 2).reshape(2, 3, 4, 4)
        )
        torch.testing.assert_close(to_three_channels(image[:, :channels]), expected)


def test_padding_replicates_the_edge():
    image = torch.arange(33.0 * 40).reshape(1, 1, 33, 40)
    padded = pad_to_multiple(image)
    assert padded.shape == (1, 1, 64, 64)
    assert torch.equal(padded[..., :33, :40], image)
    assert (padded[..., 33:, :40] == image[..., -1:, :]).all() and (
        padded[..., :33, 40:] == image[..., -1:]
    ).all()
    assert pad_to_multiple(padded) is padded


@pytest.mark.parametrize(
    ("name", "widths"), [("pvt_v2_b0", (32, 64, 160, 256)), ("resnet50", (256, 512, 1024, 2048))]
)
def test_packing_changes_nothing(name, widths):
    torch.manual_seed(0)
    encoder = SharedEncoder(name).eval()
    assert encoder.channels == widths
    images = {"rgb": torch.randn(2, 3, 64, 40), "dsm": torch.randn(2, 1, 64, 40)}
    with torch.inference_mode():
        packed = encoder(images)
        for m, image in images.items():
            for feature, alone, stride in zip(
                packed[m], encoder({m: image})[m], (4, 8, 16, 32), strict=True
            ):
                assert feature.shape[-2:] == (64 // stride, 64 // stride)
                torch.testing.assert_close(feature, alone, rtol=1e-4, atol=1e-5)


def test_modalities_of_different_size_are_encoded_apart():
    encoder = SharedEncoder("pvt_v2_b0").eval()
    with torch.inference_mode():
        maps = encoder({"rgb": torch.randn(1, 3, 64, 64), "dsm": torch.randn(1, 1, 32, 32)})
    assert maps["rgb"][0].shape[-1] == 16 and maps["dsm"][0].shape[-1] == 8


def test_reduction():
    assert SharedEncoder("pvt_v2_b0", reduce_to="auto").reduction is None
    assert SharedEncoder("pvt_v2_b0", reduce_to=[8, 8, 8, 16]).channels == (8, 8, 8, 16)
    with pytest.raises(UserError, match="4 widths"):
        SharedEncoder("pvt_v2_b0", reduce_to=[8])
    with pytest.raises(UserError, match="auto"):
        SharedEncoder("pvt_v2_b0", reduce_to="half")


def test_backbones_that_do_not_fit():
    with pytest.raises(UserError, match="knows no backbone pvt_v2_b9"):
        create_pyramid("pvt_v2_b9")
    with pytest.raises(UserError, match="strides"):
        create_pyramid("vit_tiny_patch16_224")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty cache and a hub that does not answer."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(7)
    return timm.create_model("pvt_v2_b0").state_dict()


def assert_loaded(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    # timm renames `stages.0` to `stages_0` in its feature extractors
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name.replace("stages_", "stages.")])


def test_no_weights_fails_at_once_with_the_remedy(offline):
    start = time.monotonic()
    with pytest.raises(UserError, match="pvt_v2_b2.*pretrained_path.*pretrained: false"):
        create_pyramid("pvt_v2_b2", pretrained=True)
    assert time.monotonic() - start < 5


def test_weights_from_a_file(offline, classifier):
    for name, write in (("w.pth", torch.save), ("w.safetensors", save_file)):
        write(classifier, offline / name)
        assert_loaded(create_pyramid("pvt_v2_b0", True, str(offline / name)), classifier)


def test_weights_from_the_cache(offline, classifier):
    repository = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--timm--pvt_v2_b0.in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    file = repository / "snapshots" / "abc" / "model.safetensors"
    save_file(classifier, file)
    assert locate_weights("pvt_v2_b0") == file
    assert_loaded(create_pyramid("pvt_v2_b0", pretrained=True), classifier)


def test_weights_from_torchs_cache(offline):
    file = (
        offline
        / "torch"
        / "checkpoints"
        / timm.get_pretrained_cfg("resnet50").url.rsplit("/", 1)[-1]
    )
    file.parent.mkdir(parents=True)
    file.touch()
    assert locate_weights("resnet50") == file


def test_weight_files_that_do_not_fit(offline, classifier):
    with pytest.raises(UserError, match="no weight file"):
        create_pyramid("pvt_v2_b0", True, str(offline / "none.pth"))
    (offline / "text.pth").write_text("no weights")
    with pytest.raises(UserError, match="could not be loaded"):
        create_pyramid("pvt_v2_b0", True, str(offline / "text.pth"))
    half = {name: value for name, value in classifier.items() if not name.startswith("stages.3")}
    torch.save(half, offline / "half.pth")
    with pytest.raises(UserError, match=r"lack \d+ tensors: stages\.3"):
        create_pyramid("pvt_v2_b0", True, str(offline / "half.pth"))
    with pytest.raises(UserError, match="no weights for"):
        locate_weights("not_a_model")
