"""What a request to end does to the trainer."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import lightning as L
from lightning.pytorch.utilities.exceptions import SIGTERMException

from usererror import TERMINATED


@contextmanager
def ends_when_asked(trainer: L.Trainer) -> Iterator[None]:
    """Leave Lightning as any program is left: SIGTERM is SystemExit(143), SIGINT an interruption.

    Lightning itself ends with the exit status 0 after the one, and with 1 after the other.
    """
    asked = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        # Lightning heeds it after a step, and the step is saved; a validation may last minutes
        if not trainer.training:
            raise SystemExit(TERMINATED)

    # others cannot handle signals
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    if main:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    except SIGTERMException:
        raise SystemExit(TERMINATED) from None
    except SystemExit as stop:
        # what Lightning makes of KeyboardInterrupt
        if stop.code == 1:
            raise KeyboardInterrupt from None
        raise
    except Exception:
        # the workers were asked too, and that they are gone is no error then
        if asked:
            raise SystemExit(TERMINATED) from None
        raise
    finally:
        for number, handler in before.items():
            if main and handler is not None:
                signal.signal(number, handler)
