"""Who may include whom (docs/architecture.md), checked on every #include of the source folders."""
import pathlib
import re
import sys

SOURCE = pathlib.Path(sys.argv[1])
FOLDERS = ["quant", "datasets", "results", "trainer", "sweeps", "launcher"]

# What a folder may include of the others: a folder, or single headers of it.
ALLOWED = {
    "quant": [],
    "datasets": [],
    "results": [],
    "trainer": ["quant/", "datasets/", "results/records.h", "results/durable_file.h"],
    "sweeps": ["quant/method_spec.h", "quant/packed_tensor.h", "datasets/data_spec.h", "trainer/run_spec.h"],
    "launcher": ["quant/", "datasets/", "results/", "trainer/", "sweeps/"],
}

# Libraries that only some places may know: pattern of the header -> files that may include it.
LIBRARIES = {
    r"(mpi|nccl)\.h$": r"^launcher/",
    r"(hdf5|H5\w*)\.h$": r"^results/(tables|hdf5_version)",
    r"^CLI/": r"^launcher/main\.cpp$",
    r"^zlib\.h$": r"^(datasets/|results/tables)",
    r"^archive(_entry)?\.h$": r"^datasets/codecs/",
    r"^(jpeglib|jerror|turbojpeg)\.h$": r"^datasets/codecs/",
    r"^(sndfile\.h$|libav|libsw)": r"^datasets/codecs/",
    r"^torch/(torch|nn)": r"^(trainer|launcher)/",
    r"^torch/torch\.h$": r"\.cpp$",  # 27 s a file: never in a header
}


def violations(path):
    name = path.relative_to(SOURCE).as_posix()
    own = name.split("/")[0]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        header = match.group(2)
        folder = header.split("/")[0]
        if match.group(1) == '"' and folder in FOLDERS and folder != own:
            if not any(header == rule or (rule.endswith("/") and header.startswith(rule)) for rule in ALLOWED[own]):
                yield f"{name}:{number}: {own}/ may not include {header}"
        for pattern, place in LIBRARIES.items():
            if re.search(pattern, header) and not re.search(place, name):
                yield f"{name}:{number}: {header} is not for this file"


def main():
    # The check must be able to fail: it knows a wrong include when it sees one.
    assert not any("launcher/" == rule for rule in ALLOWED["quant"])
    files = [path for folder in FOLDERS for path in sorted((SOURCE / folder).rglob("*")) if path.suffix in {".h", ".cpp", ".cu"}]
    assert len(files) > 30, "the source folders were not found"
    found = [text for path in files for text in violations(path)]
    print("\n".join(found) or f"{len(files)} files keep the include rules")
    return 1 if found else 0


sys.exit(main())
