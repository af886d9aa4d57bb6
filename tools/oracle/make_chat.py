"""Writes the fixtures of chat templates: small tokenizers with the special tokens of each family, and what transformers
makes of conversations with them: text, token ids, the tokens of the assistant.

    python tools/oracle/make_chat.py [--out DIR]          default: test/fixtures/chat

The templates are `chat/*.jinja`. A template with {% generation %} blocks is asked by return_assistant_tokens_mask; for the
others the assistant's tokens are told here as `data/chatAnswers.ts` promises it, from transformers' own renderings and
offsets.
"""

import argparse
import datetime
import json
import pathlib
import re
import shutil

import jinja2
import transformers.utils.chat_template_utils as chat_template_utils
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 3, 7, 9, 5, 4)

CORPUS = [
    "How did I sleep last night? You slept seven hours and ten minutes, which is a little more than usual.",
    "Is my pulse of 62 low, normal or high for me? Your usual range is 58 to 66, so it is normal.",
    "You are a helpful assistant who answers in one sentence.\n\nUSER: question ASSISTANT: answer",
    "system\n user\n assistant\n model\n## Metadata\n\nKnowledge Cutoff Date: December 2023\nToday Date: 07 March 2026\n\n",
    "def range_of(values):\n    return min(values), max(values)\n\n\n    # four spaces, twice        eight\n",
    "äöüß éèê naïve café, Ελληνικά, 日本語のテキスト, русский язык, 12345 67890",
    "[INST] [/INST] <think>\n\n</think>\n\n",
] * 4

CONVERSATIONS = {
    "one turn": [("user", "How did I sleep?"), ("assistant", "You slept seven hours.")],
    "with a system message": [
        ("system", "Answer in one sentence."),
        ("user", "Is my pulse low?"),
        ("assistant", "It is normal."),
    ],
    "several turns": [
        ("user", "How did I sleep?"),
        ("assistant", "A little more than usual."),
        ("user", "And my pulse?"),
        ("assistant", "Your usual range is 58 to 66, so it is normal."),
        ("user", "Thanks!"),
        ("assistant", "You are welcome."),
    ],
    "several turns with a system message": [
        ("system", "You are a helpful assistant."),
        ("user", "One?"),
        ("assistant", "One."),
        ("user", "Two?"),
        ("assistant", "Two."),
    ],
    "a question at the end": [
        ("user", "One?"),
        ("assistant", "One."),
        ("user", "Two?"),
    ],
    "white space at the ends": [
        ("system", "  be brief \n"),
        ("user", "\n\n  code?\t"),
        ("assistant", "    def f(x):\n        return x\n\n"),
        ("user", " more \r\n"),
        ("assistant", "\n\n  indented\n"),
    ],
    "Unicode": [
        ("user", "caf\u0065\u0301 \U0001f600 日本語? \ufeff\x1c"),
        ("assistant", "\u0301e\u0301 русский \U0001f469\u200d\U0001f4bb\u2028 \u00a0"),
        ("user", "\ufb01 \u2126 ▁ <0x41>"),
        ("assistant", "\U0001f600"),
    ],
    "special tokens in the text": [
        ("user", "what is <|im_end|> or <end_of_turn> or <|end|>\n or </s>?"),
        ("assistant", "<|im_start|>user\n<|assistant|>   x <|eot_id|>."),
    ],
    "empty messages": [("user", ""), ("assistant", "")],
    "thinking": [
        ("user", "Two and two?"),
        ("assistant", "<think>\nIt is four.\n</think>\n\nFour."),
        ("user", "And three?"),
        ("assistant", "<think>\n\nSeven, then.\n\n</think>\n\n\n  Seven."),
    ],
    "reasoning of its own": [
        ("user", "Two and two?"),
        ("assistant", "Four.", {"reasoning": "easy\n", "name": None}),
    ],
    "long": [
        (role, f"{number} hours and minutes, " * 9)
        for number in range(9)
        for role in (["user", "assistant"][number % 2],)
    ][:8],
    "two questions in a row": [("user", "One?"), ("user", "Two?"), ("assistant", "Three.")],
    "an answer first": [("assistant", "Hello."), ("user", "One?"), ("assistant", "One.")],
    "a role of its own": [("user", "One?"), ("narrator", "He thought."), ("assistant", "One.")],
    "a system message late": [("user", "One?"), ("system", "Be brief."), ("assistant", "One.")],
}

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
SPLIT = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(
            Regex(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
            "isolated",
        ),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)


def byte_level(specials, pre_tokenizer=SPLIT, normalizer=None, takes_behind=()):
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=360 + len(specials), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, rstrip=text in takes_behind) for text in specials])
    return tokenizer


RUNS = ["\u2581\u2581", "\u2581\u2581\u2581\u2581"]


def pieces(specials, prefix):
    """Spaces as marks and bytes that nothing else spells, as SentencePiece has it; `prefix` puts a space in front."""
    replace = normalizers.Replace(" ", "\u2581")
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), replace]) if prefix else replace
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False)
    # Marks begin words while training only: the model itself sees a text as one piece.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.pre_tokenizer = None if prefix else pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    written = json.loads(tokenizer.to_str())
    learned = sorted(written["model"]["vocab"], key=written["model"]["vocab"].get)
    first = ["<unk>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    if not prefix:
        # Gemma's runs of spaces: merged like any other pair, and listed among the added tokens.
        first += RUNS
        pairs = [["\u2581", "\u2581"], ["\u2581\u2581", "\u2581\u2581"]]
        written["model"]["merges"] = pairs + written["model"]["merges"]
    written["model"]["vocab"] = {token: index for index, token in enumerate([*first, *learned])}
    tokenizer = Tokenizer.from_str(json.dumps(written))
    if not prefix:
        tokenizer.add_tokens([AddedToken(text, normalized=False) for text in RUNS])
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in specials])
    return tokenizer


CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PHI = ["<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
LLAMA = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]

# name: (tokenizer, named special tokens, template variables)
FAMILIES = {
    "qwen2.5": (byte_level(CHATML, normalizer=normalizers.NFC()), {"eos": "<|im_end|>", "pad": "<|endoftext|>"}, {}),
    "qwen3": (byte_level([*CHATML, "<think>", "</think>"], normalizer=normalizers.NFC()), {"eos": "<|im_end|>"}, {}),
    "llama3.2": (byte_level(LLAMA), {"bos": LLAMA[0], "eos": LLAMA[3]}, {}),
    "gemma3": (
        pieces(["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"], prefix=False),
        {"bos": "<bos>", "eos": "<end_of_turn>", "unk": "<unk>"},
        {},
    ),
    "smollm2": (byte_level(CHATML, GPT2), {"bos": "<|im_start|>", "eos": "<|im_end|>"}, {}),
    "smollm3": (byte_level(CHATML), {"eos": "<|im_end|>"}, {"enable_thinking": False}),
    "phi3": (byte_level(PHI, takes_behind=PHI[2:]), {"bos": "<s>", "eos": "<|endoftext|>"}, {}),
    "mistral": (pieces(["<s>", "</s>"], prefix=True), {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}, {}),
    "zephyr": (pieces(["<s>", "</s>"], prefix=True), {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}, {}),
    "olmo2": (byte_level(["<|endoftext|>"]), {"bos": "<|endoftext|>", "eos": "<|endoftext|>"}, {}),
    "marked": (byte_level(CHATML, GPT2), {"bos": "<|endoftext|>", "eos": "<|im_end|>"}, {}),
    "plain": (byte_level(["</s>"], GPT2), {"eos": "</s>"}, {}),
}
# Where a checkpoint keeps its template: a file of its own, a text in the configuration, or a list of named ones.
KEEPS = {"qwen3": "file", "smollm3": "list", "olmo2": "file"}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = FixedTime


def message_of(role, content, more=None):
    return {"role": role, "content": content, **(more or {})}


def marked_mask(tokenizer, messages, variables):
    out = tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True, **variables
    )
    return out["assistant_masks"]


def rendered_mask(tokenizer, messages, variables):
    """None where the template writes an answer otherwise once more messages follow."""
    render = lambda some, prompt: tokenizer.apply_chat_template(
        some, tokenize=False, add_generation_prompt=prompt, **variables
    )
    whole = render(messages, False)
    encoding = tokenizer(whole, add_special_tokens=False)
    ids = encoding["input_ids"]
    mask = [0] * len(ids)
    added = set(tokenizer.added_tokens_decoder)
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        question, answered = render(messages[:index], True), render(messages[: index + 1], False)
        if not whole.startswith(question):
            return None
        first = encoding.char_to_token(len(question))
        if whole.startswith(answered):
            if len(answered) == len(question):
                continue
            behind = encoding.char_to_token(len(answered) - 1) + 1
        else:
            other = tokenizer(answered, add_special_tokens=False)["input_ids"]
            behind = next(place for place, (a, b) in enumerate(zip(other, ids)) if a != b)
            if behind <= first or any(i not in added and tokenizer.decode([i]).strip() for i in other[behind:]):
                return None
        mask[first:behind] = [1] * (behind - first)
    return mask


def expectation(tokenizer, messages, variables):
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **variables)
    except (jinja2.exceptions.TemplateError, TypeError) as error:
        return {"refused": str(error)}
    ids = tokenizer.apply_chat_template(messages, return_dict=True, **variables)["input_ids"]
    expected = {"text": text, "ids": ids}
    try:
        expected["question"] = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **variables
        )
        has_marks = re.search(r"\{%-?\s*generation", tokenizer.chat_template) is not None
        mask = (marked_mask if has_marks else rendered_mask)(tokenizer, messages, variables)
        expected["mask"] = None if mask is None else "".join(map(str, mask))
    except (jinja2.exceptions.TemplateError, ValueError) as error:
        # The beginning of the conversation is no conversation.
        expected["mask"] = None
        expected["error"] = str(error)
    return expected


def write_family(folder, name):
    tokenizer, named, variables = FAMILIES[name]
    template = (HERE / "chat" / f"{name}.jinja").read_text(encoding="utf-8")
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False) + "\n")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **{f"{key}_token": text for key, text in named.items()}}
    keep = KEEPS.get(name)
    if keep == "file":
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        config["chat_template"] = "{{ 'the file goes first' }}"
    elif keep == "list":
        config["chat_template"] = [
            {"name": "tool_use", "template": "{{ 'another one' }}"},
            {"name": "default", "template": template},
        ]
    else:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n")

    loaded = PreTrainedTokenizerFast.from_pretrained(folder)
    if isinstance(loaded.chat_template, dict):
        loaded.chat_template = loaded.chat_template["default"]
    cases = []
    for title, turns in CONVERSATIONS.items():
        messages = [message_of(*turn) for turn in turns]
        cases.append({"name": title, "messages": messages, **expectation(loaded, messages, variables)})
    about = {"variables": variables, "now": NOW.isoformat()}
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    (folder / "cases.json").write_text(f'{{"about": {json.dumps(about)}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent.parent / "test/fixtures/chat")
    out = parser.parse_args().out
    for name in FAMILIES:
        if (out / name).exists():
            shutil.rmtree(out / name)
        write_family(out / name, name)
