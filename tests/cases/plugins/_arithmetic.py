"""A helper's helper."""

ZERO = 0.0


def times(number: float, factor: float) -> float:
    return ZERO + number * factor
