"""What every method must do, for two, three and four modalities and every subset of them.

A method's own test is three lines:

    class TestSGMA(MethodContract):
        method = SGMA
        options = {"backbone": "tiny_pvt_v2", "pretrained": False}
"""

from __future__ import annotations

import io
from copy import deepcopy
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from methods.base import AnyModalitySegmenter
from tests.support.method_checks import (
    CHANNELS,
    CLASSES,
    SIZE,
    THREE,
    TOLERANCE,
    check_cached_subsets,
    check_rounding,
    images,
    subsets,
    tensors_of,
    training_batch,
)


class MethodContract:
    """Subclass it with `method` and `options`; small widths keep it fast."""

    method: ClassVar[type[AnyModalitySegmenter]]
    options: ClassVar[dict[str, Any]] = {}
    # parameters whose gradient may be zero although they are connected, with the reason beside the
    # entry
    silent: ClassVar[tuple[str, ...]] = ()
    # loss terms that rounding the images alone moves by more than 2 %, with the reason beside them
    sensitive: ClassVar[tuple[str, ...]] = ()
    fewest: ClassVar[int] = 1  # modalities that the method can be built for
    # of modalities that it is built for; one is enough for what does not know their number: a
    # network behind the place where they meet, or a variant that differs in other things
    counts: ClassVar[tuple[int, ...]] = (2, 3, 4)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every test that asks for `modalities` gets them by `counts`."""
        if "modalities" in metafunc.fixturenames:
            given = [dict(list(CHANNELS.items())[:count]) for count in self.counts]
            names = [str(count) for count in self.counts]
            metafunc.parametrize("modalities", given, ids=names, scope="class")

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls, modalities: dict[str, int]) -> AnyModalitySegmenter:
        """As the constructor leaves it; tests change copies of it only."""
        return cls.make(modalities)

    @pytest.fixture
    def training(self, built: AnyModalitySegmenter) -> AnyModalitySegmenter:
        """In training mode, before any step."""
        torch.manual_seed(0)
        return deepcopy(built).train()

    @pytest.fixture(scope="class")
    @classmethod
    def settled(
        cls, built: AnyModalitySegmenter, modalities: dict[str, int]
    ) -> AnyModalitySegmenter:
        """In eval mode after one training pass, so that batch statistics are not their initial
        values; leave it so.
        """
        module = deepcopy(built)
        torch.manual_seed(0)
        with torch.no_grad():
            module.train().training_losses(training_batch(modalities))
        return module.eval()

    @classmethod
    def make(cls, modalities: dict[str, int] = THREE, seed: int = 0, **options: Any) -> Any:
        torch.manual_seed(seed)
        return cls.method(modalities=modalities, num_classes=CLASSES, **{**cls.options, **options})

    def test_every_subset_cached_or_masked_equals_direct(self, modalities, settled):
        check_cached_subsets(settled, images(modalities))

    def test_unknown_and_no_modalities_are_refused(self, settled):
        for call in (
            lambda: settled.encode({"lidar": torch.zeros(1, 3, 32, 32)}),
            lambda: settled.decode({}, (32, 32)),
        ):
            with pytest.raises(ValueError, match="non-empty subset"):
                call()

    def test_diagnostics_have_the_announced_shapes(self, modalities, settled):
        batch = training_batch(modalities)
        with torch.inference_mode():
            before = settled(batch["image"])
            found = settled.diagnostics(batch)
            assert torch.equal(settled(batch["image"]), before)
        sums: dict[tuple[str, str], Tensor] = {}
        for name, values in found.items():
            assert len(values) == 2 and values.ndim in (1, 3, 4) and values.isfinite().all(), name
            kind, *where = name.split("/")
            assert (kind in ("fused", "features")) == (values.ndim == 4), name
            if kind in ("robustness", "sampling", "draws"):
                assert where[0] in modalities
                sums[kind, where[1]] = sums.get((kind, where[1]), torch.zeros(())) + values
        for total in sums.values():
            torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)

    def test_scoring_reads_no_value_of_the_device(self):
        """A GPU would be waited for; the meta device has no values that could be read."""
        with torch.device("meta"), torch.inference_mode():
            module = self.make(THREE).eval()
            given = {m: torch.empty(2, channels, *SIZE) for m, channels in THREE.items()}
            encoded = module.encode(given)
            for subset in subsets(list(THREE)):
                module.decode({m: encoded[m] for m in subset}, SIZE)
            # the first round has folded weights
            logits = module.decode(module.encode(given), SIZE)
        assert logits.shape == (2, CLASSES, *SIZE)

    def test_the_fewest_modalities(self):
        modalities = dict(list(CHANNELS.items())[: self.fewest])
        with torch.inference_mode():
            logits = self.make(modalities).eval()(images(modalities))
        assert logits.shape == (2, CLASSES, *SIZE) and logits.isfinite().all()

    def test_sizes_and_single_samples(self, modalities, settled):
        module = settled
        for size in ((64, 64), (33, 95), (20, 20)):
            with torch.inference_mode():
                assert module(images(modalities, 1, size)).shape == (1, CLASSES, *size)

    def test_one_encoder_call_equals_a_call_for_each(self, modalities, settled):
        """Without and with gradients: in evaluation what shares an encoder does not touch there."""
        module, given = settled, images(modalities)
        with torch.no_grad():
            alone = [module.encode({m: image})[m] for m, image in given.items()]
            check_rounding(list(tensors_of(module.encode(given).values())), list(tensors_of(alone)))
        leaves = [image.requires_grad_() for image in given.values()]
        leaves += [p for p in module.parameters() if p.requires_grad]
        joint = list(tensors_of([module.encode(given)[m] for m in modalities]))
        alone = list(tensors_of([module.encode({m: given[m]})[m] for m in modalities]))
        check_rounding(joint, alone)
        found = []
        for parts in (joint, alone):
            generator = torch.Generator().manual_seed(2)
            parts = [part for part in parts if part.requires_grad]
            weights = [torch.randn(part.shape, generator=generator) for part in parts]
            gradients = torch.autograd.grad(parts, leaves, weights, materialize_grads=True)
            found.append(gradients)
        check_rounding(*found)

    def test_missing_pixels_have_no_influence(self, modalities, settled):
        module, given, other = settled, images(modalities), images(modalities, seed=1)
        with torch.inference_mode():
            encoded = module.encode(given)
            for kept in modalities:
                mixed = module.encode({m: (given if m == kept else other)[m] for m in modalities})
                logits = [
                    module.decode({kept: entries[kept]}, SIZE) for entries in (encoded, mixed)
                ]
                torch.testing.assert_close(logits[0], logits[1], **TOLERANCE)

    def test_order_of_the_dictionary_is_irrelevant(self, modalities, settled):
        module, given = settled, images(modalities)
        with torch.inference_mode():
            turned = module({m: given[m] for m in reversed(list(modalities))})
            torch.testing.assert_close(turned, module(given), **TOLERANCE)

    def test_samples_are_independent_in_eval(self, modalities, settled):
        module, given = settled, images(modalities)
        with torch.inference_mode():
            both = module(given)
            alone = torch.cat(
                [module({m: image[i : i + 1] for m, image in given.items()}) for i in range(2)]
            )
            torch.testing.assert_close(both, alone, **TOLERANCE)

    def test_eval_draws_nothing(self, modalities, settled):
        module, given = settled, images(modalities)
        before = torch.get_rng_state()
        with torch.inference_mode():
            first, second = module(given), module(given)
        assert torch.equal(first, second)
        assert torch.equal(before, torch.get_rng_state())

    def test_gradient_reaches_every_parameter(self, modalities, training):
        """Within three batches, of which a draw may leave sensors out."""
        named = dict(training.named_parameters())
        asked = [name for name in named if not name.endswith(self.silent or ("\0",))]
        for seed in range(3):
            torch.manual_seed(seed)
            batch = training_batch(modalities, seed=seed)
            training.weighted_sum(training.training_losses(batch)).backward()
            missed = [n for n, p in named.items() if p.grad is None or not p.grad.isfinite().all()]
            zero = [name for name in asked if name not in missed and not named[name].grad.any()]
            if not missed and not zero:
                break
        assert missed == []
        assert zero == []

    def test_losses_are_named_finite_and_repeatable(self, modalities, training):
        module, batch = training, training_batch(modalities)
        results = []
        for _ in range(2):
            torch.manual_seed(3)
            results.append(module.training_losses(batch))
        assert results[0] and set(results[0]) <= set(module.default_loss_weights)
        for name, term in results[0].items():
            assert term.ndim == 0 and term.isfinite()
            assert torch.equal(term, results[1][name])

    def test_a_batch_without_labels_is_finite(self, modalities, training):
        module, batch = training, training_batch(modalities)
        batch["mask"].fill_(255)
        loss = module.weighted_sum(module.training_losses(batch))
        loss.backward()
        assert loss.isfinite()

    def test_a_batch_that_lacks_sensors_trains_with_the_others(self):
        """A batch of scenes that lack the same ones, of which it has no pixels: two such steps."""
        module = self.make(THREE).train()
        for seed, names in enumerate((["dsm", "sar"], ["rgb"])):
            batch = training_batch({m: THREE[m] for m in names}, seed=seed)
            for m in THREE:
                batch["available"][m] = torch.full((2,), m in names)
            loss = module.weighted_sum(module.training_losses(batch))
            loss.backward()
            assert loss.isfinite()
            assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)

    def test_what_the_suite_sets_reaches_the_module(self):
        """A constructor that keeps them to itself trains with seed 0 in every run."""
        given = {**self.options, "seed": 7, "ignore_index": 254}
        module = self.method(modalities=THREE, num_classes=CLASSES, **given)
        assert (module.seed, module.ignore_index) == (7, 254)

    def test_a_training_step_waits_for_no_device(self):
        """The meta device has no values: whoever asks for one gets an error."""
        with torch.device("meta"):
            module = self.make(THREE).train()
        batch = training_batch(THREE)
        # the second sample lacks the second sensor
        batch["available"]["dsm"][1] = False
        batch["image"] = {m: image.to("meta") for m, image in batch["image"].items()}
        batch["mask"] = batch["mask"].to("meta")
        loss = module.weighted_sum(module.training_losses(batch))
        loss.backward()
        assert loss.device.type == "meta"

    def test_absent_sensors_train_nothing(self, modalities, built):
        """Per-sample gaps in training: what stands in an absent sensor's pixels reaches neither the
        loss nor a gradient, nor the statistics that evaluation uses.
        """
        batch, other = training_batch(modalities), images(modalities, seed=1)
        for place, m in enumerate(list(modalities)[1:]):
            batch["available"][m] = torch.arange(2) == place % 2
        found = []
        for noise in (0.0, 100.0):
            module = deepcopy(built).train()
            pixels = {}
            for m, image in batch["image"].items():
                absent = ~batch["available"][m][:, None, None, None]
                pixels[m] = torch.where(absent, noise * other[m], image)
            torch.manual_seed(3)
            loss = module.weighted_sum(module.training_losses({**batch, "image": pixels}))
            loss.backward()
            gradients = {name: p.grad for name, p in module.named_parameters()}
            found.append((loss.detach(), gradients, dict(module.named_buffers())))
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)

    def test_same_seed_same_network(self, modalities, built):
        first, second = built.state_dict(), self.make(modalities).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_loaded_weights_take_effect_at_once(self, modalities, settled):
        one, two, given = settled, self.make(modalities, seed=1).eval(), images(modalities)
        with torch.inference_mode():
            expected = one(given)
            assert not torch.allclose(two(given), expected, atol=1e-3)
            two.load_state_dict(one.state_dict())
            torch.testing.assert_close(two(given), expected, rtol=0, atol=0)

    def test_eval_with_gradients_equals_eval_without(self, modalities, settled):
        module, given = settled, images(modalities)
        with torch.inference_mode():
            expected = module(given)
        logits = module(given)
        assert logits.requires_grad
        torch.testing.assert_close(logits.detach(), expected, **TOLERANCE)

    def test_half_precision_follows_float32(self, modalities):
        """Two steps and an evaluation as with PRECISION=bf16, which rounds to 0.4 %: at the same
        weights the loss and its terms are float32's to 2 %.
        """
        half = self.make(modalities).train()
        exact = deepcopy(half)
        optimizer = torch.optim.AdamW(half.parameters(), lr=1e-4)
        for step in range(2):
            batch, found = training_batch(modalities, seed=step), []
            exact.load_state_dict(half.state_dict())
            for module in (half, exact):
                torch.manual_seed(step)
                with torch.autocast("cpu", torch.bfloat16, enabled=module is half):
                    terms = module.training_losses(batch)
                assert all(term.dtype == torch.float32 for term in terms.values())
                loss = module.weighted_sum(terms)
                found.append([loss, *(terms[name] for name in terms if name not in self.sensitive)])
            # a term of a thousandth is a difference of nearly equal numbers
            torch.testing.assert_close(*found, rtol=0.02, atol=1e-3)
            optimizer.zero_grad()
            found[0][0].backward()
            assert all(p.grad.isfinite().all() for p in half.parameters() if p.grad is not None)
            optimizer.step()
        half.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            encoded = half.encode(images(modalities))
            for subset in subsets(list(modalities)):
                logits = half.decode({m: encoded[m] for m in subset}, SIZE)
                # windows are stitched and compared in float32
                assert logits.dtype == torch.float32 and logits.isfinite().all()

    def test_hyperparameters_are_plain(self, modalities, built):
        buffer = io.BytesIO()
        torch.save(dict(built.hparams), buffer)
        buffer.seek(0)
        assert torch.load(buffer, weights_only=True)["modalities"] == modalities
