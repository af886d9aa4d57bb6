"""One LoRA step of GPT-2 124M in PyTorch and PEFT, random weights: seconds of the best of N. Usage: LENGTH THREADS N."""

import os
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
length, threads, steps = (int(argument) for argument in sys.argv[1:4])

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

torch.set_num_threads(threads)
torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
targets = ["c_attn", "c_proj", "c_fc"]
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, fan_in_fan_out=True))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
tokens = (torch.arange(length) * 7919 % 50257)[None]
best = float("inf")
for _ in range(steps + 1):
    start = time.perf_counter()
    loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    best = min(best, time.perf_counter() - start)
print(best)
