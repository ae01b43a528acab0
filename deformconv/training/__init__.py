"""The GPU training loop, for a model of your own: `fit`, and what goes with it.

Images that warp anew in each step, on the device; several devices and processes; checkpoints from which an interrupted
training ends as if it had never stopped; a stop, with advice, where numbers or offsets are lost; logs; fine-tuning with
most of a network frozen. The names are those of `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
