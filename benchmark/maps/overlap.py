"""What is read or written while the network is at work, by one thread each and in order.

>>> written = []
>>> with made_ahead(iter("abc")) as letters, finished_behind(written.append) as write:
...     for letter in letters:
...         write(letter.upper())
>>> written
['A', 'B', 'C']
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def made_ahead(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Give the items, none of which may be None; the next is made while one is in use.

    When the block is left, nothing is being made any more, so that files may be closed.
    """
    with ThreadPoolExecutor(1) as thread:
        yield _take_ahead(items, thread)


def _take_ahead(items: Iterator[T], thread: Executor) -> Iterator[T]:
    coming = thread.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = thread.submit(next, items, None)
        yield item


@contextmanager
def finished_behind(finish: Callable[P, object]) -> Iterator[Callable[P, None]]:
    """Give a function that lets a thread do what `finish` does, once the call before is done.

    An error of a call is raised by the next one, or where the block ends.
    """
    with ThreadPoolExecutor(1) as thread:
        last: Future[object] = thread.submit(int)

        def finish_later(*args: P.args, **options: P.kwargs) -> None:
            nonlocal last
            last.result()
            last = thread.submit(finish, *args, **options)

        yield finish_later
        last.result()
