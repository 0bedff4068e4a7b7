"""Times the published diffq package packing and unpacking ResNet-18, groups of 8 with 2 to 8 bits. Prints JSON.

usage: diffq_pack.py --rounds N --threads T
"""
import argparse
import json
import time

import torch
from diffq import DiffQuantizer
from resnet18 import ResNet18

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(1)

model = ResNet18().train()
fp32_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
least, most = 2, 15
quantizer = DiffQuantizer(model, group_size=8, min_bits=least, max_bits=most)
with torch.no_grad():
    for name, logits in model.named_parameters():
        if name.endswith(quantizer.suffix):
            bits = torch.randint(2, 9, logits.shape).clamp(min=least + 0.01)
            logits.copy_(torch.logit((bits - least) / (most - least)))

times = {"pack_s": [], "unpack_s": []}
for place in range(-1, args.rounds):  # the first warms up
    start = time.perf_counter()
    state = quantizer.get_quantized_state(packed=True)
    packed = time.perf_counter()
    quantizer.restore_quantized_state(state)
    unpacked = time.perf_counter()
    if place >= 0:
        times["pack_s"].append(packed - start)
        times["unpack_s"].append(unpacked - packed)
assert all(parameter.isfinite().all() for parameter in model.parameters())
print(json.dumps(dict(times, fp32_bytes=fp32_bytes, packed_mb=quantizer.true_model_size())))
