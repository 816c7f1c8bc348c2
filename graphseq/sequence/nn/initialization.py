"""The small normal weights that the comparison of mixers starts from."""

import math

from torch import nn

from graphseq.sequence.nn.mixer import Mixer


def init_normal(model: nn.Module, num_layers: int, std: float = 0.02) -> None:
    """Draws linear and embedding weights from N(0, std^2) and sets biases to 0.

    Weights of layers that are called ``out_proj`` or ``mlp_out``, which add to the residual stream,
    are smaller by ``sqrt(2 num_layers)`` (Radford et al. 2019). Layers that a mixer names in
    ``keeps_init`` stay as they are: a generic initialiser would undo the step sizes of an SSM.

    Args:
        model: the model, changed in place.
        num_layers: number of blocks that add to the residual stream.
        std: standard deviation.
    """
    kept = {
        id(mixer.get_submodule(name))
        for mixer in model.modules()
        if isinstance(mixer, Mixer)
        for name in mixer.keeps_init
    }
    for name, layer in model.named_modules():
        if id(layer) in kept or not isinstance(layer, nn.Linear | nn.Embedding):
            continue
        adds = name.rpartition(".")[2] in ("out_proj", "mlp_out")
        nn.init.normal_(layer.weight, std=std / math.sqrt(2 * num_layers) if adds else std)
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
