"""The version of the suite. Standard library alone."""

from __future__ import annotations

from importlib import metadata

try:
    __version__ = metadata.version("scansuite")
except metadata.PackageNotFoundError:
    __version__ = "0.1.0 (source tree, not installed)"
