"""Defines `RefusedError`, in which a check of a setting carries its sentence."""


class RefusedError(Exception):
    """A value breaks a rule. The text is the sentence for the user, without secrets."""
