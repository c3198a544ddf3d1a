"""A method's module from its name: the variant's options, the method's recipe, no weights."""

from __future__ import annotations

import pytest

from benchmark.experiment.models import build_model
from usererror import UserError

CHANNELS = {"rgb": 3, "dsm": 1}


def test_a_variant_is_built_with_its_own_options_and_without_weights() -> None:
    model = build_model("control_dropout", CHANNELS, 7, backbone="pvt_v2_b0")
    assert model.hparams["subsets"] == "any_subset" and model.hparams["pretrained"] is False
    assert (model.modalities, model.num_classes) == (CHANNELS, 7)


def test_the_scale_is_the_published_one() -> None:
    # SGMA dossier, section 9: 6e-5 with power 0.9; its small scale on the miniature has 5e-4
    recipe = build_model("sgma_additive", CHANNELS, 5, backbone="pvt_v2_b0").recipe
    assert (recipe.lr, recipe.poly_power) == (6e-5, 0.9)


def test_unknown_methods_are_named() -> None:
    with pytest.raises(UserError, match="Unknown METHOD 'sgm'.*Did you mean sgma"):
        build_model("sgm", CHANNELS, 2)
