"""The language model that step_bench trains, as one would write it in Python's torch: adaptive input and softmax with tied
embeddings and projections, norms before each branch, sinusoidal positions."""
import math

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, CUTOFFS, FACTOR, BLOCK = 267_744, (20_000, 60_000), 4, 512
LAYERS, DIM, FFN, HEADS = 4, 256, 1024, 4
DROPOUT, ATTENTION, ACTIVATION, SOFTMAX = 0.3, 0.1, 0.1, 0.2
BEGINS, ENDS = (0, *CUTOFFS), (*CUTOFFS, VOCABULARY)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(DIM, DIM) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.fc1, self.fc2 = nn.Linear(DIM, FFN), nn.Linear(FFN, DIM)

    def forward(self, x):
        drop = lambda t, rate: F.dropout(t, rate, self.training)
        y = self.norm1(x)
        q, k, v = (part(y).view(*y.shape[:2], HEADS, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=ATTENTION if self.training else 0, is_causal=True)
        x = x + drop(self.out(mixed.transpose(1, 2).reshape(x.shape)), DROPOUT)
        return x + drop(self.fc2(drop(F.relu(self.fc1(self.norm2(x))), ACTIVATION)), DROPOUT)


class TransformerLm(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [DIM // FACTOR**k for k in range(len(ENDS))]
        self.embeddings = nn.ModuleList(nn.Embedding(end - begin, width) for begin, end, width in zip(BEGINS, ENDS, widths))
        self.projections = nn.ModuleList(nn.Linear(width, DIM, bias=False) for width in widths)
        self.classes = nn.Linear(DIM, len(CUTOFFS), bias=False)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        steps = torch.arange(DIM // 2, dtype=torch.double) * -(math.log(10000) / (DIM // 2 - 1))
        angles = torch.outer(torch.arange(2, 2 + BLOCK, dtype=torch.double), steps.exp())
        self.positions = torch.cat([angles.sin(), angles.cos()], 1).float()

    def embed(self, tokens):
        x = torch.empty(*tokens.shape, DIM)
        for begin, end, embedding, projection in zip(BEGINS, ENDS, self.embeddings, self.projections):
            inside = (tokens >= begin) & (tokens < end)
            if inside.any():
                x[inside] = projection(embedding(tokens[inside] - begin))
        return x

    def forward(self, tokens, targets):
        x = F.dropout(self.embed(tokens) * math.sqrt(DIM) + self.positions[:tokens.shape[1]], DROPOUT, self.training)
        for layer in self.layers:
            x = layer(x)
        x, targets = F.dropout(x.reshape(-1, DIM), SOFTMAX, self.training), targets.reshape(-1)
        head_targets, loss = targets.clone(), 0
        for k, (begin, end) in enumerate(zip(BEGINS[1:], ENDS[1:])):
            inside = (targets >= begin) & (targets < end)
            if inside.any():
                head_targets[inside] = CUTOFFS[0] + k
                narrow = F.dropout(x[inside] @ self.projections[k + 1].weight, SOFTMAX, self.training)
                logits = F.linear(narrow, self.embeddings[k + 1].weight)
                loss = loss + F.cross_entropy(logits, targets[inside] - begin, reduction="sum")
        head = F.linear(x, torch.cat([self.embeddings[0].weight, self.classes.weight]))
        return (loss + F.cross_entropy(head, head_targets, reduction="sum")) / len(targets)
