"""Names of methods as articles print them."""

DISPLAY_NAMES = {
    "ae": "AE",
    "cgan": "cGAN",
    "control": "Mean fusion",
    "control_dropout": "Mean fusion, random subsets",
    "deeplabv3plus": "DeepLabv3+",
    "deeplabv3plus_dropout": "DeepLabv3+, random subsets",
    "fpn_dropout": "FPN, random subsets",
    "gemmnet_ae": "GEMMNet (AE)",
    "gemmnet_cgan": "GEMMNet (cGAN)",
    "imlt": "IMLT",
    "imlt_no_contrast": "IMLT, no contrast",
    "m3l": "M3L",
    "m3l_any_subset": "M3L, any subset",
    "m3l_block": "M3L, block",
    "magic": "MAGIC",
    "magic_features": "MAGIC, features",
    "mmformer": "mmFormer",
    "mmformer_light": "mmFormer, light",
    "mmformer_released": "mmFormer, as released",
    "mobanet": "MoBaNet",
    "mobanet_base": "MoBaNet, Base",
    "mobanet_cpia": "MoBaNet, CPIA",
    "mobanet_cpia_dgfm": "MoBaNet, CPIA + DGFM",
    "mobanet_no_mcrm": "MoBaNet, no MCRM",
    "muss": "MuSS",
    "muss_dropout": "MuSS, random subsets",
    "muss_early": "MuSS, early fusion",
    "segformer_early": "SegFormer, early fusion",
    "segformer_early_dropout": "SegFormer, early fusion, random subsets",
    "sgma": "SGMA",
    "sgma_additive": "SGMA, additive",
    "sgma_sgf_only": "SGMA, SGF only",
    "shaspec": "ShaSpec",
    "shaspec_light": "ShaSpec, light",
    "shaspec_released": "ShaSpec, as released",
    "unet": "U-Net",
    "unet_dropout": "U-Net, random subsets",
    "unetplusplus_dropout": "U-Net++, random subsets",
    "upernet_dropout": "UPerNet, random subsets",
}


def display_name(variant: str) -> str:
    """Return the name of a shipped method for readers; one of a user's own is its name."""
    return DISPLAY_NAMES.get(variant, variant)
