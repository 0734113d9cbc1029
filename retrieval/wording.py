"""Numbers in sentences."""


def count_of(number: int, noun: str = "photo") -> str:
    """A number with its noun, for example "1 photo" or "1,200 photos"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
