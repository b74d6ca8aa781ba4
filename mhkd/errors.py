"""The one exception that means "the input is at fault, and here is the remedy"."""


class InputError(ValueError):
    """Bad input by the user. The message names the file (or key) and says what to do."""
