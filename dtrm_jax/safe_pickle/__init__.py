"""Reads other people's pickles and executes nothing.

A pickle is a program: ``pickle.load`` calls whatever the file names. Yet the field publishes its files as pickles. This
library does not run that program. It interprets the few instructions that builtin containers, scalars and NumPy arrays
are written with, and builds those values itself. A name in the file selects one of its own constructions and never
becomes a callable; nothing is imported, no attribute of any object is looked up or set.

Restricting ``Unpickler.find_class`` would not be enough. With ``numpy.dtype`` admitted, BUILD hands a file's state to
``dtype.__setstate__``, which can make an object dtype that reads raw bytes as pointers; EXT instructions bypass
``find_class`` once cached; one large memo index makes the unpickler fill gigabytes; hashing deeply nested tuples
overflows the C stack. Here dtypes are plain numbers and strings only, and all of those are refused.

``reading`` opens the file, ``instructions`` is the table of what is admitted, ``machine`` the stack that instructions
work on, ``construct`` rebuilds NumPy values, ``values`` holds what they share.
"""

from dtrm_jax.safe_pickle.machine import MAX_DEPTH
from dtrm_jax.safe_pickle.reading import load

__all__ = ["MAX_DEPTH", "load"]
