"""The book's drawings: functions that draw on a new matplotlib figure and return it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
