"""LeNet-5: the network that read cheques.

LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", section II.B: 5 x 5
convolutions without padding, subsampling by the sum of four with a trainable coefficient and bias, the squashing
function 1.7159 tanh(2/3 x), and C3's table of connections (table I). Its layers C1 to F6 have exactly 60,000 parameters.
Differs: colour pictures by default (the paper reads grey ones; ``channels=1`` gives its 60,000); a linear layer and
softmax instead of ten radial units on bitmaps of the digits; the mean of C5's map where the input is larger than 32 x 32.

    onelook train digits/ --name digit --model digits.onelook --backbone lenet5
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.backbones.nets.chain import Chain, start_bias
from onelook.backbones.weights import Preprocess

PREPROCESS = Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", 1.0)
TABLE_I = ("012", "123", "234", "345", "045", "015", "0123", "1234", "2345", "0345", "0145", "0125", "0134", "1245", "0235", "012345")


class Squash(nn.Module):
    """1.7159 tanh(2/3 x): maps 1 to 1 and -1 to -1 (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsample(nn.Module):
    """The sum of each 2 x 2 block, times one trainable coefficient per map, plus one trainable bias: (B, C, 2h, 2w) -> (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((channels, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2) * 4 * self.coefficient + self.bias


class TableConv(nn.Module):
    """C3: a 5 x 5 convolution whose 16 maps each read the maps that ``table`` names; 1,516 parameters with table I."""

    rows: list[list[int]]

    def __init__(self, table: tuple[str, ...] = TABLE_I) -> None:
        super().__init__()
        self.rows = [[int(digit) for digit in row] for row in table]
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(len(row), 5, 5)) for row in self.rows])
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def dense(self) -> Tensor:
        """The same weights as one (16, 6, 5, 5) kernel, zero where nothing is connected."""
        kernels = []
        for row, weight in zip(self.rows, self.weights, strict=True):
            kernel = weight.new_zeros(6, 5, 5)
            kernels.append(kernel.index_copy(0, torch.tensor(row, device=weight.device), weight))
        return torch.stack(kernels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.dense(), self.bias)


def lenet5(channels: int = 3, classes: int = 10, *, full: bool = False) -> nn.Module:
    """LeNet-5 for 32 x 32 pictures; ``full`` connects every map of C3 to every map of S2, as the course notes count it."""
    middle: nn.Module = nn.Conv2d(6, 16, 5) if full else TableConv()
    features = {
        "c1": nn.Sequential(nn.Conv2d(channels, 6, 5), Squash()),  # (B, 6, 28, 28)
        "s2": nn.Sequential(Subsample(6), Squash()),  # (B, 6, 14, 14)
        "c3": nn.Sequential(middle, Squash()),  # (B, 16, 10, 10)
        "s4": nn.Sequential(Subsample(16), Squash()),  # (B, 16, 5, 5)
        "c5": nn.Sequential(nn.Conv2d(16, 120, 5), Squash()),  # (B, 120, 1, 1)
    }
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(120, 84), Squash())  # F6
    network = Chain(features, pool, nn.Linear(84, classes), 120)
    for module in network.modules():
        _start(module)
    return network


def _start(module: nn.Module) -> None:
    """Uniform in +-2.4 / (inputs of a unit), as the paper's appendix A sets it."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        bound = 2.4 / (module.weight[0].numel())
        nn.init.uniform_(module.weight, -bound, bound)
        start_bias(module)
    elif isinstance(module, TableConv):
        for weight in module.weights:
            bound = 2.4 / weight.numel()
            nn.init.uniform_(weight, -bound, bound)
