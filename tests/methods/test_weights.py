"""Weight files that are not what a network needs: said by name, and never run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from methods.frozen_vit import FrozenViT
from methods.parts.backbones import create_pyramid
from methods.weights import noting_weights
from usererror import UserError

VIT = "vit_tiny_patch8"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def pyramid_state() -> State:
    return timm.create_model("pvt_v2_b0").state_dict()


@pytest.fixture(scope="module")
def vit_state() -> State:
    return dict(FrozenViT(VIT).model.named_buffers())


def load_pyramid(file: Path) -> Any:
    return create_pyramid("pvt_v2_b0", True, str(file))


def load_vit(file: Path) -> Any:
    return FrozenViT(VIT, True, str(file)).model


Loader = Callable[[Path], Any]
# a vector, which random weights have as zeros or ones and would not be missed by its values
LOADERS = [(load_pyramid, "stages.1.norm.bias"), (load_vit, "norm.bias")]


def state_of(loader: Loader, pyramid_state: State, vit_state: State) -> State:
    return dict(pyramid_state if loader is load_pyramid else vit_state)


@pytest.mark.parametrize(("loader", "key"), LOADERS)
def test_a_tensor_that_is_missing_is_an_error_with_its_name(
    loader: Loader, key: str, pyramid_state: State, vit_state: State, tmp_path: Path
) -> None:
    state = state_of(loader, pyramid_state, vit_state)
    torch.save(state, tmp_path / "whole.pth")
    loaded = loader(tmp_path / "whole.pth")
    found = {name.replace("stages_", "stages."): v for name, v in loaded.state_dict().items()}
    found |= dict(loaded.named_buffers())
    assert torch.equal(found[key], state[key])
    del state[key]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(UserError, match=key) as told:
        loader(tmp_path / "less.pth")
    assert "\n" not in str(told.value)


def test_tensors_without_a_use_are_printed(
    pyramid_state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**pyramid_state, "decoder.weight": torch.ones(3)}, tmp_path / "more.pth")
    load_pyramid(tmp_path / "more.pth")
    told = capsys.readouterr().out
    assert "hold 1 tensors: decoder.weight" in told and "more.pth" in told
    # the classifier is part of timm's network
    torch.save(pyramid_state, tmp_path / "whole.pth")
    load_pyramid(tmp_path / "whole.pth")
    assert capsys.readouterr().out == ""


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("loader", [load_pyramid, load_vit])
def test_code_in_a_file_is_not_run(loader: Loader, tmp_path: Path) -> None:
    torch.save({"a": Code(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="could not be loaded") as told:
        loader(tmp_path / "evil.pth")
    assert "\n" not in str(told.value) and not (tmp_path / "ran").exists()
    # the file would have done it
    pickle.loads(pickle.dumps(Code(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_weights_are_noted_instead_of_loaded() -> None:
    with noting_weights() as asked, torch.device("meta"):
        create_pyramid("resnet18.tv_in1k", True)
        FrozenViT(VIT, True, "somewhere.pth")
    assert asked == {"resnet18.tv_in1k": None, VIT: "somewhere.pth"}
    with pytest.raises(UserError, match="no weight file somewhere.pth"):
        FrozenViT(VIT, True, "somewhere.pth")
