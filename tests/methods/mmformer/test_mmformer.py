"""Masking, losses, gradients and options of mmFormer behave as the dossier says (I.3 - I.6)."""

from __future__ import annotations

from math import log
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import Tensor

from methods.mmformer.module import MMFormer
from methods.parts.losses import class_probabilities, segmentation_loss
from tests.support.method_checks import (
    CHANNELS,
    CLASSES,
    SIZE,
    THREE,
    TWO,
    default_options,
    images,
    training_batch,
)
from usererror import UserError

SMALL = {"width": 16, "mlp": 24, "heads": 4, "grid": 3}
CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "method"
PARTS = (
    "encoders",
    "tokenisers",
    "tables",
    "intra",
    "inter",
    "reduction",
    "decoder",
    "unimodal_decoder",
)


def make(modalities: dict[str, int] = TWO, classes: int = CLASSES, **options) -> MMFormer:
    torch.manual_seed(0)
    return MMFormer(modalities, classes, **{**SMALL, **options})


def gradients(module: MMFormer, loss: Tensor) -> dict[str, bool]:
    """Which parts of the network, modality by modality, get a gradient that is not exactly zero."""
    module.zero_grad()
    loss.backward()
    found: dict[str, bool] = {}
    for name, parameter in module.network.named_parameters():
        part, inner = name.split(".")[:2]
        key = f"{part}.{inner}" if inner in module.modalities else part
        found[key] = found.get(key, False) or bool(
            parameter.grad is not None and parameter.grad.any()
        )
    assert {key.split(".")[0] for key in found} == set(PARTS)
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", ["instance", "layer"])
def test_masked_images_have_no_influence_and_the_mask_has(norm, training):
    """Dossier check 3, exactly."""
    network, given = make(THREE, norm=norm, dropout=0.0).network.train(training), images(THREE)
    present = {
        "rgb": torch.tensor([True, False]),
        "dsm": torch.tensor([True, True]),
        "sar": torch.tensor([False, True]),
    }
    noisy = {
        m: torch.where(present[m][:, None, None, None], x, 100 * torch.randn_like(x))
        for m, x in given.items()
    }
    with torch.no_grad():
        logits = [network.fuse(network.encode(x), present)[0] for x in (given, noisy)]
        assert torch.equal(logits[0], logits[1])
        other = {**present, "sar": torch.tensor([True, True])}
        changed = network.fuse(network.encode(given), other)[0]
        assert (changed[0] - logits[0][0]).abs().max() > 1e-2 and torch.allclose(
            changed[1], logits[0][1], atol=1e-5
        )


def test_a_batch_with_two_masks_is_two_batches_of_one():
    """Dossier check 6."""
    network = make(THREE).network.eval().double()
    given = {m: image.double() for m, image in images(THREE).items()}
    shown = (["rgb"], ["dsm", "sar"])
    present = {m: torch.tensor([m in names for names in shown]) for m in THREE}
    with torch.inference_mode():
        together = network.fuse(network.encode(given), present)[0]
        for i, names in enumerate(shown):
            alone = network.fuse(network.encode({m: given[m][i : i + 1] for m in names}))[0]
            torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)


def test_shapes_in_training():
    """Dossier check 2: one fused, four coarser and M unimodal outputs, all probabilities at the
    image's size.
    """
    module = make(THREE).train()
    encoded = module.encode(images(THREE))
    logits, extras = module.network.fuse(encoded)
    assert logits.shape == (2, CLASSES, 48, 80)
    assert [tuple(s.shape[-2:]) for s in extras["scales"]] == [(3, 5), (6, 10), (12, 20), (24, 40)]
    outputs = [logits, *extras["scales"], *module.network.decode_unimodal(encoded).values()]
    assert len(outputs) == 1 + 4 + 3
    for output in outputs:
        probabilities = class_probabilities(output, (48, 80), SIZE)
        assert probabilities.shape == (2, CLASSES, *SIZE)
        torch.testing.assert_close(probabilities.sum(1), torch.ones(2, *SIZE))


def test_evaluation_computes_neither_scales_nor_unimodal_maps():
    module = make().eval()
    encoded = module.encode(images(TWO))
    assert module.network.fuse(encoded)[1] == {} and not any(
        entry.maps for entry in encoded.values()
    )
    with pytest.raises(RuntimeError, match="training"):
        module.network.decode_unimodal(encoded)


def test_loss_of_a_uniform_prediction():
    """Dossier check 8: 7 x 2.08755 for balanced labels of five classes, one fused, four scales and
    two modalities.
    """
    module = make(classes=5).train()
    decoders = (module.network.decoder, module.network.unimodal_decoder)
    for head in (*decoders[0].heads, *(decoder.head for decoder in decoders)):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    batch = training_batch(TWO)
    batch["mask"] = (torch.arange(2 * 40 * 72) % 5).reshape(2, 40, 72)
    terms = module.training_losses(batch)
    single = 0.8 * log(5) + 0.8
    assert {name: term.item() / single for name, term in terms.items()} == pytest.approx(
        {"fused": 1, "scales": 4, "unimodal": 2}, rel=1e-5
    )
    assert module.weighted_sum(terms).item() == pytest.approx(14.613, abs=5e-4)


def test_unimodal_loss_reaches_encoders_and_its_decoder_only():
    """Dossier check 9, B4: not the transformers, although every modality is supervised, masked or
    not.
    """
    module = make(subsets="one_missing").train()
    found = gradients(module, module.training_losses(training_batch(TWO))["unimodal"])
    assert {key for key, any_gradient in found.items() if any_gradient} == {
        "encoders.rgb",
        "encoders.dsm",
        "unimodal_decoder",
    }


@pytest.mark.parametrize("term", ["fused", "scales"])
def test_fused_loss_does_not_reach_a_masked_encoder(term):
    """Dossier check 9; the table of the masked modality does learn: its positions stand in the
    joint attention.
    """
    module, batch = make().train(), training_batch(TWO)
    encoded = module.encode(batch["image"])
    logits, extras = module.network.fuse(
        encoded, {"rgb": torch.tensor([True] * 2), "dsm": torch.tensor([False] * 2)}
    )
    outputs = [logits] if term == "fused" else extras["scales"]
    loss = sum(
        segmentation_loss(class_probabilities(o, (48, 80), SIZE), batch["mask"]) for o in outputs
    )
    found = gradients(module, loss)
    for part in ("encoders", "tokenisers", "intra"):
        assert found[f"{part}.rgb"] and not found[f"{part}.dsm"]
    assert (
        found["tables.dsm"]
        and found["inter"]
        and found["reduction"]
        and not found["unimodal_decoder"]
    )


def test_every_subset_of_a_sample_is_equally_likely():
    """Dossier check 10: 2^M - 1 subsets, drawn per sample."""
    module, draws = make(THREE), 70_000
    batch = {
        "image": {m: torch.zeros(draws, c, 1, 1) for m, c in THREE.items()},
        "mask": torch.zeros(draws, 1, 1),
    }
    torch.manual_seed(1)
    drawn = module.draw_shown(batch)
    codes = sum(drawn[m] * 2**i for i, m in enumerate(THREE))
    frequencies = codes.bincount(minlength=8) / draws
    assert frequencies[0] == 0 and ((frequencies[1:] - 1 / 7).abs() < 0.006).all()


def test_training_with_modalities_that_are_really_missing():
    """A sample without the modality counts neither in the fusion nor in the unimodal loss."""
    module, batch = make(THREE, dropout=0.0).train(), training_batch(THREE)
    batch["image"].pop("dsm")
    batch["available"]["sar"][0] = False
    losses = []
    for noise in (0.0, 50.0):
        batch["image"]["sar"] = batch["image"]["sar"].clone()
        batch["image"]["sar"][0] += noise * torch.randn_like(batch["image"]["sar"][0])
        torch.manual_seed(0)
        losses.append(module.training_losses(batch))
    for name, term in losses[0].items():
        assert torch.equal(term, losses[1][name])
    found = gradients(module, module.weighted_sum(losses[1]))
    assert found["encoders.sar"] and not found["encoders.dsm"] and found["tables.dsm"]


def test_gradients_do_not_depend_on_the_values_of_missing_images():
    """Not even on infinite ones in the fused path of evaluation."""
    network, given = make().network.eval(), images(TWO)
    present = {"rgb": torch.tensor([True, True]), "dsm": torch.tensor([False, True])}
    clean = network.fuse(network.encode(given), present)[0]
    given["dsm"][0] = float("inf")
    assert torch.equal(network.fuse(network.encode(given), present)[0], clean)


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (2, 5), (3, 6)])
def test_classes_need_not_be_as_many_as_modalities(count, classes):
    """Dossier check 4, B1."""
    modalities = dict(list(CHANNELS.items())[:count])
    module = make(modalities, classes).eval()
    with torch.inference_mode():
        assert module(images(modalities)).shape == (2, classes, *SIZE)


def test_windows_of_another_size_interpolate_the_tables():
    """At the native grid a table is used as it is; elsewhere by bicubic interpolation, in training
    too.
    """
    module = make(grid=4).train()
    loss = module.weighted_sum(module.training_losses(training_batch(TWO)))
    loss.backward()
    assert loss.isfinite() and all(table.grad.any() for table in module.network.tables.values())
    assert not any(table.any() for table in module.network.tables.values())


def test_as_released_is_one_switch():
    released, ours = make(as_released=True), make()
    assert (released.network.to_map.__name__, released.amsgrad) == ("sequential_map", True)
    assert (ours.network.to_map.__name__, ours.amsgrad) == ("modality_major_map", False)
    mixed = make(as_released=True, layout="modality_major", amsgrad=False)
    assert (mixed.network.to_map.__name__, mixed.amsgrad) == ("modality_major_map", False)
    released.network.load_state_dict(ours.network.state_dict())
    with torch.inference_mode():
        given = images(TWO)
        assert not torch.allclose(released.eval()(given), ours.eval()(given), atol=1e-3)


@pytest.mark.parametrize("released", [False, True])
def test_optimiser(released):
    module = make(
        as_released=released, optimizer={"lr": 2e-4, "weight_decay": 1e-4, "warmup_epochs": 0}
    )
    module._trainer = SimpleNamespace(
        estimated_stepping_batches=10,
        num_training_batches=5,
        accumulate_grad_batches=1,
        strategy=None,
    )
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert type(optimizer).__name__ == ("Adam" if released else "AdamW")
    assert optimizer.defaults["amsgrad"] is released
    counted = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert counted == sum(p.numel() for p in module.parameters())
    rates = []
    for _ in range(10):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([2e-4 * (1 - step / 10) ** 0.9 for step in range(10)])


def test_shipped_configs():
    base = yaml.safe_load((CONFIGS / "mmformer.yaml").read_text())
    light = yaml.safe_load((CONFIGS / "mmformer_light.yaml").read_text())
    small = yaml.safe_load((CONFIGS / "mmformer.small.yaml").read_text())["model"]["init_args"]
    own = default_options(MMFormer)
    for name in ("norm", "subsets", "subsets_per"):
        assert base["model"]["init_args"][name] == own[name]
    sizes = {name: base["model"]["init_args"][name] for name in ("width", "mlp", "grid")}
    assert sizes == {"width": 512, "mlp": 4096, "grid": 512 // 16}
    assert light["cell"] == {"method": "mmformer", "variant": "mmformer_light"}
    assert light["model"]["init_args"] == {"width": 256, "mlp": 512}
    assert {name: small[name] for name in sizes} == {"width": 256, "mlp": 512, "grid": 128 // 16}


def test_what_cannot_be_configured():
    for options, word in (
        ({"norm": "batch"}, "instance nor layer"),
        ({"layout": "rows"}, "none of"),
        ({"heads": 3}, "3"),
    ):
        with pytest.raises(UserError, match=word):
            make(**options)
