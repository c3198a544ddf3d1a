"""Seeds mixed from several integers."""

_WORD = (1 << 64) - 1


def mix_seed(*values: int) -> int:
    """Mix integers into one 64-bit seed: add each to the state, apply splitmix64 (Steele 2014).

    Example:
        >>> mix_seed(0, 1) == mix_seed(1, 0)
        False
    """
    state = 0
    for value in values:
        state = (state + value + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state
