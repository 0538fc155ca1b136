"""The exceptions whose messages are shown to the user."""


class UserError(Exception):
    """An error that the user can correct. The message states what is wrong, where, and what to do.

    Command-line entry points print the message without a traceback and exit with status 1.
    """


class Interrupted(UserError):
    """The user or Slurm stopped the work; it did not fail."""
