"""Training steps of a transformers model in PyTorch, and PEFT for LoRA, with random weights: one for each line read.

Usage: torch_step.py JSON, with config (of config.json), lora (rank, alpha, targets, rslora; null trains everything),
sequences, length, accumulate, threads, clip (null for none). Prints a line once it is ready, then the seconds of each
step; what cannot be had is one line on standard error and exit code 3.
"""

import json
import os
import signal
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Ctrl-C reaches every process of a terminal; who started this one ends it.
signal.signal(signal.SIGINT, signal.SIG_IGN)
given = json.loads(sys.argv[1])

try:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if given["lora"]:
        from peft import LoraConfig, get_peft_model

    torch.set_num_threads(given["threads"])
    torch.manual_seed(0)
    config = dict(given["config"])
    config.pop("torch_dtype", None)
    config.pop("dtype", None)
    # What is compared trains without dropout in the model's own layers.
    config.update({key: 0.0 for key in config if key.endswith(("pdrop", "dropout"))})
    config.update({"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if config["model_type"] == "gpt2" else {})
    config = AutoConfig.for_model(**config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if given["lora"]:
        lora = given["lora"]
        model = get_peft_model(
            model,
            LoraConfig(
                r=lora["rank"],
                lora_alpha=lora["alpha"],
                target_modules=lora["targets"],
                use_rslora=lora["rslora"],
                fan_in_fan_out=config.model_type == "gpt2",
            ),
        )
except Exception as error:
    print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
    sys.exit(3)

model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
count = given["sequences"] * given["length"]
tokens = (torch.arange(count) * 7919 % config.vocab_size).reshape(given["sequences"], given["length"])


def step():
    for _ in range(given["accumulate"]):
        loss = model(input_ids=tokens, labels=tokens).loss / given["accumulate"]
        loss.backward()
    if given["clip"] is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), given["clip"])
    optimizer.step()
    optimizer.zero_grad()


step()
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    step()
    print(time.perf_counter() - start, flush=True)
