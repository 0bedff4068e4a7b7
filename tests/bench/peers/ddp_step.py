"""Step times of ResNet-18 under DistributedDataParallel (Gloo) and of each rank by itself, in turn. Rank 0 prints JSON.

usage: ddp_step.py --steps N --threads T      starts its own two processes
"""
import argparse
import json
import os
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from resnet18 import ResNet18
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel


def step_ms(model, optimizer, x, y):
    dist.barrier()
    start = time.perf_counter()
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    return 1e3 * (time.perf_counter() - start)


def rank_main(rank, args, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    models = {"fp32": DistributedDataParallel(ResNet18().train()), "fp32_alone": ResNet18().train()}
    optimizers = {
        name: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4) for name, model in models.items()
    }
    x, y = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    times = {name: [] for name in models}
    for step in range(-2, args.steps):
        for name, model in models.items():
            ms = step_ms(model, optimizers[name], x, y)
            if step >= 0:
                times[name].append(ms)
    if rank == 0:
        print(json.dumps({"ms": times}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    mp.spawn(rank_main, args=(parser.parse_args(), 29500 + os.getpid() % 1000), nprocs=2)
