"""The models that fixtures are made of: configurations as transformers has them, and each one's batch.

Knows nothing of Heddle, and nothing of how a fixture is computed or written.
"""

import dataclasses

import torch
import transformers

GPT2_TARGETS = ["c_attn", "c_fc", "c_proj"]
DECODER_TARGETS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What one model's fixtures are: of how many positions, which of them are real, which of those weigh nothing."""

    config: transformers.PretrainedConfig
    dtype: torch.dtype  # of the stored weights
    lengths: tuple[int, int]
    masked: tuple[list[tuple[int, int]], list[tuple[int, int]]]  # from, to (exclusive), for each sequence
    gradient_limit: int | None  # a gradient with more elements is stored as samples
    targets: list[str] = dataclasses.field(default_factory=lambda: DECODER_TARGETS)
    shards: bool = False
    shipped: bool = True  # whether Heddle has the architecture; a test adds one that it lacks

    @property
    def length(self):
        return max(self.lengths)


def short(config, lengths=(23, 19), gradient_limit=1024, **others):
    """A few positions, stretches of both sequences masked, weights in bfloat16."""
    given = dict(dtype=torch.bfloat16, masked=([(0, 5)], [(7, 9)]))
    return Options(config=config, lengths=lengths, gradient_limit=gradient_limit, **(given | others))


def long(config, lengths=(77, 50), gradient_limit=4096, **others):
    """More positions than a tile has, of odd number, the second sequence padded, weights in float16."""
    given = dict(dtype=torch.float16, masked=([(0, 9)], []))
    return Options(config=config, lengths=lengths, gradient_limit=gradient_limit, **(given | others))


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


def plain_rope(theta):
    return {"rope_type": "default", "rope_theta": theta}


def decoder(kind, rope, *, layers=2, width, heads, mlp, vocabulary=211, positions=64, tied=True, **others):
    """A decoder after Llama. `heads` are those of the queries and of the keys; `rope` its parameters, or theta alone."""
    return kind(
        rope_parameters=rope if isinstance(rope, dict) else plain_rope(rope),
        bos_token_id=0,
        eos_token_id=0,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads[0],
        num_key_value_heads=heads[1],
        intermediate_size=mlp,
        vocab_size=vocabulary,
        max_position_embeddings=positions,
        tie_word_embeddings=tied,
        **others,
    )


def gemma3(*, full, sliding, window, layer_types, **others):
    """`full` and `sliding` are the rotary parameters of the layers that see everything and of those that see a window."""
    return decoder(
        transformers.Gemma3TextConfig,
        {"full_attention": full, "sliding_attention": sliding},
        sliding_window=window,
        layer_types=[f"{kind}_attention" for kind in layer_types],
        pad_token_id=0,
        **others,
    )


# Wavelengths that keep their frequency, that are divided, and one in between.
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.5}

FAMILIES = {
    "gpt2-small": short(
        gpt2(n_layer=2, n_embd=48, n_head=4, vocab_size=211, n_positions=32),
        dtype=torch.float32,
        targets=GPT2_TARGETS,
        lengths=(19, 19),
        gradient_limit=None,
    ),
    "gpt2-odd": long(
        gpt2(n_layer=2, n_embd=160, n_head=5, n_inner=315, vocab_size=1003, n_positions=80),
        dtype=torch.float32,
        targets=GPT2_TARGETS,
        shards=True,
    ),
    "qwen2-small": short(
        decoder(transformers.Qwen2Config, 1_000_000.0, width=48, heads=(4, 2), mlp=125, tied=False),
        lengths=(19, 19),
        gradient_limit=None,
    ),
    "qwen2-odd": long(
        decoder(
            transformers.Qwen2Config, 50_000.0, width=160, heads=(10, 2), mlp=437, vocabulary=1003, positions=128
        ),
    ),
    "qwen3-small": short(
        decoder(transformers.Qwen3Config, 1_000_000.0, width=40, heads=(4, 2), head_dim=14, mlp=77),
        gradient_limit=2048,
    ),
    "llama-small": short(
        decoder(transformers.LlamaConfig, LLAMA3_ROPE, width=60, heads=(5, 1), mlp=85, positions=512),
        gradient_limit=2048,
    ),
    "llama-odd": long(
        decoder(
            transformers.LlamaConfig,
            LINEAR_ROPE,
            width=39,
            heads=(3, 3),
            head_dim=10,
            mlp=85,
            vocabulary=307,
            positions=128,
            tied=False,
            attention_bias=True,
            mlp_bias=True,
        ),
        lengths=(41, 33),
        gradient_limit=1024,
    ),
    "smollm3-small": short(
        decoder(
            transformers.SmolLM3Config,
            2_000_000.0,
            layers=3,
            width=36,
            heads=(6, 2),
            mlp=67,
            no_rope_layer_interval=2,
            pad_token_id=0,
        ),
    ),
    "olmo2-small": short(
        decoder(
            transformers.Olmo2Config, 50_000.0, width=40, heads=(4, 2), mlp=61, tied=False, pad_token_id=0
        ),
        shipped=False,
    ),
    # Sequences far longer than the window.
    "gemma3-small": short(
        gemma3(
            full={"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0},
            sliding=plain_rope(10_000.0),
            window=8,
            layer_types=["sliding", "full", "sliding"],
            layers=3,
            width=40,
            heads=(4, 2),
            head_dim=14,
            query_pre_attn_scalar=20,
            mlp=61,
        ),
        lengths=(37, 29),
    ),
    # Windows that leave whole blocks of 64 keys out.
    "gemma3-odd": long(
        gemma3(
            full=plain_rope(500_000.0),
            sliding=plain_rope(1_000.0),
            window=37,
            layer_types=["sliding", "full"],
            width=36,
            heads=(3, 1),
            head_dim=10,
            query_pre_attn_scalar=13,
            mlp=45,
            vocabulary=307,
            positions=256,
            tied=False,
        ),
        lengths=(203, 170),
        gradient_limit=1024,
    ),
}
