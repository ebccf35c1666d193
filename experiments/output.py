"""Output that may lose a character or a line, but not a run: the results are on disk."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

ASCII = str.maketrans({"±": "+-"})


class Output(io.TextIOBase):
    """A stream that writes what another stream can encode.

    Once that fails, at a closed pipe or a full disk, it writes nothing more.

    Args:
        stream: standard output or error, or None where there is none.
    """

    def __init__(self, stream: TextIO | Any | None):
        self._stream = stream

    @property
    def encoding(self) -> str:
        """Return the encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Say whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the file descriptor of the stream."""
        return super().fileno() if self._stream is None else self._stream.fileno()

    def write(self, text: str) -> int:
        """Write text."""
        try:
            text.encode(self.encoding)
            shown = text
        except UnicodeEncodeError:
            shown = text.translate(ASCII).encode(self.encoding, "replace").decode(self.encoding)
        self._attempt(lambda stream: stream.write(shown))
        return len(text)

    def flush(self) -> None:
        """Write what is still held back."""
        self._attempt(lambda stream: stream.flush())

    def _attempt(self, action) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            action(stream)
        except OSError as error:
            self._stream = None
            # What the stream holds back until the program ends goes nowhere.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
            if error.errno != errno.EPIPE:  # else the reader did not want to read on
                print(
                    f"warning: cannot write output: {error.strerror}; results are not affected",
                    file=sys.stderr,
                )


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Print to `Output` in place of standard output and standard error."""
    with (
        contextlib.redirect_stderr(Output(sys.stderr)),
        contextlib.redirect_stdout(Output(sys.stdout)),
    ):
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
