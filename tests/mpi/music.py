"""Whole sweeps on music: tracks scored once by two ranks, /tracks in results.h5, a packed model that separates files of
other rates and channels, and wrong input refused. The music is made here: each stem a tone under a random envelope."""

import math
import wave

import numpy as np

from sweep_tools import expect_code, read_table, run_tests, write_sweep

RATE = 8000
STEMS = ["drums", "bass", "other", "vocals"]


def write_wave(path, sound, rate=RATE):
    """sound: [channels, frames] in -1 ... 1"""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((sound.shape[0], 2, rate, 0, "NONE", ""))
        file.writeframes(np.round(sound.T * 32767).astype("<i2").tobytes())


def read_wave(path):
    with wave.open(str(path)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels()).T / 32767
        return sound, file.getframerate()


def write_track(folder, seconds, random):
    time = np.arange(int(seconds * RATE)) / RATE
    mixture = 0
    for i, stem in enumerate(STEMS):
        knots = np.arange(0, seconds + 1, 0.25)
        envelope = np.interp(time, knots, random.uniform(0.2, 1, len(knots)))
        tone = 0.15 * envelope * np.sin(2 * np.pi * (90 * 3**i + random.uniform(0, 20)) * time)
        sound = np.stack([tone, tone * random.uniform(0.5, 1)])
        write_wave(folder / f"{stem}.wav", sound)
        mixture = mixture + sound
    write_wave(folder / "mixture.wav", mixture)


def write_music(root):
    random = np.random.default_rng(5)
    for name in ("train/a", "train/b", "valid/c", "test/d", "test/e", "test/f"):
        write_track(root / name, 4, random)
    return root


def sweep(root, methods, **data):
    return {"sweep": "music", "benchmarks": [{
        "data": {"name": "stems", "root": str(root), "rate": RATE, "segment_seconds": 1, "stride_seconds": 0.1, **data},
        "model": {"name": "demucs", "channels": 4, "depth": 3},
        "train": {"epochs": 2, "batch_size": 8, "optimizer": {"name": "adam", "lr": 3e-3}},
        "quant": {"min_size_mb": 0.001},
        "methods": methods}]}


METHODS = [{"method": "fp32"}, {"method": "lsq", "bits": 4, "start": "fp32"},
           {"method": "diffq", "lambda": 0.1, "bits_lr": 0.1}]


def test_a_sweep_on_two_ranks_and_its_models(folder):
    root, out = write_music(folder / "music"), folder / "out"
    path = write_sweep(folder / "s.json", sweep(root, METHODS) | {"ranks_per_run": 2})
    expect_code(0, 2, "run", path, "--out", out, limit=200)
    expect_code(0, 0, "verify", out)
    runs, tracks = read_table(out / "results.h5", "runs"), read_table(out / "results.h5", "tracks")
    assert len(runs) == 3 and all(run["status"] == "done" and run["metric_name"] == "SDR dB" for run in runs)
    assert len(tracks) == 3 * 3 * 4
    for run in runs:
        own = [row for row in tracks if row["run_id"] == run["run_id"]]
        assert [(row["track"], row["source"]) for row in own] == [(track, stem) for track in "def" for stem in STEMS]
        assert all(math.isfinite(row[key]) for row in own for key in ("sdr", "isr", "sir", "sar", "usdr"))
        # The mean over stems of the median over tracks.
        medians = [np.median([row["sdr"] for row in own if row["source"] == stem]) for stem in STEMS]
        assert abs(run["metric"] - np.mean(medians)) < 1e-9, run
        assert run["size_mb"] < run["size_fp32_mb"] / 2 or run["method"] == "fp32"

    lsq = next(run for run in runs if run["method"] == "lsq")
    model = out / "runs" / lsq["run_id"] / "model.safetensors"
    line = expect_code(0, 0, "eval", model).out.splitlines()[-1]
    assert line.startswith("SDR dB = ") and abs(float(line.split("=")[1]) - lsq["metric"]) < 1e-4, line
    check_separation(folder, model, root / "test/d/mixture.wav")


def separate(folder, model, source, name):
    stems = folder / name
    expect_code(0, 0, "separate", model, source, "--out", stems)
    assert sorted(path.name for path in stems.iterdir()) == sorted(f"{stem}.wav" for stem in STEMS)
    return [read_wave(stems / f"{stem}.wav") for stem in STEMS]


def check_separation(folder, model, source):
    error = expect_code(2, 0, "separate", model, source, "--out", folder / "none", "--device", "cuda").err
    assert "sees no GPU" in error and not (folder / "none").exists(), error
    mixture, _ = read_wave(source)
    plain = separate(folder, model, source, "plain")
    assert all(rate == RATE and sound.shape == mixture.shape for sound, rate in plain)
    assert np.abs(plain[0][0]).max() > 0.001
    # One channel is played on both; at twice the rate the stems are nearly the same, sampled twice as often.
    write_wave(folder / "mono.wav", mixture[:1])
    write_wave(folder / "both.wav", np.stack([mixture[0], mixture[0]]))
    of_mono, of_both = (separate(folder, model, folder / f"{name}.wav", name) for name in ("mono", "both"))
    for mono, both in zip(of_mono, of_both):
        assert np.array_equal(mono[0], both[0])
    spectrum = np.fft.rfft(mixture, axis=1)
    twice = np.fft.irfft(np.pad(spectrum, ((0, 0), (0, mixture.shape[1] - spectrum.shape[1] + 1))), 2 * mixture.shape[1]) * 2
    write_wave(folder / "twice.wav", twice, 2 * RATE)
    for (sound, rate), (usual, _) in zip(separate(folder, model, folder / "twice.wav", "t"), plain):
        assert rate == 2 * RATE and sound.shape[1] == 2 * mixture.shape[1]
        inner = slice(1000, -1000)
        assert np.abs(sound[:, ::2] - usual)[:, inner].max() < 0.02, np.abs(sound[:, ::2] - usual).max()
    refuses("separate", model, folder / "absent.wav", "--out", folder / "x", words="absent.wav: can't be read")
    write_wave(folder / "three.wav", np.zeros((3, 100)))
    refuses("separate", model, folder / "three.wav", "--out", folder / "x", words="has 3 channels; the model takes 2")
    refuses("separate", source, source, "--out", folder / "x", words="mixture.wav")


def refuses(*arguments, words):
    outcome = expect_code(2, 0, *arguments)
    assert words in outcome.err and len(outcome.err.splitlines()) == 1, outcome.err


def test_wrong_music_is_refused_once_before_anything_is_made(folder):
    root, out = write_music(folder / "music"), folder / "out"
    stem = root / "test/e/vocals.wav"
    sound = stem.read_bytes()
    stem.unlink()
    path = write_sweep(folder / "s.json", sweep(root, METHODS))
    outcome = expect_code(2, 2, "run", path, "--out", out)
    assert "test/e/vocals.wav: is not there" in outcome.err and len(outcome.err.splitlines()) == 1, outcome.err
    assert not out.exists()
    stem.write_bytes(sound)
    for data, words in (({"rate": 44100}, "has 8000 frames a second, not 44100"),
                        ({"segment_seconds": 0}, "segment_seconds"), ({"valid_samples": 3}, "valid_samples")):
        outcome = expect_code(2, 0, "plan", write_sweep(path, sweep(root, METHODS, **data)))
        assert words in outcome.err, outcome.err


def test_a_sample_that_is_no_number_fails_its_runs_with_the_file_named(folder):
    root, out = write_music(folder / "music"), folder / "out"
    bad = root / "train/a/bass.wav"
    sound, _ = read_wave(bad)
    values = sound.T.astype("<f4").copy()
    values[5000:5010] = np.nan
    header = b"RIFF" + (36 + values.nbytes).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += (3).to_bytes(2, "little") + (2).to_bytes(2, "little") + RATE.to_bytes(4, "little")
    header += (RATE * 8).to_bytes(4, "little") + (8).to_bytes(2, "little") + (32).to_bytes(2, "little")
    bad.write_bytes(header + b"data" + values.nbytes.to_bytes(4, "little") + values.tobytes())
    expect_code(1, 2, "run", write_sweep(folder / "s.json", sweep(root, METHODS[:1]) | {"ranks_per_run": 2}), "--out", out)
    (run,) = read_table(out / "results.h5", "runs")
    assert run["status"] == "failed" and "bass.wav: frame" in run["reason"] and "finite" in run["reason"], run["reason"]


run_tests([test_a_sweep_on_two_ranks_and_its_models, test_wrong_music_is_refused_once_before_anything_is_made,
           test_a_sample_that_is_no_number_fails_its_runs_with_the_file_named])
