"""Devices, precision and processes, by Lightning Fabric.

Fabric is imported here and only when a run starts, so that ``import graphseq`` stays light.
"""

import inspect
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import Precision
    from lightning_fabric.strategies import DDPStrategy

PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed")


def make_fabric(device: str, precision: str) -> "Fabric":
    """A launched Fabric for one process, or for all processes of a ``torchrun``.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"`` (a GPU if there is one).
        precision: One of :data:`PRECISIONS`; the ``true`` ones compute in the parameters' dtype.

    Raises:
        ValueError: If the device is not there or the precision is unknown.
        ImportError: If a compromised release of lightning-fabric's family is installed.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"fit: precision={precision!r} is unknown; use one of {PRECISIONS}")
    chosen = _resolve(device)
    if version("lightning-fabric") in ("2.6.2", "2.6.3"):
        raise ImportError(
            "fit: lightning-fabric 2.6.2 and 2.6.3 belong to a compromised release; "
            "install another version: pip install -U lightning-fabric"
        )
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment

    processes, plugins = _processes(), _autocast(precision, chosen.type)
    if processes == 1:
        # Said outright: Fabric would otherwise look for a cluster, and find the SLURM job around.
        devices: Any = 1 if chosen.index is None else [chosen.index]
        fabric = Fabric(
            accelerator=chosen.type, devices=devices, plugins=[LightningEnvironment(), *plugins]
        )
    else:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        fabric = Fabric(
            accelerator=chosen.type,
            devices=local,
            num_nodes=processes // local,
            strategy=_data_parallel(),
            plugins=[TorchElasticEnvironment(), *plugins],
        )
    fabric.launch()
    return fabric


def _processes() -> int:
    """Number of processes that ``torchrun`` has started; 1 without it."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        raise ValueError(
            f"fit: WORLD_SIZE is {processes}, but torchrun did not start this process; "
            f"use torchrun, or unset WORLD_SIZE"
        )
    return processes


def _resolve(device: str) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"fit: device={device!r} is unknown; use 'cpu', 'cuda' or 'auto'"
        ) from None
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"fit: device={device!r}, but torch finds no GPU; use device='cpu'")
        torch.cuda.init()  # the callers' GPU generators can only be saved once they exist
    return chosen


def _data_parallel() -> "DDPStrategy":
    from lightning_fabric.strategies import DDPStrategy
    from torch.nn.parallel import DistributedDataParallel

    # Buffers are this rank's own state; evaluation levels those of the units itself.
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DDPStrategy(**{name: False})  # type: ignore[arg-type]


def _autocast(precision: str, device: str) -> "list[Precision]":
    """Fabric's mixed precision, with two differences.

    Inputs keep their dtype until an operation wants less: Fabric rounds every float input of a unit
    to half precision, and with it coordinates and time stamps that no matrix product ever touches.
    Gradients of fused optimizers can be clipped: Fabric refuses to unscale what the optimizer would
    unscale itself, but torch's scaler keeps track and tells the optimizer that it is done.
    """
    if not precision.endswith("-mixed"):
        return []
    from lightning_fabric.plugins import MixedPrecision

    class Autocast(MixedPrecision):
        """Mixed precision that hands inputs on as they are and unscales for every optimizer."""

        def convert_input(self, data: Any) -> Any:
            return data

        def unscale_gradients(self, optimizer: Optimizer) -> None:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)

    return [Autocast(precision, device)]  # type: ignore[arg-type]
