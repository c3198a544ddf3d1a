"""The control's network as a student: labels of what it sees, a teacher's view of all sensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from methods.anyseg.losses import class_divergence
from methods.parts.diagnostics import name_feature_maps
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from methods.parts.network import stack_sensors
from methods.taught import TaughtSegmenter


class TaughtControl(TaughtSegmenter):
    """Learn `seg` from labels, `mad` from the teacher's classes, and more from its features.

    A subclass builds the network, names weights, and compares features in `feature_terms`.
    """

    def training_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute `seg` on the drawn subsets, and the distance to the teacher's view of all."""
        images, mask = batch["image"], batch["mask"]
        available, shown = self.available(batch), self.draw_shown(batch)
        encoded = self.network.encode_present(images, shown)
        logits = to_image_size(self.network.fuse(encoded, shown)[0], mask.shape[-2:])
        with torch.no_grad():
            taught = self.teacher.network.encode_present(images, available)
            wanted = self.teacher.network.fuse(taught, available)[0]
            wanted = to_image_size(wanted, mask.shape[-2:])
        terms = {"seg": cross_entropy(logits, mask, self.ignore_index)}
        if self.loss_weights["mad"]:
            terms["mad"] = class_divergence(logits, wanted)
        student, teacher = (stack_sensors([found[m] for m in shown]) for found in (encoded, taught))
        return terms | self.feature_terms(student, teacher, shown, mask)

    def feature_terms(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        shown: Mapping[str, Tensor],
        mask: Tensor,
    ) -> dict[str, Tensor]:
        """Compare features, per scale (M, B, C, h, w), of the M sensors that `shown` names.

        Args:
            shown: {modality: bool (B,)}, what the student saw.
            mask: labels (B, H, W).
        """
        raise NotImplementedError

    def diagnostics(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Show the encoder's maps before and after their mean."""
        encoded = self.encode(batch["image"])
        return name_feature_maps(self.network.fuse(encoded)[1]["features"], encoded)
