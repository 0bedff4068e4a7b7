"""Writes reference vectors for the quantizers, in the layouts that tests/quant/reference_test.cpp reads.

    make_quant.py OUT.h5 [SEED]

A second statement of the formulas in NumPy, double precision except where levels and bits are defined in float32, with
shapes that are awkward on purpose: groups that do not divide, one group, ties at the extremes, one entry, all widths.
"""

import sys

import h5py
import numpy as np

BITS_PER_MB = 8 * 2**20
F = np.float32


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bits_and_slope(logits, low, high, param):
    """Bits of each group, and their derivative by the logit, in double."""
    part = sigmoid(logits.astype(float))
    if param == "bits":
        return high * part + low * (1 - part), (high - low) * part * (1 - part)
    log_low, log_high = -np.log(2.0**low - 1), -np.log(2.0**high - 1)
    scale = np.exp(log_high * part + log_low * (1 - part))
    return np.log2(1 + 1 / scale), -(log_high - log_low) * part * (1 - part) / ((1 + scale) * np.log(2))


def on_grid(weight, top):
    """Levels and restored weights, in float32 as evaluated."""
    low, high = weight.min(), weight.max()
    top = np.broadcast_to(F(top), weight.shape)
    levels = np.rint((weight - low) / (high - low) * top)
    return levels.astype(np.int32), (levels / top * (high - low) + low).astype(F)


def write(group, attributes, datasets):
    group.attrs.update(attributes)
    for name, value in datasets.items():
        group.create_dataset(name, data=value)


def diffq_case(file, name, rng, shape, group_size, noise, param, low, init, high, float16=False, ties=0):
    weight = (rng.standard_normal(shape) * 0.4).astype(F)
    flat = weight.reshape(-1)
    if ties:
        flat[rng.choice(flat.size, ties, replace=False)] = flat.max()
    n = flat.size
    size = n if group_size == 0 else group_size
    group_of = np.arange(n) // size
    held = np.bincount(group_of)
    logits = (rng.standard_normal(held.size) * 1.5).astype(F)
    bits, slope = bits_and_slope(logits, low, high, param)
    keep = np.abs(bits - np.floor(bits) - 0.5) > 1e-4  # bits near a half would round by the last place
    logits[~keep] += F(0.01)
    bits, slope = bits_and_slope(logits, low, high, param)
    epsilon = (rng.standard_normal(n) / 2 if noise == "gaussian" else rng.random(n) - 0.5).astype(F)
    small = rng.standard_normal(9).astype(F)
    gradient = rng.standard_normal(n).astype(F)

    width = float(flat.max()) - float(flat.min())
    noisy = flat + (width / (2.0**bits - 1))[group_of] * epsilon
    sums = np.bincount(group_of, gradient.astype(float) * epsilon)
    grad_bits = -width * np.log(2) * 2.0**bits / (2.0**bits - 1) ** 2 * sums
    grad_weight = gradient.astype(float)
    by_range = np.sum(sums / (2.0**bits - 1))
    for sign, end in ((1, flat.max()), (-1, flat.min())):
        grad_weight[flat == end] += sign * by_range / np.count_nonzero(flat == end)

    def size_mb(widths):
        beta = max(0, np.ceil(np.log2(1 + np.rint(widths.max()) - low)))
        kept = (16 if float16 else 32) * small.size
        return (kept + np.sum(held * widths) + 64 + 8 + beta * held.size) / BITS_PER_MB

    rounded = np.clip(np.rint(bits), 1, 15).astype(np.int32)
    levels, restored = on_grid(flat, (2.0**rounded - 1)[group_of])
    write(file.create_group("diffq/" + name),
          dict(group_size=group_size, min_bits=low, init_bits=init, max_bits=high, param=param, noise=noise,
               float16=float16),
          dict(weight=weight, small=small, logits=logits, bits=bits, noise=epsilon, noisy=noisy.reshape(shape),
               grad_output=gradient.reshape(shape), grad_weight=grad_weight.reshape(shape), grad_logits=grad_bits * slope,
               model_size_mb=size_mb(bits), model_size_grad_logits=held * slope / BITS_PER_MB,
               true_model_size_mb=size_mb(rounded), rounded_bits=rounded, levels=levels, eval_weight=restored,
               range=np.array([flat.min(), flat.max()], float)))


def uniform_case(file, rng, bits, n):
    weight, small = (rng.standard_normal(n) * 0.2).astype(F), rng.standard_normal(5).astype(F)
    gradient = rng.standard_normal(n).astype(F)
    levels, restored = on_grid(weight, 2.0**bits - 1)
    write(file.create_group(f"uniform/b{bits}_{n}"), dict(bits=bits),
          dict(weight=weight, small=small, grad_output=gradient, forward=restored, grad_weight=gradient, levels=levels,
               range=np.array([weight.min(), weight.max()], float),
               true_model_size_mb=(bits * n + 64 + 32 * small.size) / BITS_PER_MB))


def lsq_case(file, rng, bits, n, shrink):
    weight, small = (rng.standard_normal(n) * 0.2).astype(F), rng.standard_normal(5).astype(F)
    gradient = rng.standard_normal(n).astype(F)
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    start = 2 * np.abs(weight.astype(float)).mean() / np.sqrt(2 ** (bits - 1))
    scale = F(start * shrink)
    u = weight / scale
    inside = (u >= lowest) & (u <= highest)
    levels = np.rint(np.clip(u, F(lowest), F(highest)))
    by_scale = np.where(inside, levels - u.astype(float), levels)
    write(file.create_group(f"lsq/b{bits}_{n}"), dict(bits=bits),
          dict(weight=weight, small=small, grad_output=gradient, init_scale=start, scale=scale, forward=levels * scale,
               grad_weight=gradient * inside, levels=levels.astype(np.int32),
               grad_scale=np.sum(gradient.astype(float) * by_scale) / np.sqrt(n * highest),
               true_model_size_mb=(bits * n + 32 + 32 * small.size) / BITS_PER_MB))


def main():
    rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    with h5py.File(sys.argv[1], "w") as file:
        diffq_case(file, "g8_not_dividing", rng, (7, 43), 8, "gaussian", "bits", 2, 8, 15)
        diffq_case(file, "g3_ties", rng, (1000,), 3, "uniform", "bits", 2, 8, 15, ties=4)
        diffq_case(file, "g8_ties", rng, (40, 30), 8, "gaussian", "bits", 1, 6, 10, ties=3)
        diffq_case(file, "g16_float16_noise", rng, (33, 17), 16, "uniform", "noise", 3, 8, 15, float16=True)
        diffq_case(file, "g128", rng, (5, 100), 128, "gaussian", "bits", 2, 8, 15)
        diffq_case(file, "g200", rng, (41000,), 200, "gaussian", "bits", 2, 8, 15)
        diffq_case(file, "g20000", rng, (50001,), 20000, "gaussian", "noise", 2, 8, 15)
        diffq_case(file, "g0_large", rng, (300, 200), 0, "uniform", "bits", 2, 8, 15)
        diffq_case(file, "g_longer_than_tensor", rng, (50,), 64, "gaussian", "bits", 2, 8, 15)
        for bits in range(1, 16):
            uniform_case(file, rng, bits, 700 + bits)
        for bits in range(2, 16):
            lsq_case(file, rng, bits, 300 + bits, 0.3 if bits % 2 else 1.1)


if __name__ == "__main__":
    main()
