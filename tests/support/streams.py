"""What networks with a stream per sensor must do beside what all methods do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from methods.parts.heads import to_image_size
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    SIZE,
    THREE,
    images,
    subsets,
    training_batch,
)


def build_on_meta(network: Any, channels: list[int], classes: int = 6, **options: Any) -> Any:
    """Build a network without values for modalities of these channels, in eval mode."""
    with torch.device("meta"):
        modalities = {f"sensor{place}": count for place, count in enumerate(channels)}
        return network(modalities, classes, **options).eval()


def doubled(size: tuple[int, int] = SIZE) -> dict[str, Tensor]:
    """Images in double precision: rounding would choose between nearly equal pixels of a window."""
    return {m: image.double() for m, image in images(THREE, size=size).items()}


class StreamContract(MethodContract):
    """The checks of the dossier's sections 1.2 and 17 that all these networks share."""

    def test_a_missing_sensor_is_an_image_of_zeros(self):
        module, given = self.make().eval().double(), doubled()
        with torch.inference_mode():
            for subset in subsets(list(THREE)):
                zeros = {m: torch.zeros_like(image) for m, image in given.items()}
                explicit = module(zeros | {m: given[m] for m in subset})
                missing = module({m: given[m] for m in subset})
                torch.testing.assert_close(missing, explicit, rtol=1e-9, atol=1e-9)

    def test_training_and_evaluation_take_one_way(self):
        """`forward` writes zeros into images, `fuse` takes what zeros would have given."""
        network, given = self.make().eval().double().network, doubled()
        present = {m: torch.tensor([True, place == 0]) for place, m in enumerate(THREE)}
        with torch.inference_mode():
            logits = network.fuse(network.encode(given), present)[0]
            logits = to_image_size(logits, SIZE, network.stride)
            torch.testing.assert_close(network(given, present), logits, rtol=1e-9, atol=1e-9)

    def test_the_statistics_of_a_batch_see_zeros(self):
        batch, (_, *rest) = training_batch(THREE), THREE
        nobody = {m: torch.zeros(2, dtype=torch.bool) for m in rest}
        zeros = {m: torch.zeros_like(batch["image"][m]) for m in rest}
        absent = {**batch, "available": batch["available"] | nobody}
        blank = {**batch, "image": batch["image"] | zeros}
        found = []
        for given in (absent, blank):
            module = self.make().train()
            torch.manual_seed(0)
            module.training_losses(given)
            found.append(dict(module.named_buffers()))
        assert found[0]
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)

    @pytest.mark.parametrize("size", [(64, 64), (96, 160), (50, 50)])
    def test_logits_have_the_images_size(self, size):
        module = self.make().eval()
        with torch.inference_mode():
            logits = module(images(module.modalities, 1, size))
        assert logits.shape == (1, CLASSES, *size) and logits.isfinite().all()
