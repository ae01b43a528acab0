"""Deformable convolution for Keras 3: the operators as functions, the layers that own weights, the NumPy reference.

The names are those of `__init__.pyi`. Each is imported when it is first asked for: Keras and its engine take seconds to
import, and the command line's --help needs neither.
"""

import lazy_loader

from deformconv import registration

__version__ = "0.1.0"

registration.announce()
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
