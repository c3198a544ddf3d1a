"""MuSS: concatenated features, or early fusion by channel attention (MultiSenseSeg, 2024)."""
