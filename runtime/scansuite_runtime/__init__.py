"""Models exported by scansuite, applied to medical scans without torch.

``import scansuite_runtime`` is cheap: numpy, pandas and onnxruntime come with :func:`load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scansuite_runtime.suite_path import join_suite

join_suite()

if TYPE_CHECKING:
    from scansuite.errors import SuiteError
    from scansuite_runtime.model import Model, load

    __version__: str

_HOMES = {
    "load": "scansuite_runtime.model",
    "Model": "scansuite_runtime.model",
    "SuiteError": "scansuite.errors",
    "__version__": "scansuite_runtime.suite_path",
}
__all__ = ["Model", "SuiteError", "__version__", "load"]

if not TYPE_CHECKING:  # where it would let every mistyped name pass

    def __getattr__(name: str) -> object:
        """Import a name when it is first asked for (PEP 562)."""
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module 'scansuite_runtime' has no attribute {name!r}: it has {', '.join(__all__)}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """The names on offer, for completion in editors."""
        return sorted(__all__)
