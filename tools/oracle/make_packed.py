"""Writes the fixtures of packed rows: several documents in a row, trained as if each stood alone.

    python tools/oracle/make_packed.py [--models DIR] [--out DIR]

Models and adapters are those that make_fixtures.py wrote (default test/fixtures/oracle); the default of --out is
test/fixtures/packed. What is expected comes from each document run through transformers on its own, unpadded. It is
written only where transformers' own forward of the packed rows agrees: positions that begin anew, from which it makes its
block-diagonal masks itself. Seeded and single-threaded: two runs write the same bytes. Knows nothing of Heddle.
"""

import argparse
import math
import pathlib
import shutil
import tempfile
import zlib

import numpy
import oracle
import torch
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

SEED = 21
AGREEMENT = 1e-9
oracle.GRADIENT_SAMPLES = 256
GRADIENT_LIMIT = 384

# Rows of documents by their number of positions; a row's rest up to its length is padding.
FAMILIES = {
    "gpt2-small": dict(length=29, rows=[[11, 5, 9], [17, 7]]),
    "qwen2-small": dict(length=41, rows=[[13, 7, 15, 1], [23, 11]]),
    "qwen3-small": dict(length=41, rows=[[19, 17], [5, 21, 9, 3]]),
    # Longer than the 64 positions that its rotation is stretched from.
    "llama-small": dict(length=109, rows=[[71, 35], [5, 83, 13]]),
    "smollm3-small": dict(length=41, rows=[[15, 21, 3], [7, 29]]),
    # The window is 8. A border of documents lies within a window, windows within a document, and there are documents of
    # the window's length, of one position more and of one less.
    "gemma3-small": dict(length=45, rows=[[19, 5, 17], [8, 9, 7, 16]]),
}


def make_documents(family, rows, vocab):
    """Rows of documents: tokens, shifted targets, and weights of which a stretch at the beginning is 0."""
    random = numpy.random.default_rng([SEED, zlib.crc32(family.encode())])
    made = []
    for row in rows:
        documents = []
        for size in row:
            record = random.integers(1, vocab, size + 1).tolist()
            masked = int(random.integers(0, 1 + size // 2))
            weights = [0] * masked + [1] * (size - masked)
            documents.append({"tokens": record[:-1], "targets": record[1:], "weights": weights})
        made.append(documents)
    return made


def pack(documents, length):
    """The rows of a batch; padding is one more document and weighs 0."""
    batch = {key: [] for key in ("lengths", "tokens", "targets", "weights", "segments", "positions")}
    for row in documents:
        used = sum(len(one["tokens"]) for one in row)
        batch["lengths"].append(used)
        for key in ("tokens", "targets", "weights"):
            batch[key].append([value for one in row for value in one[key]] + [0] * (length - used))
        sizes = [*(len(one["tokens"]) for one in row), length - used]
        batch["segments"].append([number for number, size in enumerate(sizes) for _ in range(size)])
        batch["positions"].append([place for size in sizes for place in range(size)])
    return batch


def alone(document):
    return {key: [document[key]] for key in ("tokens", "targets", "weights")}


def sums_apart(model, documents):
    """Σ weight·surprise and Σ weight over documents, each a forward of its own."""
    parts = []
    for document in (one for row in documents for one in row):
        losses, weights = oracle.token_losses(model, alone(document))
        parts.append(((losses * weights).sum(), weights.sum()))
    return parts


def loss_apart(model, documents):
    parts = sums_apart(model, documents)
    return sum(loss for loss, _ in parts) / sum(weight for _, weight in parts)


def loss_packed(model, batch):
    """transformers' forward of whole rows; it sees where documents begin by their positions."""
    with sdpa_kernel(SDPBackend.MATH):
        logits = model(
            input_ids=torch.tensor(batch["tokens"]), position_ids=torch.tensor(batch["positions"]), use_cache=False
        ).logits
    targets, weights = torch.tensor(batch["targets"]), torch.tensor(batch["weights"], dtype=logits.dtype)
    losses = -torch.log_softmax(logits, dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return (losses * weights).sum() / weights.sum()


def gradients(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.detach().clone() for name, p in oracle.trainable(model).items()}


def check_packed(where, load, batch, loss, apart):
    """Refuses to go on unless both oracles agree, and unless taking the rows for one document each would be seen."""
    model = load()
    packed = loss_packed(model, batch)
    if not abs(packed.item() - loss) <= AGREEMENT * loss:
        raise SystemExit(f"{where}: transformers' packed forward gives {packed.item()!r}, documents alone {loss!r}")
    for name, gradient in gradients(model, packed).items():
        if not (gradient - apart[name]).norm() <= AGREEMENT * apart[name].norm():
            raise SystemExit(f"{where}: the packed gradient of {name} differs from that of documents alone")
    with torch.no_grad():
        merged = oracle.loss_of(model, batch).item()
    if not abs(merged - loss) > 1e-4 * loss:
        raise SystemExit(f"{where}: rows read as one document have the same loss")


def expect(load, documents, batch, out):
    model = load()
    with torch.no_grad():
        sums = [(loss.item(), weight.item()) for loss, weight in sums_apart(model, documents)]
    loss = loss_apart(model, documents)
    grads = gradients(model, loss)
    check_packed(out, load, batch, loss.item(), grads)
    expected = {
        "loss": loss.item(),
        "documents": [{"lossSum": part, "weightSum": weight} for part, weight in sums],
        "gradientNorm": math.sqrt(sum(g.square().sum().item() for g in grads.values())),
        "gradients": {
            name: {"shape": list(g.shape), "norm": g.norm().item(), "sampled": oracle.is_sampled(g, GRADIENT_LIMIT)}
            for name, g in sorted(grads.items())
        },
        "curve": oracle.train(load(), documents, loss_apart),
    }
    out.mkdir(parents=True)
    oracle.write_json(out / "expected.json", expected)
    stored = {name: oracle.stored_gradient(g, GRADIENT_LIMIT) for name, g in sorted(grads.items())}
    save_file(stored, out / "gradients.safetensors")


def make_family(family, shape, models, out):
    model, adapter = models / family / "model", models / family / "lora" / "adapter"
    vocab = oracle.load_model(model).config.vocab_size
    documents = make_documents(family, shape["rows"], vocab)
    batch = pack(documents, shape["length"])
    out.mkdir(parents=True)
    oracle.write_json(out / "batch.json", {**batch, "documents": shape["rows"]})
    # Everything that is trained is held in float32; what stays frozen under an adapter, as it is stored.
    full = lambda: oracle.load_model(model, held=torch.float32).requires_grad_(True)  # noqa: E731
    expect(full, documents, batch, out / "full")
    expect(lambda: oracle.load_adapted(model, adapter), documents, batch, out / "lora")


def main():
    fixtures = pathlib.Path(__file__).resolve().parents[2] / "test" / "fixtures"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=pathlib.Path, default=fixtures / "oracle")
    parser.add_argument("--out", type=pathlib.Path, default=fixtures / "packed")
    given = parser.parse_args()
    out = given.out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").exists():
        raise SystemExit(f"{out} holds something that is no fixture of packed rows; remove it or choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".packed-") as scratch:
        fresh = pathlib.Path(scratch) / "packed"
        for family, shape in FAMILIES.items():
            make_family(family, shape, given.models.resolve(), fresh / family)
        manifest = {"families": list(FAMILIES), "gradientSamples": oracle.GRADIENT_SAMPLES}
        oracle.write_json(fresh / "manifest.json", manifest)
        for file in fresh.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {len(FAMILIES) * 2} cases, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
