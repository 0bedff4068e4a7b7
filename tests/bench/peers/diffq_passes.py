"""What the published diffq package's passes over the weights of DeiT-B take on a GPU: weights made noisy, and the
gradients of weights and bits from that of the noisy weights. Prints JSON.

usage: diffq_passes.py [--rounds 30]
"""
import argparse
import json
import statistics

import torch
from diffq import DiffQuantizer
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=30)
args = parser.parse_args()
torch.manual_seed(1)
WIDTH = 768


class Weights(nn.Module):
    """The tensors of DeiT-B without the model around them."""

    def __init__(self):
        super().__init__()
        sizes = [(WIDTH, 16 * 16 * 3), (197, WIDTH), (1000, WIDTH)]
        sizes += 12 * [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH)]
        self.tensors = nn.ModuleList(nn.Linear(columns, rows, bias=False) for rows, columns in sizes)

    def forward(self, gradients):
        # The gradient of each noisy weight is what is handed in.
        return sum((tensor.weight * gradient).sum() for tensor, gradient in zip(self.tensors, gradients))


def passes_ms(model, gradients):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    model.zero_grad()
    start.record()
    model(gradients).backward()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


plain = Weights().cuda().train()
noisy = Weights().cuda().train()
optimizer = torch.optim.SGD(noisy.parameters(), lr=0.1)  # the package wants it made first
quantizer = DiffQuantizer(noisy, group_size=8)
quantizer.setup_optimizer(optimizer)
gradients = [torch.randn_like(tensor.weight) for tensor in plain.tensors]
added = []
for step in range(-3, args.rounds):
    without, with_noise = passes_ms(plain, gradients), passes_ms(noisy, gradients)
    if step >= 0:
        added.append(with_noise - without)
print(json.dumps({"us": 1e3 * statistics.median(added), "torch": torch.__version__}))
