"""Says whether two fixture directories agree; prints every difference and exits with 1 when they do not.

    python tools/oracle/compare_fixtures.py A B

Numbers in JSON: 1e-9 relative (integers exactly; the `sum` of logits, which cancels, relative to their `norm`).
Weights and adapters: bit for bit. Gradients, stored as float32: one float32 rounding, or 1e-9 of the tensor's largest.
"""

import json
import pathlib
import sys

import numpy
from safetensors import safe_open

TOLERANCE = 1e-9


def compare_json(where, a, b, scale=0.0):
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            yield f"{where}: keys differ: {sorted(a.keys() ^ b.keys())}"
        for key in a.keys() & b.keys():
            norm = abs(a.get("norm", 0.0)) if key == "sum" else 0.0
            yield from compare_json(f"{where}.{key}", a[key], b[key], norm)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield f"{where}: {len(a)} entries against {len(b)}"
        for index, (one, other) in enumerate(zip(a, b)):
            yield from compare_json(f"{where}[{index}]", one, other)
    elif isinstance(a, float) and isinstance(b, float):
        if not abs(a - b) <= TOLERANCE * max(abs(a), abs(b), scale):
            yield f"{where}: {a!r} against {b!r}"
    elif type(a) is not type(b) or a != b:
        yield f"{where}: {a!r} against {b!r}"


def read_tensors(path):
    """name -> (dtype, shape, raw bytes as an array); bf16 has no numpy type, so everything stays as stored."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (e["dtype"], e["shape"], data[slice(*e["data_offsets"])]) for name, e in header.items()}


def compare_tensors(where, one, other, rounded):
    with safe_open(one, "np"), safe_open(other, "np"):
        pass  # the library's own check that both files are whole
    a, b = read_tensors(one), read_tensors(other)
    if a.keys() != b.keys():
        yield f"{where}: tensors differ: {sorted(a.keys() ^ b.keys())}"
    for name in a.keys() & b.keys():
        if a[name][:2] != b[name][:2]:
            yield f"{where} {name}: {a[name][:2]} against {b[name][:2]}"
        elif not rounded:
            if a[name][2] != b[name][2]:
                yield f"{where} {name}: the bytes differ"
        else:
            x, y = (numpy.frombuffer(t[name][2], "<f4").astype("f8") for t in (a, b))
            allowed = 2.0**-23 * numpy.abs(x) + TOLERANCE * numpy.abs(x).max()
            if not (numpy.abs(x - y) <= allowed).all():
                yield f"{where} {name}: off by up to {numpy.abs(x - y).max():.3g}"


def compare(a, b):
    files = [{str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()} for root in (a, b)]
    if not files[0] or not files[1]:
        yield f"{a if not files[0] else b}: no fixtures there"
    for name in sorted(files[0] ^ files[1]):
        yield f"{name}: only in {a if name in files[0] else b}"
    for name in sorted(files[0] & files[1]):
        if name.endswith(".safetensors"):
            yield from compare_tensors(name, a / name, b / name, name.endswith("gradients.safetensors"))
        else:
            yield from compare_json(name, json.loads((a / name).read_text()), json.loads((b / name).read_text()))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    differences = list(compare(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
    print("\n".join(differences) if differences else "the fixtures agree")
    sys.exit(1 if differences else 0)
