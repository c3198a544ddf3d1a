"""How a GPU multiplies float32 numbers."""

import torch


def round_products(device: torch.device, exact: bool | None) -> None:
    """Let a GPU round the factors of float32 products to TensorFloat-32, unless `exact`.

    That has 10 binary digits behind the point instead of 23, and half precision's speed. It holds
    for the whole process; for a CPU nothing is set.
    """
    # the setting would reach the CPU's library too
    if device.type == "cuda":
        torch.set_float32_matmul_precision("highest" if exact else "high")
        # of convolutions, where torch allows it by default
        torch.backends.cudnn.allow_tf32 = not exact
