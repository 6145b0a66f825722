"""The exception that a check of a setting raises; the user gets a typed error of it."""


class RefusedError(Exception):
    """A value breaks a rule. The text is the sentence for the user, without secrets."""
