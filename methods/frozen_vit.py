"""The frozen vision transformers: built by name, kept out of optimisers and checkpoints.

Names are timm's (DINOv2: `vit_base_patch14_dinov2`, `vit_large_patch14_dinov2`; SAM:
`samvit_base_patch16`, `samvit_large_patch16`), or one of `TINY`, ours for tests and miniatures.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.precision import no_autocast
from methods.weights import check_keys, explained_loading, locate_weights, only_noted
from usererror import UserError

STAGES = 4
# width 192 as in ViT-Ti; a patch of 8 px leaves a 128 px window as many tokens as 14 px leave one
# of 224
_SMALL = {"patch_size": 8, "embed_dim": 192, "depth": 4, "num_heads": 3, "num_classes": 0}
_SMALL_SAM = {
    **_SMALL,
    "img_size": 128,
    "use_rel_pos": True,
    "window_size": 7,
    "global_attn_indexes": (1, 3),
    "neck_chans": None,
}
TINY: dict[str, dict[str, Any]] = {
    "vit_tiny_patch8": {**_SMALL, "img_size": 128, "init_values": 1.0},
    "samvit_tiny_patch8": _SMALL_SAM,
    # for tests whose every subset is a pass of all streams
    "samvit_micro_patch16": {
        **_SMALL_SAM,
        "img_size": 256,
        "patch_size": 16,
        "embed_dim": 48,
        "neck_chans": 128,
    },
}
KNOWN = (
    "vit_small_patch14_dinov2",
    "vit_base_patch14_dinov2",
    "vit_large_patch14_dinov2",
    "samvit_base_patch16",
    "samvit_large_patch16",
    *TINY,
)


def _timm_model(name: str, pretrained: bool = False, file: Path | None = None) -> nn.Module:
    """The model of timm, or ours of `TINY`, without a classifier."""
    import timm
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vision_transformer_sam import VisionTransformerSAM

    if name not in TINY:
        overlay = {"file": str(file)} if file else None
        return timm.create_model(
            name, pretrained=pretrained, pretrained_cfg_overlay=overlay, num_classes=0
        )
    model = (VisionTransformerSAM if name.startswith("samvit") else VisionTransformer)(**TINY[name])
    if pretrained:
        model.load_state_dict(timm.models.load_state_dict(str(file), weights_only=True))
    return model


def _random_model(name: str, seed: int) -> nn.Module:
    """Build the model with weights that (name, seed) determine, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = _timm_model(name)
    for key, parameter in model.named_parameters():
        # DINOv2 starts LayerScale at 1; timm at 1e-5, which would leave an untrained block without
        # effect
        if key.endswith("gamma"):
            nn.init.ones_(parameter)
    return model


def _pretrained_model(name: str, pretrained_path: str | None) -> nn.Module:
    file = locate_weights(name, pretrained_path)
    with explained_loading(name, file) as keys:
        model = _timm_model(name, True, file)
    check_keys(name, file, keys["Missing"], keys["Unexpected"])
    return model


def build_vit(
    name: str,
    pretrained: bool,
    pretrained_path: str | None,
    seed: int,
    neck: bool = False,
    lost_positions: bool = False,
) -> nn.Module:
    """Build the transformer with pretrained weights (file, cache, hub) or random ones of `seed`.

    Args:
        neck: keep what SAM has behind its blocks.
        lost_positions: set SAM's tables of relative positions to zero.
    """
    import timm

    if name not in TINY and not timm.is_model(name):
        raise UserError(f"timm knows no backbone {name}; known to work here: {', '.join(KNOWN)}.")
    pretrained = pretrained and not only_noted(name, pretrained_path)
    model = _pretrained_model(name, pretrained_path) if pretrained else _random_model(name, seed)
    if not neck and hasattr(model, "neck"):
        model.neck = nn.Identity()
    if lost_positions:
        for key, parameter in model.named_parameters():
            if "rel_pos" in key:
                nn.init.zeros_(parameter)
    return model


def hash_tensors(model: nn.Module) -> str:
    """Hash names, types, shapes and bytes of a module's tensors; empty on the meta device."""
    result = hashlib.sha256()
    for name, value in sorted((*model.named_parameters(), *model.named_buffers())):
        if value.is_meta:
            return ""
        result.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        result.update(
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return result.hexdigest()


def freeze_as_buffers(model: nn.Module) -> None:
    """Turn every parameter into a buffer that is not saved."""
    # what is no parameter has no gradient, optimiser state or decay, and is in no checkpoint
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach(), persistent=False)


def frozen_names(module: nn.Module) -> list[str]:
    """Name the buffers that distributed training need not send around before every step."""
    names = []
    for prefix, part in module.named_modules():
        if isinstance(part, FrozenViT):
            names += [name for name, _ in part.named_buffers(prefix)]
    return names


class FrozenViT(nn.Module):
    """A frozen ViT in four stages of equal depth; gradients pass through it, none stays in it.

    Its state is a note: the backbone's name, a hash of the frozen weights and where they come from.
    For `neck` and `lost_positions` see `build_vit`.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        pretrained_path: str | None = None,
        seed: int = 0,
        neck: bool = False,
        lost_positions: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self._weights = (pretrained_path, seed, neck, lost_positions)
        self.seed = seed
        model: Any = build_vit(name, pretrained, *self._weights)
        self.sam = hasattr(model, "neck")
        blocks, pos = getattr(model, "blocks", ()), getattr(model, "pos_embed", None)
        form = pos is not None and (
            pos.ndim == 4 if self.sam else pos.shape[1] == model.patch_embed.num_patches + 1
        )
        if not form or len(blocks) % STAGES or getattr(model, "num_prefix_tokens", 1) != 1:
            raise UserError(
                f"{name} is no ViT of DINOv2's or SAM's form; known to work: {', '.join(KNOWN)}."
            )
        self.patch, self.width = int(model.patch_embed.patch_size[0]), int(model.embed_dim)
        self.neck_width = int(model.num_features)
        self.depth = len(blocks)
        self.hash = hash_tensors(model)
        own = {} if pretrained else {"seed": seed}
        self.source: dict[str, Any] = {"pretrained": pretrained, **own}
        freeze_as_buffers(model)
        self.model: Any = model

    @property
    def last_blocks(self) -> tuple[int, ...]:
        """Index of the last block of each stage."""
        return tuple(self.depth * (stage + 1) // STAGES - 1 for stage in range(STAGES))

    def trainable_patch_embedding(self) -> nn.Conv2d:
        """A trainable copy of the frozen patch embedding, with its own storage."""
        frozen = self.model.patch_embed.proj
        copy: Any = nn.Conv2d(3, self.width, self.patch, self.patch, device=frozen.weight.device)
        with torch.no_grad():
            copy.weight.copy_(frozen.weight)
            copy.bias.copy_(frozen.bias)
        return copy

    def positions_at(self, grid: Sequence[int]) -> Tensor:
        """Interpolate the positional embedding to a grid of patches: (1, h, w, C)."""
        table = self.model.pos_embed
        if not self.sam:
            side = self.model.patch_embed.grid_size[0]
            table = table[:, 1:].unflatten(1, (side, side))
        if tuple(grid) == tuple(table.shape[1:3]):
            return table
        resize: Callable[..., Tensor] = partial(
            F.interpolate, mode="bicubic", align_corners=False, antialias=False
        )
        with no_autocast(table.device):
            rows = table.float().permute(0, 3, 1, 2)
            if self.sam:
                return resize(rows, size=tuple(grid)).permute(0, 2, 3, 1)
            # DINOv2 (without registers) scales by factors whose offset of 0.1 enters the sampling
            # coordinates; SAM's is resized to the target size
            scale = tuple((length + 0.1) / side for length in grid)
            resized = resize(rows, scale_factor=scale, recompute_scale_factor=False)
            return resized.permute(0, 2, 3, 1)

    def embed_patches(self, image: Tensor, convolution: nn.Module | None = None) -> Tensor:
        """Embed an image (B, 3, H, W) as patch tokens with positions, (B, h, w, C)."""
        # a convolution would crop other sides without a word
        if image.shape[-2] % self.patch or image.shape[-1] % self.patch:
            raise ValueError(
                f"image of {tuple(image.shape[-2:])} is not padded to multiples of {self.patch}"
            )
        tokens = (convolution or self.model.patch_embed.proj)(image).permute(0, 2, 3, 1)
        return tokens + self.positions_at((tokens.shape[1], tokens.shape[2]))

    def class_token(self, batch: int) -> Tensor | None:
        """The class token with its position, (B, 1, C); None for SAM, which has none."""
        if self.sam:
            return None
        return (self.model.cls_token + self.model.pos_embed[:, :1]).expand(batch, -1, -1)

    def run_stage(
        self, number: int, token: Tensor | None, patches: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Run stage 0 to 3 on a stream: class token (B, 1, C) or None, patches (B, h, w, C)."""
        first = self.last_blocks[number - 1] + 1 if number else 0
        grid = patches.shape[1:3]
        tokens = patches if token is None else torch.cat([token, patches.flatten(1, 2)], 1)
        for block in self.model.blocks[first : self.last_blocks[number] + 1]:
            tokens = block(tokens)
        if token is None:
            return None, tokens
        return tokens[:, :1], tokens[:, 1:].unflatten(1, grid)

    def run_neck(self, patches: Tensor) -> Tensor:
        """What SAM has behind its blocks, (B, h, w, C) -> (B, `neck_width`, h, w)."""
        return self.model.neck(patches.permute(0, 3, 1, 2))

    def stage_feature(self, patches: Tensor) -> Tensor:
        """A stage's feature: the final LayerNorm, the same one after every stage; SAM has none."""
        return patches if self.sam else self.model.norm(patches)

    # ---- what a checkpoint says about it ---------------------------------------------------------

    def get_extra_state(self) -> Tensor:
        """The note, as the bytes of a JSON object."""
        note = {"backbone": self.name, "sha256": self.hash, **self.source}
        return torch.tensor(list(json.dumps(note, sort_keys=True).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Compare a note with what was built, and fetch pretrained weights left out at building."""
        note = json.loads(bytes(state.tolist()))
        if note["backbone"] != self.name:
            raise UserError(
                f"The checkpoint's frozen backbone is {note['backbone']}, not {self.name}."
            )
        # built with `pretrained: false`: a checkpoint restores the network that was trained
        if note["pretrained"] and not self.source["pretrained"]:
            self._fetch()
        if note["sha256"] == self.hash:
            return
        then = (
            "pretrained weights" if note["pretrained"] else f"random weights of seed {note['seed']}"
        )
        now = "pretrained" if self.source["pretrained"] else f"random, of seed {self.seed}"
        raise UserError(
            f"The frozen weights of {self.name} are not those the checkpoint was trained on: "
            f"{then} with hash {note['sha256'][:12]}, here {now} with hash {self.hash[:12]}. Give "
            "the same weight file (pretrained_path), or the same seed where pretrained: false."
        )

    def _fetch(self) -> None:
        model = build_vit(self.name, True, *self._weights)
        self.hash, self.source = hash_tensors(model), {"pretrained": True}
        loaded = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        with torch.no_grad():
            for name, value in self.model.named_buffers():
                value.copy_(loaded[name])
