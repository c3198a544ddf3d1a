"""IMLT, supervised: incomplete multimodal learning with fusion tokens (IEEE TGRS 62, 2024)."""
