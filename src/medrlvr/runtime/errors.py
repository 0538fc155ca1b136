"""The one exception that is shown to people."""


class UserError(Exception):
    """Something the user can put right; the message says what was wrong, where, and what to do.

    Command-line entry points print the message without a traceback and exit with status 1.
    """


class Interrupted(UserError):
    """The user, or Slurm, has stopped what would have gone well."""
