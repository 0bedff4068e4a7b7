"""Times museval's BSS Eval v4, as it is used by default (one filter for the whole signal). Prints JSON.

usage: museval_scores.py FILE SOURCES CHANNELS
"""
import importlib.util
import json
import pathlib
import sys
import time

import numpy as np

# The one module that computes: the package itself wants audio libraries and pandas.
place = pathlib.Path(importlib.util.find_spec("museval").origin).parent / "metrics.py"
spec = importlib.util.spec_from_file_location("museval_metrics", place)
metrics = importlib.util.module_from_spec(spec)
spec.loader.exec_module(metrics)

sources, channels = int(sys.argv[2]), int(sys.argv[3])
references, estimates = np.fromfile(sys.argv[1], np.float32).astype(np.float64).reshape(2, sources, -1, channels)
start = time.perf_counter()
scores = metrics.bss_eval(references, estimates, window=44100, hop=44100, compute_permutation=False, filters_len=512,
                          framewise_filters=False, bsseval_sources_version=False)[:4]
seconds = time.perf_counter() - start
print(json.dumps({"seconds": [seconds], "scores": np.stack(scores).ravel().tolist()}))
