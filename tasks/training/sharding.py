"""FSDP2: weights, gradients and the optimiser's state shared out among devices, for transformers too large for one."""

from __future__ import annotations

from collections.abc import Iterator

from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from scansuite.errors import SuiteError

FSDP2 = "fsdp2"


class Sharding(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 with all devices as one group that shares the weights out.

    Checkpoints are single files with whole weights, as those of any other training.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Make the group; by itself Lightning would take the devices of a machine for tensor parallelism."""
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()


def shard(model: nn.Module, network: nn.Module, mesh: DeviceMesh) -> None:
    """Share the parameters of a model out, block by block; does nothing where that is done already.

    Args:
        model: the whole.
        network: of its backbone, as timm makes it.
        mesh: with a dimension ``data_parallel``.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if isinstance(model, FSDPModule):
        return
    group = mesh["data_parallel"]
    for block in blocks(network):
        fully_shard(block, mesh=group)
    fully_shard(model, mesh=group)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a transformer, or of a network that is built like one: what stands in its lists called blocks."""
    for name, module in network.named_modules():
        if name.rpartition(".")[2] == "blocks" and isinstance(module, (nn.Sequential, nn.ModuleList)):
            yield from module


def refuse_without_blocks(name: str, network: nn.Module) -> None:
    """Refuse a network that cannot be gathered part by part.

    Raises:
        SuiteError: names it.
    """
    if not any(True for _ in blocks(network)):
        raise SuiteError(
            f"--trainer.strategy {FSDP2}: {name} has no blocks to be gathered one by one, so nothing would be saved: "
            "leave it out (vit, swin, eva and convnext have them)"
        )
