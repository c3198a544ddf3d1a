"""MuSS: concatenation of sensor features, or early fusion by channel attention (MultiSenseSeg, TGRS 2024)."""
