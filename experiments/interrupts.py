"""Ctrl-C at any moment: one line and exit code 130, while modules are imported and while compiled
programs run.

Imports nothing that takes time, since it has to be there before anything that does.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

INTERRUPTED = 130  # what shells give a program that was stopped by Ctrl-C


def end_on_interrupt(hint: str = "") -> Any:
    """From now on, end the program on Ctrl-C without ado, with a hint how to go on; returns the
    handler before.
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
    """Do the work in a thread of its own, so that Ctrl-C ends the program at once, with a hint how
    to go on.

    A compiled program holds the interpreter's main thread until it returns, minutes later perhaps.
    Ending the process without ado is safe: a run directory survives a kill at any moment.
    """
    failures = []

    def attempt():
        try:
            work()
        except BaseException as error:  # handed over to the main thread
            failures.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    with _ending_on_interrupt(hint):
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
    if failures:
        raise failures[0]
