"""Two ways to time calls: one by one, as on the CPU, or queued one behind the other, as on a GPU.

`call()` computes and returns results, `wait(results)` returns when they are there. No two are ever held at once.
"""

import statistics
import time

WARM_UP_CALLS = 3


class OneByOne:
    """A turn gives the seconds of each call."""

    @staticmethod
    def calibrate(call, wait, seconds) -> dict:
        """How many `calls` make a turn: three to fifty, but one alone if it takes a second."""
        (once,) = OneByOne.turn(call, wait, 1)
        if once < 1:  # a first call may be many times as slow as those after it, and would make the turns short
            once = min(once, *OneByOne.turn(call, wait, WARM_UP_CALLS))
        return {"calls": max(3, min(50, round(seconds / once))) if once < 1 else 1, "seconds": once}

    @staticmethod
    def turn(call, wait, calls) -> list[float]:
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            wait(call())
            seconds.append(time.perf_counter() - start)
        return seconds


class Queued:
    """A turn gives the mean of its calls, between two synchronisations: the device never waits for the host to ask."""

    @staticmethod
    def calibrate(call, wait, seconds) -> dict:
        """How many `calls` make a turn; `dispatch`, the seconds until one returns to Python, the device being idle."""
        for _ in range(WARM_UP_CALLS):
            wait(call())
        dispatches, wholes = [], []
        for _ in range(5):
            start = time.perf_counter()
            results = call()
            dispatches.append(time.perf_counter() - start)
            wait(results)
            wholes.append(time.perf_counter() - start)
            results = None
        # The first turns show what a call takes when the next is already waiting.
        calls = max(1, int(seconds / statistics.median(wholes)))
        (once,) = Queued.turn(call, wait, calls)
        calls = min(max(1, int(seconds / once)), 10_000)
        return {"calls": calls, "seconds": once, "dispatch": statistics.median(dispatches)}

    @staticmethod
    def turn(call, wait, calls) -> list[float]:
        wait(call())  # caches and clocks as the call before would leave them
        results = None
        start = time.perf_counter()
        for _ in range(calls):
            results = None
            results = call()
        wait(results)
        return [(time.perf_counter() - start) / calls]
