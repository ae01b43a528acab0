"""The checks that the chapters' exercises call: `check_...(your_function)`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
