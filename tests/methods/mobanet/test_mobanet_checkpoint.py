"""Frozen weights: where they come from, that checkpoints do not hold them, and that other ones are
noticed.
"""

from __future__ import annotations

import copy
import time

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from methods.frozen_vit import FrozenViT, build_vit, hash_tensors
from methods.mobanet.module import MoBaNet
from tests.support.method_checks import (
    CLASSES,
    images,
)
from tests.support.mobanet_tiny import TWO, make
from usererror import UserError

SMALL = "vit_small_patch14_dinov2"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty cache and a hub that does not answer."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


@pytest.fixture
def weights(tmp_path):
    """A weight file for the tiny backbone."""
    file = tmp_path / "tiny.pth"
    torch.save(build_vit("vit_tiny_patch8", False, None, seed=77).state_dict(), file)
    return str(file)


def saved(module: MoBaNet, path) -> dict[str, torch.Tensor]:
    """The state dict on disk and back, as a checkpoint is read."""
    torch.save({"state_dict": module.state_dict()}, path)
    return torch.load(path, weights_only=True)["state_dict"]


def test_a_checkpoint_holds_the_trained_part_and_a_note(tmp_path):
    module = make()
    state = saved(module, tmp_path / "c.ckpt")
    trained = {name for name, _ in module.named_parameters()}
    extra = set(state) - trained
    assert trained < set(state) and "network.backbone._extra_state" in extra
    statistics = ("running_mean", "running_var", "num_batches_tracked", "_extra_state")
    assert all(name.endswith(statistics) for name in extra)
    assert not any("backbone.model" in name for name in state)


def test_size_of_a_checkpoint_of_vit_base(tmp_path):
    """24.7 MB of float32 for 6.18 million values, where the frozen part alone has 346 MB."""
    with torch.device("meta"):
        module = MoBaNet(TWO, 6, backbone="vit_base_patch14_dinov2", pretrained=False)
    state = {
        name: torch.empty_like(value, device="cpu") for name, value in module.state_dict().items()
    }
    torch.save(state, tmp_path / "c.ckpt")
    assert 24.7e6 < (tmp_path / "c.ckpt").stat().st_size < 25.2e6


def test_loading_restores_the_network(tmp_path):
    one, two = make(seed=0), make(seed=1)
    state = saved(one, tmp_path / "c.ckpt")
    two.load_state_dict(state)
    with torch.inference_mode():
        assert torch.equal(one.eval()(images(TWO)), two.eval()(images(TWO)))


def test_another_backbone_is_named(tmp_path):
    state = saved(make(), tmp_path / "c.ckpt")
    with pytest.raises(
        UserError, match="frozen backbone is vit_tiny_patch8, not samvit_tiny_patch8"
    ):
        make(backbone="samvit_tiny_patch8").load_state_dict(state)


def test_other_frozen_weights_are_noticed(tmp_path, weights):
    random = saved(make(), tmp_path / "c.ckpt")
    pretrained = make(pretrained=True, pretrained_path=weights)
    with pytest.raises(UserError, match="random weights of seed 0 with hash .*, here pretrained"):
        pretrained.load_state_dict(random)
    torch.manual_seed(0)
    other = MoBaNet(TWO, CLASSES, seed=4, backbone="vit_tiny_patch8", pretrained=False)
    with pytest.raises(UserError, match="seed 0 .* of seed 4"):
        other.load_state_dict(random)
    state = saved(pretrained, tmp_path / "p.ckpt")
    torch.save(
        build_vit("vit_tiny_patch8", False, None, seed=78).state_dict(), tmp_path / "other.pth"
    )
    with pytest.raises(UserError, match="pretrained weights with hash"):
        make(pretrained=True, pretrained_path=str(tmp_path / "other.pth")).load_state_dict(state)


def test_a_file_of_another_method_does_not_load(tmp_path):
    state = saved(make(), tmp_path / "c.ckpt")
    del state["network.backbone._extra_state"]
    with pytest.raises(RuntimeError, match="_extra_state"):
        make().load_state_dict(state)


def test_weights_left_out_at_building_are_fetched_at_loading(tmp_path, weights):
    """Evaluation builds with pretrained: false, since checkpoints elsewhere hold everything."""
    trained = make(pretrained=True, pretrained_path=weights)
    state = saved(trained, tmp_path / "c.ckpt")
    rebuilt = make(pretrained=False, pretrained_path=weights, seed=9)
    rebuilt.load_state_dict(state)
    given = images(TWO)
    with torch.inference_mode():
        assert torch.equal(trained.eval()(given), rebuilt.eval()(given))
    assert torch.equal(
        rebuilt.state_dict()["network.backbone._extra_state"],
        state["network.backbone._extra_state"],
    )


def test_weights_that_cannot_be_fetched_at_loading(offline, weights, tmp_path):
    state = saved(make(pretrained=True, pretrained_path=weights), tmp_path / "c.ckpt")
    with pytest.raises(UserError, match="pretrained_path"):
        make(pretrained=False).load_state_dict(state)


def test_no_weights_fails_at_once_with_the_remedy(offline):
    start = time.monotonic()
    for name in (SMALL, "samvit_base_patch16"):
        with pytest.raises(UserError, match=f"{name}.*pretrained_path.*pretrained: false"):
            FrozenViT(name, pretrained=True)
    with pytest.raises(UserError, match="no weights for vit_tiny_patch8"):
        FrozenViT("vit_tiny_patch8", pretrained=True)
    with pytest.raises(UserError, match="no weight file"):
        FrozenViT(SMALL, pretrained=True, pretrained_path=str(offline / "none.pth"))
    assert time.monotonic() - start < 20


def test_weights_of_dinov2_from_a_file(offline):
    """The original checkpoint has timm's names and a mask token."""
    torch.manual_seed(5)
    original = timm.create_model(SMALL, num_classes=0).state_dict()
    with_token = {**original, "mask_token": torch.zeros(1, 384)}
    torch.save(with_token, offline / "original.pth")
    loaded = dict(FrozenViT(SMALL, True, str(offline / "original.pth")).model.named_buffers())
    assert set(loaded) == set(original) and all(
        torch.equal(loaded[name], original[name]) for name in original
    )
    incomplete = {
        name: value for name, value in original.items() if name != "blocks.3.attn.qkv.weight"
    }
    save_file(incomplete, offline / "incomplete.safetensors")
    with pytest.raises(UserError, match="could not be loaded"):
        FrozenViT(SMALL, True, str(offline / "incomplete.safetensors"))


def test_random_weights_depend_on_the_seed_alone():
    before = torch.get_rng_state()
    one = FrozenViT("vit_tiny_patch8", seed=1)
    assert torch.equal(torch.get_rng_state(), before), "nothing is drawn from the global generator"
    torch.manual_seed(123)
    assert (
        FrozenViT("vit_tiny_patch8", seed=1).hash
        == one.hash
        != FrozenViT("vit_tiny_patch8", seed=2).hash
    )


def test_the_hash_sees_every_bit_and_no_layout():
    model = build_vit("samvit_tiny_patch8", False, None, seed=0)
    first = hash_tensors(model)
    assert (
        len(first) == 64
        and hash_tensors(copy.deepcopy(model).to(memory_format=torch.channels_last)) == first
    )
    with torch.no_grad():
        value = model.blocks[2].mlp.fc2.bias
        value[3] = torch.nextafter(value[3], value[3] + 1)
    assert hash_tensors(model) != first


def test_frozen_weights_follow_the_module():
    module = make().double()
    assert module.network.backbone.model.cls_token.dtype == torch.float64
    given = {m: x.double() for m, x in images(TWO).items()}
    assert module.eval()(given).dtype == torch.float64
    twin = copy.deepcopy(module)
    assert torch.equal(twin(given), module(given))
