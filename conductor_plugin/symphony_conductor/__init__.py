"""The Conductor: Symphony's first plugin.

The hooks are in ``plugin``; nothing is imported here, so that the pure modules (``passages``, ``ranking``)
can be used without a host.
"""

__version__ = "0.1.0"
