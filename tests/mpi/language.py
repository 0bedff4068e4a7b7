"""A language sweep through the whole program: text that follows a rule, learnt by every method; perplexity, lower is better,
in results, report and `eval`; what is wrong with a text ends the program with 2 before anything is made."""

import random

from sweep_tools import expect_code, read_table, run_tests, small_sweep, write_sweep

METHODS = [{"method": "fp32"}, {"method": "ptq", "bits": 3}, {"method": "qat", "bits": 4},
           {"method": "lsq", "bits": 3, "start": "fp32", "train": {"optimizer": {"lr": 2e-3}}},
           {"method": "diffq", "lambda": 10, "group_size": 8, "bits_lr": 0.02}]
WORDS = 60


def write_texts(folder, counts=(9000, 600, 700)):
    """The word after w is 3 w + 1, or (one in four) any."""
    folder.mkdir()
    draw, word = random.Random(4), 0
    for part, count in zip(("train", "valid", "test"), counts):
        words = []
        for _ in range(count):
            word = draw.randrange(WORDS) if draw.random() < 0.25 else (3 * word + 1) % WORDS
            words.append(f"w{word}")
        (folder / f"{part}.txt").write_text(" ".join(words) + "\n")
    return folder


def language_sweep(folder, methods=METHODS, **data):
    sweep = small_sweep(folder, methods, epochs=4, batch_size=16, optimizer={"name": "nag", "lr": 0.5, "momentum": 0.9},
                        max_grad_norm=0.5)
    sweep["benchmarks"][0] |= {
        "data": {"name": "text", "root": str(folder), "block": 16, "context": 4} | data,
        "model": {"name": "transformer_lm", "layers": 1, "dim": 32, "ffn": 32, "heads": 2, "cutoffs": [20], "factor": 2,
                  "dropout": 0, "attention_dropout": 0, "activation_dropout": 0, "softmax_dropout": 0},
        "quant": {"min_size_mb": 0.001}}
    return sweep


def test_sweep(folder):
    root, out = write_texts(folder / "texts"), folder / "out"
    expect_code(0, 2, "run", write_sweep(folder / "s.json", language_sweep(root)), "--out", out, limit=120)
    expect_code(0, 0, "verify", out)
    rows = {row["method"]: row for row in read_table(out / "results.h5", "runs")}
    assert len(rows) == len(METHODS)
    for method, row in rows.items():
        print(f"  {method}: perplexity {row['metric']:.3f}, {row['mean_bits']:.2f} bits")
        assert (row["status"], row["benchmark"], row["metric_name"]) == ("done", "language", "perplexity"), row
        assert not row["higher_is_better"]
        # Of who knows the rule: (1 / 0.754)^0.754 · 240^0.246 = 4.8; of who knows nothing: 60.
        assert method == "ptq" or 3 < row["metric"] < 12, row["metric"]
        said = expect_code(0, 0, "eval", out / "runs" / row["run_id"] / "model.safetensors").out
        name, _, value = said.strip().splitlines()[-1].rpartition(" = ")
        assert name == "perplexity" and abs(float(value) / row["metric"] - 1) < 1e-6, said
    assert rows["ptq"]["metric"] > rows["fp32"]["metric"] and rows["diffq"]["mean_bits"] < 6
    report = expect_code(0, 0, "report", out).out
    better = "better" if rows["diffq"]["metric"] < rows["fp32"]["metric"] else "worse"
    line = next(line for line in report.splitlines() if line.startswith("At DiffQ's smallest size"))
    assert f"perplexity is {better} than fp32" in line, line
    # A clear word to who asks for a GPU where there is none.
    model = out / "runs" / rows["fp32"]["run_id"] / "model.safetensors"
    assert expect_code(0, 0, "eval", model, "--device", "cpu").out.startswith("model  transformer_lm on cpu\n")
    error = expect_code(2, 0, "eval", model, "--device", "cuda").err
    assert "sees no GPU" in error and "--device cpu does without" in error, error
    # Another model's data.
    error = expect_code(2, 0, "eval", model, "--data", "mnist", "--root", folder).err
    assert "transformer_lm is a model for the benchmark language, but data.name, mnist, is for image" in error, error


def test_wrong_texts(folder):
    root, out = write_texts(folder / "texts"), folder / "out"
    fp32 = [{"method": "fp32"}]

    def refused(*parts, ranks=2, **data):
        sweep = write_sweep(folder / "s.json", language_sweep(root, fp32, **data))
        error = expect_code(2, ranks, "run", sweep, "--out", out).err
        assert len(error.strip().splitlines()) == 1 and all(part in error for part in parts), error
        assert not out.exists()

    refused("train.txt: has 9000 tokens, fewer than one block (data.block: 10000)", block=10000)
    refused("train.batch_size: 16 is more than the 10 training samples", block=900, ranks=4)
    (root / "test.txt").write_bytes(b"w1 w\xff2\n")
    refused("test.txt: is not UTF-8: byte 4, in line 1")
    (root / "test.txt").write_bytes(b"")
    refused("test.txt: is empty")
    (root / "test.txt").unlink()
    refused("test.txt: is not there")


run_tests([test_sweep, test_wrong_texts])
