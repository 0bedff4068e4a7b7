"""Step times of a model with and without the published diffq package, one step of each in turn. Prints JSON.

usage: diffq_step.py METHOD… --steps N --threads T     METHOD: fp32, diffq
         [--model resnet18|deit_tiny|deit_base|transformer_lm] [--batch N]      deit_*: timm's
         [--device cuda] [--precision bf16]      on a GPU ten steps at a time are timed, without TF32
         [--repeatable | --fastest]              of cuDNN: deterministic algorithms alone, or the fastest found; else its guess
"""
import argparse
import json
import math
import resource
import time

import torch
try:
    from diffq import DiffQuantizer
except ImportError:  # only fp32 is asked for, where the published package is not installed
    pass
from resnet18 import ResNet18
from torch.nn import functional as F
from transformer_lm import VOCABULARY, TransformerLm

parser = argparse.ArgumentParser()
parser.add_argument("methods", nargs="+")
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--model", choices=["resnet18", "deit_tiny", "deit_base", "transformer_lm"], default="resnet18")
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
parser.add_argument("--repeatable", action="store_true")
parser.add_argument("--fastest", action="store_true")
args = parser.parse_args()
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.deterministic = args.repeatable
torch.backends.cudnn.benchmark = args.fastest
STEPS_A_TIME = 10 if args.device == "cuda" else 1
torch.set_num_threads(args.threads)
torch.manual_seed(1)


def make_model():
    if args.model == "resnet18":
        return ResNet18()
    if args.model == "transformer_lm":
        return TransformerLm()
    import timm
    return timm.create_model(f"{args.model}_patch16_224")


def make_batch():
    if args.model == "transformer_lm":  # as words are: one of twice the number is half as frequent
        words = torch.rand(args.batch, 513, dtype=torch.double).mul(math.log(VOCABULARY)).exp().long()
        words = words.clamp(0, VOCABULARY - 1)
        return words[:, :-1].contiguous(), words[:, 1:].contiguous()
    return torch.randn(args.batch, 3, SIDE, SIDE), torch.randint(CLASSES, (args.batch,))


def loss_of(model, x, y):
    return model(x, y) if args.model == "transformer_lm" else F.cross_entropy(model(x), y)


SIDE, CLASSES = (32, 10) if args.model == "resnet18" else (224, 1000)


class Subject:
    def __init__(self, method):
        self.model = make_model().to(args.device).train()
        language = args.model == "transformer_lm"
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, nesterov=language,
                                         weight_decay=0 if language else 5e-4)
        self.quantizer = None
        if method == "diffq":
            self.quantizer = DiffQuantizer(self.model, group_size=8)
            self.quantizer.setup_optimizer(self.optimizer)
        self.x, self.y = (tensor.to(args.device) for tensor in make_batch())

    def step(self):
        self.optimizer.zero_grad()
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16"):
            loss = loss_of(self.model, self.x, self.y)
        if self.quantizer is not None:
            loss = loss + 5 * self.quantizer.model_size()
        loss.backward()
        self.optimizer.step()

    def step_ms(self):
        start = time.perf_counter()
        for _ in range(STEPS_A_TIME):
            self.step()
        if args.device == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start) / STEPS_A_TIME


subjects = {method: Subject(method) for method in args.methods}
times = {method: [] for method in args.methods}
for step in range(-2, args.steps):
    for method, subject in subjects.items():
        ms = subject.step_ms()
        if step >= 0:
            times[method].append(ms)
print(json.dumps({"ms": times, "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
