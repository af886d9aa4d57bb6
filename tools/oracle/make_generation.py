"""Writes the fixture of text generation: what transformers' `generate` continues each small model's prompt with, greedily
and with a repetition penalty, alone and with its adapter unmerged; and the probabilities its samplers draw from.

    python tools/oracle/make_generation.py [--out FILE]     default: test/fixtures/generation.json

Needs the models of make_fixtures.py. Everything is computed in float64. Prompts are chosen so that the likeliest token is
always the likeliest by far: a rounding error cannot change the text.
"""

import argparse
import itertools
import json
import pathlib

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORACLE = ROOT / "test/fixtures/oracle"
# Every architecture; windows of 8 and 37 tokens, Llama's three ways of stretching, grouped queries, tied heads.
CASES = [
    "gpt2-odd",
    "qwen2-odd",
    "qwen3-small",
    "llama-small",
    "llama-odd",
    "smollm3-small",
    "gemma3-small",
    "gemma3-odd",
    "olmo2-small",
]
PROMPT, TOKENS, PENALTY = 13, 64, 1.3
# What float32 may be off by is a thousandth of this.
MARGIN = 1e-3


def continuation(model, prompt, penalty):
    """The tokens behind a prompt, and by how much the closest choice among them was decided."""
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=TOKENS,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
        repetition_penalty=penalty,
        output_scores=True,
        return_dict_in_generate=True,
    )
    made = model.generate(torch.tensor([prompt]), generation_config=config, attention_mask=torch.ones(1, PROMPT))
    best = torch.stack([scores[0].double().topk(2).values for scores in made.scores])
    return made.sequences[0, PROMPT:].tolist(), float((best[:, 0] - best[:, 1]).min())


def texts(name):
    plain = AutoModelForCausalLM.from_pretrained(ORACLE / name / "model", dtype=torch.float64).eval()
    # Generation may otherwise end where a configuration says so.
    plain.generation_config = GenerationConfig()
    vocabulary = plain.config.get_text_config().vocab_size
    adapter = ORACLE / name / "lora/adapter"
    base = AutoModelForCausalLM.from_pretrained(ORACLE / name / "model", dtype=torch.float64).eval()
    base.generation_config = GenerationConfig()
    adapted = PeftModel.from_pretrained(base, adapter).double().eval()
    for seed in itertools.count():
        generator = torch.Generator().manual_seed(seed)
        prompt = torch.randint(vocabulary, (PROMPT,), generator=generator).tolist()
        asked = {"greedy": (plain, 1.0), "penalised": (plain, PENALTY), "adapter": (adapted, 1.0)}
        made = {kind: continuation(model, prompt, penalty) for kind, (model, penalty) in asked.items()}
        if min(margin for _, margin in made.values()) > MARGIN:
            return {"model": name, "prompt": prompt, **{kind: tokens for kind, (tokens, _) in made.items()}}


def samplings():
    generator = torch.Generator().manual_seed(5)
    logits = (torch.randn(41, generator=generator) * 3).float()
    logits[7] = logits[11]  # of equals top-k keeps both
    text = [3, 7, 3, 19]
    settings = itertools.product([0.3, 1.0, 2.5], [None, 1, 5, 100], [None, 1e-6, 0.5, 0.93, 1.0], [None, 1.7, 0.8])
    made = []
    for temperature, top_k, top_p, penalty in settings:
        steps = LogitsProcessorList()
        if penalty is not None:
            steps.append(RepetitionPenaltyLogitsProcessor(penalty))
        steps.append(TemperatureLogitsWarper(temperature))
        if top_k is not None:
            steps.append(TopKLogitsWarper(top_k))
        if top_p is not None:
            steps.append(TopPLogitsWarper(top_p))
        probabilities = steps(torch.tensor([text]), logits.double()[None]).softmax(-1)[0]
        kept = [[token, round(float(p), 9)] for token, p in enumerate(probabilities) if p > 0]
        asked = {"temperature": temperature, "topK": top_k, "topP": top_p, "repetitionPenalty": penalty}
        made.append({**{key: value for key, value in asked.items() if value is not None}, "kept": kept})
    return {"logits": logits.tolist(), "text": text, "cases": made}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "test/fixtures/generation.json")
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(texts(name)) for name in CASES]
    sampling = samplings()
    rows = ",\n      ".join(json.dumps(case) for case in sampling.pop("cases"))
    body = ",\n    ".join(lines)
    head = json.dumps(sampling)[1:-1]
    out.write_text(
        f'{{\n  "penalty": {PENALTY},\n  "texts": [\n    {body}\n  ],\n  "sampling": {{\n    {head},\n'
        f'    "cases": [\n      {rows}\n    ]\n  }}\n}}\n'
    )


if __name__ == "__main__":
    main()
