"""What the oracle's commands share: models in float64 through transformers and PEFT, the loss, AdamW, fingerprints.

Knows nothing of Heddle. Everything is computed in float64 from the stored weights; the only float32 constants that
enter are the rope tables, which transformers makes in float32 whatever the model's type is (see README.md).
"""

import json
import os
import pathlib
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup  # noqa: E402
from transformers.models.gemma3 import modeling_gemma3  # noqa: E402
from transformers.models.llama import modeling_llama  # noqa: E402
from transformers.models.olmo2 import modeling_olmo2  # noqa: E402
from transformers.models.qwen2 import modeling_qwen2  # noqa: E402
from transformers.models.qwen3 import modeling_qwen3  # noqa: E402
from transformers.models.smollm3 import modeling_smollm3  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

# One thread and no data-dependent kernels, so that two runs of one command write the same bytes.
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

STEPS = 30
PEAK_RATE = 1e-3
WARMUP_STEPS = 3
BETAS = (0.9, 0.999)
EPSILON = 1e-8
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
LOGIT_SAMPLES = 40
LOGIT_STRIDE = 1_000_003
GRADIENT_SAMPLES = 512


def _rms_norm_in_own_type(self, hidden_states):
    """transformers computes these norms in float32 even for a float64 model; the oracle may not lose those digits."""
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))


def _gemma_norm_in_own_type(self, hidden_states):
    """The same for Gemma, whose weight is what the scale exceeds 1 by."""
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return hidden_states * torch.rsqrt(variance + self.eps) * (1.0 + self.weight)


modeling_qwen2.Qwen2RMSNorm.forward = _rms_norm_in_own_type
modeling_qwen3.Qwen3RMSNorm.forward = _rms_norm_in_own_type
modeling_llama.LlamaRMSNorm.forward = _rms_norm_in_own_type
modeling_smollm3.SmolLM3RMSNorm.forward = _rms_norm_in_own_type
modeling_olmo2.Olmo2RMSNorm.forward = _rms_norm_in_own_type
modeling_gemma3.Gemma3RMSNorm.forward = _gemma_norm_in_own_type


def round_constants(model, held):
    """Gemma multiplies embeddings by a constant in the type its weights are held in, which float64 would not round."""
    for module in model.modules():
        if hasattr(module, "embed_scale"):
            rounded = torch.tensor(module.scalar_embed_scale, dtype=torch.float32).to(held)
            module.embed_scale = rounded.to(module.embed_scale.dtype)


def load_model(directory, dtype=torch.float64, held=None):
    """A causal language model from a Hugging Face directory; refuses missing, surplus or mis-shaped tensors.

    `held` is the type that a program holds the weights in, by which some models round constants: the stored one unless
    they are trained, which is done in float32.
    """
    model, info = AutoModelForCausalLM.from_pretrained(
        str(directory),
        dtype=dtype,
        local_files_only=True,
        attn_implementation="sdpa",  # Qwen2's eager attention takes its softmax in float32
        output_loading_info=True,
    )
    problems = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if problems:
        raise SystemExit(f"{directory}: the weights do not fit the model: {problems}")
    for name, parameter in model.named_parameters():
        if parameter.dtype != dtype:
            raise SystemExit(f"{directory}: {name} is {parameter.dtype}, not {dtype}")
    round_constants(model, held or stored_type(directory))
    return model.eval()


def stored_type(directory):
    """The type that config.json says the weights are stored in."""
    config = json.loads((pathlib.Path(directory) / "config.json").read_text())
    return getattr(torch, config.get("dtype") or config.get("torch_dtype") or "float32")


def load_adapted(model_directory, adapter_directory, dtype=torch.float64):
    """A model with a PEFT adapter (trainable) on it; refuses an adapter with missing, surplus or mis-shaped tensors."""
    from peft import PeftModel, get_peft_model_state_dict

    model = load_model(model_directory, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT only warns when tensors are missing; the check below refuses
        adapted = PeftModel.from_pretrained(model, str(adapter_directory), is_trainable=True)
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    with safe_open(str(pathlib.Path(adapter_directory) / "adapter_model.safetensors"), "pt") as stored:
        if set(stored.keys()) != set(wanted):
            surplus = sorted(set(stored.keys()) ^ set(wanted))
            raise SystemExit(f"{adapter_directory}: tensors differ from PEFT's: {surplus}")
        for name in stored.keys():
            if not torch.equal(stored.get_tensor(name).to(dtype), wanted[name].to(dtype)):
                raise SystemExit(f"{adapter_directory}: {name} did not arrive in the model as stored")
    for name, parameter in adapted.named_parameters():
        if parameter.dtype != dtype:
            raise SystemExit(f"{adapter_directory}: {name} is {parameter.dtype}, not {dtype}")
    return adapted.eval()


def trainable(model):
    """Trainable parameters by the name a checkpoint uses: the model's own for full, PEFT's file names for LoRA."""
    return {name.replace(".default.", "."): p for name, p in model.named_parameters() if p.requires_grad}


def logits_of(model, tokens):
    """tokens [batch, seq] -> logits [batch, seq, vocab]; plain causal attention, no padding mask, dropout off."""
    with sdpa_kernel(SDPBackend.MATH):
        return model(input_ids=tokens, use_cache=False).logits


def token_losses(model, batch):
    """Cross entropy in nats of every position [batch, seq], and the 0/1 weights of the same shape."""
    tokens = torch.tensor(batch["tokens"])
    targets = torch.tensor(batch["targets"])
    logits = logits_of(model, tokens)
    weights = torch.tensor(batch["weights"], dtype=logits.dtype)
    losses = -torch.log_softmax(logits, dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return losses, weights


def loss_of(model, batch):
    """Sum of weighted cross entropies over the sum of weights of the whole batch."""
    losses, weights = token_losses(model, batch)
    return (losses * weights).sum() / weights.sum()


def gradients_of(model, batch):
    """Loss and its gradients by trainable name, not clipped."""
    parameters = trainable(model)
    model.zero_grad(set_to_none=True)
    loss = loss_of(model, batch)
    loss.backward()
    missing = [name for name, p in parameters.items() if p.grad is None]
    if missing:
        raise SystemExit(f"no gradient reached {missing}")
    return loss.item(), {name: p.grad.detach().clone() for name, p in parameters.items()}


def train(model, batch, measure=loss_of):
    """STEPS of AdamW on one batch: each step's loss (before its update), gradient norm (before clipping) and rate."""
    parameters = list(trainable(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=BETAS, eps=EPSILON, weight_decay=WEIGHT_DECAY)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP_STEPS, STEPS)
    curve = {"losses": [], "gradientNorms": [], "rates": []}
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss = measure(model, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        curve["rates"].append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
        curve["losses"].append(loss.item())
        curve["gradientNorms"].append(norm.item())
    return curve


@torch.no_grad()
def fingerprint(model, sequences):
    """Sampled logits, their sum and their 2-norm over all positions of ragged token lists, each run alone, unpadded.

    Sample k of LOGIT_SAMPLES is flat index (k * LOGIT_STRIDE) mod n of the n logits in order sequence, position, token.
    """
    logits = [logits_of(model, torch.tensor([tokens]))[0] for tokens in sequences]
    flat = torch.cat([part.reshape(-1) for part in logits])
    vocab = logits[0].shape[-1]
    starts = [0]
    for tokens in sequences:
        starts.append(starts[-1] + len(tokens))
    samples = []
    for k in range(LOGIT_SAMPLES):
        index = (k * LOGIT_STRIDE) % flat.numel()
        row, token = divmod(index, vocab)
        sequence = max(i for i in range(len(sequences)) if starts[i] <= row)
        samples.append([sequence, row - starts[sequence], token, flat[index].item()])
    return {"samples": samples, "sum": flat.sum().item(), "norm": flat.norm().item()}


def is_sampled(gradient, limit):
    return limit is not None and gradient.numel() > limit


def stored_gradient(gradient, limit):
    """In float32: the gradient, or if it is sampled its flat entries floor(i * n / GRADIENT_SAMPLES)."""
    count = gradient.numel()
    if not is_sampled(gradient, limit):
        return gradient.to(torch.float32).contiguous()
    indices = torch.tensor([i * count // GRADIENT_SAMPLES for i in range(GRADIENT_SAMPLES)])
    return gradient.reshape(-1)[indices].to(torch.float32)


def read_tokens(path):
    """Ragged token lists from a batch.json (`tokens`, `lengths`) or any JSON that is a list of lists of token ids."""
    data = json.loads(pathlib.Path(path).read_text())
    rows = data["tokens"] if isinstance(data, dict) else data
    lengths = data.get("lengths") if isinstance(data, dict) else None
    return [row[:length] for row, length in zip(rows, lengths, strict=True)] if lengths else rows


def to_json(value, indent=0):
    """JSON that people can read: an object takes a line per key, a list of numbers stays on one line."""
    pad, inner = " " * indent, " " * (indent + 2)
    if isinstance(value, dict) and any(isinstance(v, (dict, list)) for v in value.values()):
        items = [f"{inner}{json.dumps(k)}: {to_json(v, indent + 2)}" for k, v in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{pad}}}"
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        return "[\n" + ",\n".join(inner + to_json(v, indent + 2) for v in value) + f"\n{pad}]"
    return json.dumps(value, allow_nan=False)


def write_json(path, value):
    pathlib.Path(path).write_text(to_json(value) + "\n")
