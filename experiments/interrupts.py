"""Ctrl-C at any moment ends a program with one line and exit code 130.

This holds while modules are imported and while compiled programs run. The module imports nothing
that takes time, since it has to be there before anything that does.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

INTERRUPTED = 130  # what shells give a program that was stopped by Ctrl-C


def end_on_interrupt(hint: str = "") -> Any:
    """From now on, end the program at once on Ctrl-C, with a hint how to go on.

    Returns:
        The handler that was there before.
    """

    def end(*_):
        with contextlib.suppress(OSError):
            os.write(2, f"\ninterrupted{hint}\n".encode())
        os._exit(INTERRUPTED)

    return signal.signal(signal.SIGINT, end)


@contextlib.contextmanager
def _ending_on_interrupt(hint: str) -> Iterator[None]:
    before = end_on_interrupt(hint)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interruptibly(work: Callable[[], Any], *, hint: str = "") -> None:
    """Do the work in a thread of its own, so that Ctrl-C ends the program at once.

    A compiled program holds the interpreter's main thread until it returns, perhaps minutes later.
    It is safe to end the process at once: a run directory survives a kill at any moment.

    Args:
        work: what is done.
        hint: how to go on after an interruption.
    """
    failures = []

    def attempt():
        try:
            work()
        except BaseException as error:  # the main thread raises it
            failures.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    with _ending_on_interrupt(hint):
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
    if failures:
        raise failures[0]
