"""The language model against one that is built of torch's own layers: loss and every gradient to 1e-5, and perplexity with
a context window, from the texts up, to 1e-6.

usage: language_model.py LANGUAGE_VALUES     exit code 77: torch can't be imported here
"""
import collections
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    from safetensors.torch import load_file
    from torch import nn
except Exception as error:  # OSError, ValueError …, by what is missing
    print(f"skipped, torch can't be imported: {' '.join(str(error).split())[:300]}")
    sys.exit(77)

DIM, FFN, HEADS, LAYERS, CUTOFFS, FACTOR, BLOCK, CONTEXT = 16, 24, 2, 2, [10, 24], 2, 8, 3


def words(count, kinds, seed):
    draw = random.Random(seed)
    return [f"w{min(draw.randrange(kinds), draw.randrange(kinds))}" for _ in range(count)]


class Reference(nn.Module):
    """Every use of a tied tensor is a parameter of its own here."""

    def __init__(self, vocabulary):
        super().__init__()
        self.ends = [*CUTOFFS, vocabulary]
        widths = [DIM // FACTOR**k for k in range(len(self.ends))]
        begins = [0, *CUTOFFS]
        bands = zip(begins, self.ends, widths)
        self.embeddings = nn.ModuleList(nn.Embedding(end - begin, width) for begin, end, width in bands)
        self.projections = nn.ModuleList(nn.Linear(width, DIM, bias=False) for width in widths)
        layer = nn.TransformerEncoderLayer(DIM, HEADS, FFN, dropout=0, activation="relu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(DIM, vocabulary, CUTOFFS, div_value=FACTOR)

    def hidden(self, tokens):
        x = torch.zeros(*tokens.shape, DIM, dtype=self.projections[0].weight.dtype)
        begins = [0, *CUTOFFS]
        for begin, end, embedding, projection in zip(begins, self.ends, self.embeddings, self.projections):
            inside = (tokens >= begin) & (tokens < end)
            x[inside] = projection(embedding(tokens[inside] - begin))
        rates = [10000 ** (-i / (DIM // 2 - 1)) for i in range(DIM // 2)]
        positions = torch.tensor([[f(place * rate) for f in (math.sin, math.cos) for rate in rates]
                                  for place in range(2, 2 + tokens.shape[1])], dtype=x.dtype)
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1]).to(x.dtype)
        return self.layers(math.sqrt(DIM) * x + positions, mask=mask, is_causal=True)

    def log_probabilities(self, tokens, targets):
        return self.softmax(self.hidden(tokens).reshape(-1, DIM), targets.reshape(-1)).output

    def uses(self):
        """Our name for a tensor -> the parameters here that it is, each with how to bring it to our form."""
        same, turned = (lambda t: t), (lambda t: t.t())
        embed, softmax = "decoder.embed_tokens.embeddings", "decoder.adaptive_softmax"
        found = collections.defaultdict(list)
        words_in_head = CUTOFFS[0]
        for k, (embedding, projection) in enumerate(zip(self.embeddings, self.projections)):
            found[f"{embed}.{k}.0.weight"].append((embedding.weight, same))
            found[f"{embed}.{k}.1.weight"].append((projection.weight, same))
        found[f"{embed}.0.0.weight"].append((self.softmax.head.weight, lambda t: t[:words_in_head]))
        found[f"{softmax}.head.class_proj.weight"].append((self.softmax.head.weight, lambda t: t[words_in_head:]))
        for k, tail in enumerate(self.softmax.tail):
            found[f"{embed}.{k + 1}.1.weight"].append((tail[0].weight, turned))
            found[f"{embed}.{k + 1}.0.weight"].append((tail[1].weight, same))
        for i, layer in enumerate(self.layers.layers):
            at = f"decoder.layers.{i}"
            for part in ("weight", "bias"):
                for k, name in enumerate(("q_proj", "k_proj", "v_proj")):
                    rows = lambda t, k=k: t[k * DIM:(k + 1) * DIM]
                    found[f"{at}.self_attn.{name}.{part}"].append((getattr(layer.self_attn, f"in_proj_{part}"), rows))
                for name, module in (("self_attn.out_proj", layer.self_attn.out_proj), ("fc1", layer.linear1),
                                     ("fc2", layer.linear2), ("self_attn_layer_norm", layer.norm1),
                                     ("final_layer_norm", layer.norm2)):
                    found[f"{at}.{name}.{part}"].append((getattr(module, part), same))
        return found


def numbered(folder):
    """The words of the three parts as numbers, by the rule of docs/sweep_file.md."""
    parts = [(folder / f"{part}.txt").read_text().split() for part in ("train", "valid", "test")]
    counts = collections.Counter(parts[0])  # most_common keeps the order of appearance among equals
    number = {word: 2 + i for i, (word, _) in enumerate(counts.most_common())}
    return len(number) + 2, [[number.get(word, 1) for word in part] for part in parts]


def perplexity(model, tokens):
    """Each token given the at least CONTEXT and less than BLOCK tokens before it that its window has."""
    total, done, begin = 0.0, 0, 0
    while done < len(tokens):
        window = tokens[begin:begin + BLOCK]
        before = [0 if begin == 0 else tokens[begin - 1], *window[:-1]]
        output = model.log_probabilities(torch.tensor([before]), torch.tensor([window]))
        total -= output[done - begin:].sum().item()
        done = begin + len(window)
        begin += BLOCK - CONTEXT
    return math.exp(total / len(tokens))


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, count, kinds, seed in (("train", 800, 40, 1), ("valid", 70, 44, 2), ("test", 77, 44, 3)):
            (folder / f"{part}.txt").write_text(" ".join(words(count, kinds, seed)) + "\n")
        subprocess.run([sys.argv[1], name], check=True)
        ours = load_file(folder / "values.safetensors")
        vocabulary, (train, _, test) = numbered(folder)

    blocks = [[0, *train][begin:begin + BLOCK + 1] for begin in (5 * BLOCK, 0, 31 * BLOCK)]
    assert ours["input"].tolist() == [block[:-1] for block in blocks], "the inputs are other tokens"
    assert ours["target"].tolist() == [block[1:] for block in blocks], "the targets are other tokens"

    model = Reference(vocabulary).double()
    uses = model.uses()
    # Tied tensors are listed under each of their names; the first one is the one known here.
    tied = [key for key in ours if key.startswith("parameter/") and key.removeprefix("parameter/") not in uses]
    assert len(tied) == 5, tied
    with torch.no_grad():
        for key, places in uses.items():
            for parameter, view in places:
                view(parameter).copy_(ours[f"parameter/{key}"])
    loss = -model.log_probabilities(ours["input"], ours["target"]).mean()
    loss.backward()
    worst = abs(ours["loss"].item() - loss.item()) / loss.item()
    assert worst <= 1e-5, (ours["loss"], loss)
    for key, places in uses.items():
        expected = sum(view(parameter.grad) for parameter, view in places)
        off = (ours[f"gradient/{key}"].double() - expected).abs().max() / expected.abs().max()
        # Keys' biases move all scores of a query alike: their gradient is 0 but for rounding.
        if key.endswith("k_proj.bias"):
            off = ours[f"gradient/{key}"].abs().max() / ours[f"gradient/{key.replace('bias', 'weight')}"].abs().max()
        assert off <= 1e-5, (key, off.item())
        worst = max(worst, off.item())
    with torch.no_grad():
        expected = perplexity(model, test)
    off = abs(ours["perplexity"].item() / expected - 1)
    print(f"{len(uses)} tensors: loss and gradients differ by {worst:.1e} at most, perplexity {expected:.6f} by {off:.1e}")
    assert off <= 1e-6, (ours["perplexity"].item(), expected)


main()
