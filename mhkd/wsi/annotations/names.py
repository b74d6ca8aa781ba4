"""Names as the formats write them."""


def class_name(value, collector, where):
    """str or None: the name without surrounding blanks; None where there is none.

    Raises:
        InputError: neither a text nor a number.
    """
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        raise collector.error(where, f"has the class name {str(value)[:60]}, which is no text")
    # JSON may hold halves of characters, which no file could be written with
    return value.encode("utf-8", "replace").decode().strip() or None


def word(obj, key):
    """str or None: a text in a JSON object; None where there is none or anything else."""
    value = obj.get(key) if isinstance(obj, dict) else None
    return value if isinstance(value, str) else None
