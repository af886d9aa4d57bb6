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
from safetensors import safe_open
from safetensors.torch import save_file

SEED = 20
RANK, ALPHA = 8, 16
GPT2_TARGETS = ["c_attn", "c_fc", "c_proj"]
DECODER_TARGETS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def gpt2(**shape):
    return transformers.GPT2Config(
        activation_function="gelu_new",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        **shape,
    )


def qwen2(theta, **shape):
    parameters = {"rope_type": "default", "rope_theta": theta}
    return transformers.Qwen2Config(rope_parameters=parameters, bos_token_id=0, eos_token_id=0, **shape)


def llama(rope, **shape):
    return transformers.LlamaConfig(rope_parameters=rope, bos_token_id=0, eos_token_id=0, **shape)


def qwen3(theta, **shape):
    parameters = {"rope_type": "default", "rope_theta": theta}
    return transformers.Qwen3Config(rope_parameters=parameters, bos_token_id=0, eos_token_id=0, **shape)


def smollm3(theta, **shape):
    parameters = {"rope_type": "default", "rope_theta": theta}
    return transformers.SmolLM3Config(
        rope_parameters=parameters, bos_token_id=0, eos_token_id=0, pad_token_id=0, **shape
    )


def olmo2(theta, **shape):
    parameters = {"rope_type": "default", "rope_theta": theta}
    return transformers.Olmo2Config(
        rope_parameters=parameters, bos_token_id=0, eos_token_id=0, pad_token_id=0, **shape
    )


def gemma3(full, sliding, **shape):
    parameters = {"full_attention": full, "sliding_attention": sliding}
    return transformers.Gemma3TextConfig(
        rope_parameters=parameters, bos_token_id=0, eos_token_id=0, pad_token_id=0, **shape
    )


# name -> configuration, stored type, batch (length, lengths, masked stretches), and above how many elements a gradient
# is stored as samples
FAMILIES = {
    "gpt2-small": dict(
        config=lambda: gpt2(n_layer=2, n_embd=48, n_head=4, vocab_size=211, n_positions=32),
        dtype=torch.float32,
        shards=False,
        targets=GPT2_TARGETS,
        length=19,
        gradient_limit=None,
        lengths=[19, 19],
        masked=[[(0, 5)], [(7, 9)]],
    ),
    "gpt2-odd": dict(
        config=lambda: gpt2(n_layer=2, n_embd=160, n_head=5, n_inner=315, vocab_size=1003, n_positions=80),
        dtype=torch.float32,
        shards=True,
        targets=GPT2_TARGETS,
        length=77,
        gradient_limit=4096,
        lengths=[77, 50],
        masked=[[(0, 9)], []],
    ),
    "qwen2-small": dict(
        config=lambda: qwen2(
            1_000_000.0,
            num_hidden_layers=2,
            hidden_size=48,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=125,
            vocab_size=211,
            max_position_embeddings=64,
            tie_word_embeddings=False,
        ),
        dtype=torch.bfloat16,
        shards=False,
        targets=DECODER_TARGETS,
        length=19,
        gradient_limit=None,
        lengths=[19, 19],
        masked=[[(0, 5)], [(7, 9)]],
    ),
    "qwen2-odd": dict(
        config=lambda: qwen2(
            50_000.0,
            num_hidden_layers=2,
            hidden_size=160,
            num_attention_heads=10,
            num_key_value_heads=2,
            intermediate_size=437,
            vocab_size=1003,
            max_position_embeddings=128,
            tie_word_embeddings=True,
        ),
        dtype=torch.float16,
        shards=False,
        targets=DECODER_TARGETS,
        length=77,
        gradient_limit=4096,
        lengths=[77, 50],
        masked=[[(0, 9)], []],
    ),
    "qwen3-small": dict(
        config=lambda: qwen3(
            1_000_000.0,
            num_hidden_layers=2,
            hidden_size=40,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=14,
            intermediate_size=77,
            vocab_size=211,
            max_position_embeddings=64,
            tie_word_embeddings=True,
        ),
        dtype=torch.bfloat16,
        shards=False,
        targets=DECODER_TARGETS,
        length=23,
        gradient_limit=2048,
        lengths=[23, 19],
        masked=[[(0, 5)], [(7, 9)]],
    ),
    # Wavelengths that keep their frequency, that are divided, and one in between.
    "llama-small": dict(
        config=lambda: llama(
            {
                "rope_type": "llama3",
                "rope_theta": 10_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
            num_hidden_layers=2,
            hidden_size=60,
            num_attention_heads=5,
            num_key_value_heads=1,
            intermediate_size=85,
            vocab_size=211,
            max_position_embeddings=512,
            tie_word_embeddings=True,
        ),
        dtype=torch.bfloat16,
        shards=False,
        targets=DECODER_TARGETS,
        length=23,
        gradient_limit=2048,
        lengths=[23, 19],
        masked=[[(0, 5)], [(7, 9)]],
    ),
    "llama-odd": dict(
        config=lambda: llama(
            {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.5},
            num_hidden_layers=2,
            hidden_size=39,
            num_attention_heads=3,
            num_key_value_heads=3,
            head_dim=10,
            intermediate_size=85,
            vocab_size=307,
            max_position_embeddings=128,
            tie_word_embeddings=False,
            attention_bias=True,
            mlp_bias=True,
        ),
        dtype=torch.float16,
        shards=False,
        targets=DECODER_TARGETS,
        length=41,
        gradient_limit=1024,
        lengths=[41, 33],
        masked=[[(0, 9)], []],
    ),
    "smollm3-small": dict(
        config=lambda: smollm3(
            2_000_000.0,
            num_hidden_layers=3,
            hidden_size=36,
            num_attention_heads=6,
            num_key_value_heads=2,
            intermediate_size=67,
            vocab_size=211,
            max_position_embeddings=64,
            no_rope_layer_interval=2,
            tie_word_embeddings=True,
        ),
        dtype=torch.bfloat16,
        shards=False,
        targets=DECODER_TARGETS,
        length=23,
        gradient_limit=1024,
        lengths=[23, 19],
        masked=[[(0, 5)], [(7, 9)]],
    ),
    # An architecture that Heddle does not ship: a test adds it.
    "olmo2-small": dict(
        config=lambda: olmo2(
            50_000.0,
            num_hidden_layers=2,
            hidden_size=40,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=61,
            vocab_size=211,
            max_position_embeddings=64,
            tie_word_embeddings=False,
        ),
        dtype=torch.bfloat16,
        shards=False,
        targets=DECODER_TARGETS,
        length=23,
        gradient_limit=1024,
        lengths=[23, 19],
        masked=[[(0, 5)], [(7, 9)]],
        shipped=False,
    ),
    # Sequences far longer than the window.
    "gemma3-small": dict(
        config=lambda: gemma3(
            {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0},
            {"rope_type": "default", "rope_theta": 10_000.0},
            num_hidden_layers=3,
            hidden_size=40,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=14,
            query_pre_attn_scalar=20,
            intermediate_size=61,
            vocab_size=211,
            max_position_embeddings=64,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            tie_word_embeddings=True,
        ),
        dtype=torch.bfloat16,
        shards=False,
        targets=DECODER_TARGETS,
        length=37,
        gradient_limit=1024,
        lengths=[37, 29],
        masked=[[(0, 5)], [(7, 9)]],
    ),
    # Windows that leave whole blocks of 64 keys out.
    "gemma3-odd": dict(
        config=lambda: gemma3(
            {"rope_type": "default", "rope_theta": 500_000.0},
            {"rope_type": "default", "rope_theta": 1_000.0},
            num_hidden_layers=2,
            hidden_size=36,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=10,
            query_pre_attn_scalar=13,
            intermediate_size=45,
            vocab_size=307,
            max_position_embeddings=256,
            sliding_window=37,
            layer_types=["sliding_attention", "full_attention"],
            tie_word_embeddings=False,
        ),
        dtype=torch.float16,
        shards=False,
        targets=DECODER_TARGETS,
        length=203,
        gradient_limit=1024,
        lengths=[203, 170],
        masked=[[(0, 9)], []],
    ),
}


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
    config = options["config"]()
    model = transformers.AutoModelForCausalLM.from_config(config)
    randomise(model, family, config.hidden_size)
    model = model.to(options["dtype"])
    model.config.dtype = options["dtype"]
    model.save_pretrained(out, max_shard_size="1100KB" if options["shards"] else "50GB")
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
    for row, (count, masked) in enumerate(zip(options["lengths"], options["masked"], strict=True)):
        padding = [0] * (options["length"] - count)
        record = normal(family, f"tokens.{row}").integers(1, vocab, count + 1).tolist()
        kept = [0 if any(a <= t < b for a, b in masked) else 1 for t in range(count)]
        tokens.append(record[:-1] + padding)
        targets.append(record[1:] + padding)
        weights.append(kept + padding)
    return {"lengths": options["lengths"], "tokens": tokens, "targets": targets, "weights": weights}


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
    make_adapter(model_directory, options["targets"], adapter_directory, f"oracle/{family}", f"{family}/adapter")
    config = oracle.load_model(model_directory).config
    batch = make_batch(family, options, config.vocab_size)
    oracle.write_json(out / "batch.json", batch)
    limit = options["gradient_limit"]
    # Everything that is trained is held in float32; what stays frozen under an adapter, as it is stored.
    in_training = dict(held=torch.float32)
    expect(
        lambda: oracle.load_model(model_directory, **in_training).requires_grad_(True), batch, limit, out / "full"
    )
    base = oracle.load_model(model_directory) if config.model_type == "gemma3_text" else None
    expect(lambda: oracle.load_adapted(model_directory, adapter_directory), batch, limit, out / "lora", base)
    description = {"family": config.model_type, "size": family.rpartition("-")[2], "targets": options["targets"]}
    if not options.get("shipped", True):
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
