"""Whether calling a module does more than its ``forward``."""

from torch import nn
from torch.nn.modules import module as torch_module


def has_hooks(*modules: nn.Module) -> bool:
    """Whether a hook waits for a call of one of the modules, or of any module at all.

    A fused op computes what modules compute without calling them, so their hooks would not fire:
    activations not recorded, ``weight_norm`` not applied, operations not counted.
    """
    own = (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        for module in modules
    )
    return any(own) or bool(torch_module._has_any_global_hook())
