"""Names of networks: timm's, and dotted paths of the user's own."""

from __future__ import annotations

from backbones.sources import described, is_source
from scansuite.errors import SuiteError
from scansuite.own_parts import import_allowed, is_allowed


def own_network(name: str) -> str:
    """Timm's name of a network.

    Of a repository or a folder (:mod:`backbones.sources`) it is that of the network it describes. A dotted path is one
    of the user's: its module is imported, where the network registers itself in timm's registry under the last word of
    the path. Names of timm's may have one point themselves (``resnet18.a1_in1k``).

    Raises:
        SuiteError: the module is not allowed or cannot be imported, or registers no such network.
    """
    if not isinstance(name, str):
        raise SuiteError(f"--model.backbone: expected a name, not {type(name).__name__}: see docs/extending.md")
    if is_source(name):
        return described(name).architecture
    module, _, last = name.rpartition(".")
    if not module or not (is_allowed(name) or "." in module):
        return name
    import timm

    if timm.is_model(name.split(".")[0]):
        return name
    import_allowed(module, f"--model.backbone {name}")
    if not timm.is_model(last):
        raise SuiteError(f"--model.backbone {name}: {module} registers no network {last!r} (timm's register_model)")
    return last
