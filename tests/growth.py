"""How the processor time of a function grows with its input, whatever else the machine computes."""

import time
from collections.abc import Callable


def growth(call: Callable[[str], object], short: str, long: str) -> float:
    """Return the ratio of the processor times for two inputs: the least of seven each, measured in turn."""

    def seconds(text: str) -> float:
        began = time.thread_time()
        call(text)
        return time.thread_time() - began

    pairs = [(seconds(long), seconds(short)) for _ in range(7)]
    longest, shortest = (min(times) for times in zip(*pairs, strict=True))
    return longest / max(shortest, 1e-4)
