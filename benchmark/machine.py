"""How this process's threads wait for each other; no number depends on it."""

from __future__ import annotations

import os

# they sleep after some microseconds instead of milliseconds: two commands on the same cores
# otherwise take several times as long
SPINS = ("GOMP_SPINCOUNT", "1000")
# where the user has said how to wait, that holds
OWN_WISH = "OMP_WAIT_POLICY"


def prepare_process() -> None:
    """Set what torch reads when it is imported, so before that; what is set already stays."""
    if OWN_WISH not in os.environ:
        os.environ.setdefault(*SPINS)
