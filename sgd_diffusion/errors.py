"""The two kinds of failure that a user can put right. All others are defects of the program."""

__all__ = ["InputError", "StorageError", "invalid"]


class InputError(ValueError):
    """An argument or an input file is unusable.

    The message names it, its value, what was expected and the way out (see `invalid`).
    """


class StorageError(OSError):
    """A run directory cannot be read or written as asked.

    The message names the path, the reason and the way out.
    """


def invalid(argument: str, found: str, expected: str, way_out: str = "") -> InputError:
    """Return the error for an unusable argument, in the form that all messages have.

    Args:
        argument: the name that the user knows it by.
        found: a verb and what was given, such as `"has shape (3,)"` or `"is -1"`.
        expected: what would have been usable.
        way_out: what the user can do, where `expected` does not say it.

    Returns:
        The error, to be raised where the argument is checked.

    >>> invalid("start", "has shape (3,)", "(2,)", "map many with jax.vmap")
    InputError('start has shape (3,); expected (2,): map many with jax.vmap')
    """
    return InputError(
        f"{argument} {found}; expected {expected}" + (f": {way_out}" if way_out else "")
    )
