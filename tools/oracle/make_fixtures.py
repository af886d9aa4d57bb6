"""Writes the fixtures that tests compare Heddle with: models, adapters, batches, losses, gradients, loss curves.

    python tools/oracle/make_fixtures.py [--out DIR]      (default test/fixtures/oracle)

Seeded and single-threaded: two runs write the same bytes. Knows nothing of Heddle.
"""

import argparse
import json
import math
import pathlib
import shutil
import tempfile
import warnings
import zlib

import numpy
import oracle
import peft
import torch
import transformers
from families import FAMILIES
from safetensors import safe_open
from safetensors.torch import save_file

SEED = 20
RANK, ALPHA = 8, 16


def normal(*key):
    """A generator of its own for each tensor, so that adding one changes no other."""
    return numpy.random.default_rng([SEED, zlib.crc32("/".join(key).encode())])


@torch.no_grad()
def randomise(model, family, width):
    """Random everything: norms that are not 1 and 0, biases that are not 0, matrices of spread 1/sqrt(width)."""
    for name, parameter in model.named_parameters():
        draw = torch.from_numpy(normal(family, name).standard_normal(tuple(parameter.shape)))
        if name.endswith(".bias"):
            parameter.copy_(0.1 * draw)
        elif parameter.dim() == 1:
            # Gemma's norms add the 1 themselves.
            parameter.copy_((0 if family.startswith("gemma") else 1) + 0.2 * draw)
        else:
            parameter.copy_(draw / math.sqrt(width))


def make_model(family, options, out):
    torch.set_default_dtype(torch.float32)
    config = options.config
    model = transformers.AutoModelForCausalLM.from_config(config)
    randomise(model, family, config.hidden_size)
    model = model.to(options.dtype)
    model.config.dtype = options.dtype
    model.save_pretrained(out, max_shard_size="1100KB" if options.shards else "50GB")
    (out / "generation_config.json").unlink(missing_ok=True)
    if family == "gpt2-odd":
        name_as_the_hub_does(out, config)
    if family == "qwen2-odd":
        configure_as_the_hub_does(out)


def name_as_the_hub_does(directory, config):
    """The published GPT-2 has no `transformer.` before its names and carries each layer's causal mask as a tensor."""
    index_path = directory / "model.safetensors.index.json"
    index = json.loads(index_path.read_text())
    weight_map = {}
    for shard in sorted(set(index["weight_map"].values())):
        with safe_open(directory / shard, "pt") as stored:
            tensors = {name.removeprefix("transformer."): stored.get_tensor(name) for name in stored.keys()}
        for layer in range(config.n_layer):
            if f"h.{layer}.attn.c_attn.weight" in tensors:
                mask = torch.ones(config.n_positions, config.n_positions).tril()
                tensors[f"h.{layer}.attn.bias"] = mask.reshape(1, 1, config.n_positions, config.n_positions)
        index["metadata"]["total_size"] += sum(t.numel() * 4 for n, t in tensors.items() if n.endswith(".attn.bias"))
        save_file(tensors, directory / shard, metadata={"format": "pt"})
        weight_map.update({name: shard for name in tensors})
    index["weight_map"] = dict(sorted(weight_map.items()))
    index_path.write_text(json.dumps(index, indent=2) + "\n")


def configure_as_the_hub_does(directory):
    """Published Qwen2.5 configurations say `rope_theta` and `torch_dtype`; transformers 5 writes other keys."""
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["torch_dtype"] = config.pop("dtype")
    config.pop("layer_types", None)
    path.write_text(json.dumps(dict(sorted(config.items())), indent=2) + "\n")


def make_adapter(model_directory, targets, out, base_name, draw_key, rank=RANK, alpha=ALPHA):
    """A PEFT LoRA adapter with random A and, so that every gradient is non-zero, random B."""
    model = oracle.load_model(model_directory, torch.float32)
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=targets,
        fan_in_fan_out=model.config.model_type == "gpt2",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        adapted = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in oracle.trainable(adapted).items():
            spread = 0.05 if ".lora_B." in name else 1 / math.sqrt(parameter.shape[1])
            draw = normal(draw_key, name).standard_normal(tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(spread * draw))
    adapted.save_pretrained(out, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)
    path = out / "adapter_config.json"
    stored = json.loads(path.read_text())
    stored["target_modules"] = sorted(stored["target_modules"])  # a set: its order changes from run to run
    stored["base_model_name_or_path"] = base_name
    path.write_text(json.dumps(dict(sorted(stored.items())), indent=2) + "\n")


def make_batch(family, options, vocab):
    """Right-padded tokens; target t is token t + 1 of the record; padding and masked stretches weigh 0."""
    tokens, targets, weights = [], [], []
    for row, (count, masked) in enumerate(zip(options.lengths, options.masked, strict=True)):
        padding = [0] * (options.length - count)
        record = normal(family, f"tokens.{row}").integers(1, vocab, count + 1).tolist()
        kept = [0 if any(a <= t < b for a, b in masked) else 1 for t in range(count)]
        tokens.append(record[:-1] + padding)
        targets.append(record[1:] + padding)
        weights.append(kept + padding)
    return {"lengths": list(options.lengths), "tokens": tokens, "targets": targets, "weights": weights}


def expect(load, batch, gradient_limit, out, base=None):
    """expected.json and gradients.safetensors of one case; `load` gives a fresh model each time.

    `base` is the model under an adapter, where it differs from the one of the full case.
    """
    model = load()
    with torch.no_grad():
        losses, weights = oracle.token_losses(model, batch)
    loss, gradients = oracle.gradients_of(model, batch)
    ragged = [row[:count] for row, count in zip(batch["tokens"], batch["lengths"], strict=True)]
    expected = {
        "loss": loss,
        "microBatches": [
            {"sequences": [row], "lossSum": (loss_row * weight_row).sum().item(), "weightSum": weight_row.sum().item()}
            for row, (loss_row, weight_row) in enumerate(zip(losses, weights, strict=True))
        ],
        "tokenLosses": [row[:count].tolist() for row, count in zip(losses, batch["lengths"], strict=True)],
        "logits": oracle.fingerprint(model, ragged),
        **({"baseLogits": oracle.fingerprint(base, ragged)} if base else {}),
        "gradientNorm": math.sqrt(sum(g.square().sum().item() for g in gradients.values())),
        "gradients": {
            name: {"shape": list(g.shape), "norm": g.norm().item(), "sampled": oracle.is_sampled(g, gradient_limit)}
            for name, g in sorted(gradients.items())
        },
        "curve": oracle.train(load(), batch),
    }
    if expected["curve"]["losses"][0] != loss:
        raise SystemExit(f"{out}: the first loss of the curve is not the loss at step 0")
    oracle.write_json(out / "expected.json", expected)
    stored = {name: oracle.stored_gradient(g, gradient_limit) for name, g in sorted(gradients.items())}
    save_file(stored, out / "gradients.safetensors")


def make_family(family, options, out):
    (out / "full").mkdir(parents=True)
    (out / "lora").mkdir()
    model_directory, adapter_directory = out / "model", out / "lora" / "adapter"
    make_model(family, options, model_directory)
    make_adapter(model_directory, options.targets, adapter_directory, f"oracle/{family}", f"{family}/adapter")
    config = oracle.load_model(model_directory).config
    batch = make_batch(family, options, config.vocab_size)
    oracle.write_json(out / "batch.json", batch)
    limit = options.gradient_limit
    # Everything that is trained is held in float32; what stays frozen under an adapter, as it is stored.
    in_training = dict(held=torch.float32)
    expect(
        lambda: oracle.load_model(model_directory, **in_training).requires_grad_(True), batch, limit, out / "full"
    )
    base = oracle.load_model(model_directory) if config.model_type == "gemma3_text" else None
    expect(lambda: oracle.load_adapted(model_directory, adapter_directory), batch, limit, out / "lora", base)
    description = {"family": config.model_type, "size": family.rpartition("-")[2], "targets": options.targets}
    if not options.shipped:
        description["shipped"] = False
    tables = rotary_tables(config)
    if tables:
        description["ropeInverseFrequencies"] = tables
    return description


def rotary_tables(config):
    """The frequencies that transformers computes, in the order in which layers first use them."""
    if config.model_type == "gpt2":
        return []
    rotary = {
        "qwen2": transformers.models.qwen2.modeling_qwen2.Qwen2RotaryEmbedding,
        "qwen3": transformers.models.qwen3.modeling_qwen3.Qwen3RotaryEmbedding,
        "llama": transformers.models.llama.modeling_llama.LlamaRotaryEmbedding,
        "olmo2": transformers.models.olmo2.modeling_olmo2.Olmo2RotaryEmbedding,
        "smollm3": transformers.models.smollm3.modeling_smollm3.SmolLM3RotaryEmbedding,
        "gemma3_text": transformers.models.gemma3.modeling_gemma3.Gemma3RotaryEmbedding,
    }[config.model_type](config)
    if config.model_type == "gemma3_text":
        kinds = dict.fromkeys(config.layer_types)
        return [getattr(rotary, f"{kind}_inv_freq").double().tolist() for kind in kinds]
    return [rotary.inv_freq.double().tolist()]


def rotary_examples():
    """Rotary parameters as published models have them, and what transformers computes from them."""
    llama3 = dict(rope_type="llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
    yarn = dict(rope_type="yarn", original_max_position_embeddings=32768)
    given = [
        (64, dict(rope_type="default", rope_theta=10_000.0)),
        (256, dict(rope_type="linear", rope_theta=1_000_000.0, factor=8.0)),
        (64, dict(llama3, rope_theta=500_000.0, factor=32.0)),
        (128, dict(llama3, rope_theta=500_000.0, factor=8.0)),
        (128, dict(yarn, rope_theta=1_000_000.0, factor=4.0)),
        (64, dict(yarn, rope_theta=10_000.0, factor=3.0, beta_fast=20.0, beta_slow=2.0, truncate=False)),
        (64, dict(yarn, rope_theta=10_000.0, factor=3.0, attention_factor=1.25)),
    ]
    examples = []
    for width, parameters in given:
        config = transformers.LlamaConfig(
            rope_parameters=dict(parameters), head_dim=width, max_position_embeddings=131072
        )
        rotary = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
        examples.append(
            {
                "width": width,
                "parameters": parameters,
                "inverseFrequencies": rotary.inv_freq.double().tolist(),
                "attentionScaling": rotary.attention_scaling,
            }
        )
    return examples


def main():
    repository = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=repository / "test" / "fixtures" / "oracle")
    out = parser.parse_args().out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").exists():
        raise SystemExit(f"{out} holds something that is no oracle fixture; remove it or choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Written beside the target and moved when whole, so that a failure leaves the old fixtures as they were.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".oracle-") as scratch:
        fresh = pathlib.Path(scratch) / "oracle"
        families = {family: make_family(family, options, fresh / family) for family, options in FAMILIES.items()}
        manifest = {
            "versions": {
                "torch": torch.__version__.partition("+")[0],
                "transformers": transformers.__version__,
                "peft": peft.__version__,
            },
            "adamw": {
                "steps": oracle.STEPS,
                "peakRate": oracle.PEAK_RATE,
                "warmupSteps": oracle.WARMUP_STEPS,
                "betas": oracle.BETAS,
                "epsilon": oracle.EPSILON,
                "weightDecay": oracle.WEIGHT_DECAY,
                "clipNorm": oracle.CLIP_NORM,
            },
            "lora": {"rank": RANK, "alpha": ALPHA},
            "gradientSamples": oracle.GRADIENT_SAMPLES,
            "families": families,
            "rotary": rotary_examples(),
        }
        oracle.write_json(fresh / "manifest.json", manifest)
        for file in fresh.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {len(families) * 2} cases, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
