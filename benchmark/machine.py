"""What this process asks of threads and memory before it computes; no number depends on it."""

from __future__ import annotations

import os

ENVIRONMENT = {
    # threads that wait for each other sleep after some microseconds instead of milliseconds: two
    # commands on the same cores otherwise take several times as long
    "GOMP_SPINCOUNT": "1000",
    # large tensors lie in huge pages, where the system gives them on demand
    "THP_MEM_ALLOC_ENABLE": "1",
}
# whose wishes for waiting threads these are, they hold
OWN_WISH = "OMP_WAIT_POLICY"


def prepare_process() -> None:
    """Set what torch reads when it is imported, so before that; what is set already stays."""
    for name, value in ENVIRONMENT.items():
        if OWN_WISH not in os.environ or not name.startswith("GOMP"):
            os.environ.setdefault(name, value)
