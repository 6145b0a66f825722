"""The one exception that travels between the checks and the errors they end in."""


class RefusedError(Exception):
    """A value breaks a rule; its text is the sentence for the user, free of secrets."""
