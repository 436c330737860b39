"""How weights lie in memory: the channels of a pixel side by side, the order in which convolutions are fastest on a CPU.

python -c "from onelook import Backbone; from onelook.backbones.layout import channels_last; channels_last(Backbone.load())"
"""

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def channels_last(network: Network) -> Network:
    """The same network, its weights laid out anew in place."""
    return network.to(memory_format=torch.channels_last)
