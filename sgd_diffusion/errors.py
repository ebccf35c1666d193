"""The two kinds of failure that a user can put right; everything else is a defect of the program."""


class InputError(ValueError):
    """An argument or an input file is unusable. The message names it, its value, what was expected
    and the way out.
    """


class StorageError(OSError):
    """A run directory cannot be read or written as asked. The message names the path, the reason
    and the way out.
    """
