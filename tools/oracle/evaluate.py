"""Perplexity and multiple-choice answers of a model by transformers alone, in float64, as one JSON object.

    python tools/oracle/evaluate.py MODEL --length N --stride N [--adapter DIR] [--text FILE] [--task NAME=FILE]...
        [--labels FILE] [--examples NAME=FILE]... [--shots N]

Written from the benchmarks' published files and formulas; shares nothing with Heddle.
"""

import argparse
import csv
import json
import math
import os
import re

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# For sequences this short threads wait for one another most of the time, and longer still beside other work.
torch.set_num_threads(1)


def arc(path):
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        choices = row["question"]["choices"]
        answer = [c["label"] for c in choices].index(row["answerKey"])
        yield f"Question: {row['question']['stem']}\nAnswer:", [c["text"] for c in choices], answer


def mmlu(path):
    with open(path, encoding="utf-8", newline="") as file:
        for asked, a, b, c, d, answer in csv.reader(file):
            text = f"{asked.strip()}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:"
            yield text, ["A", "B", "C", "D"], "ABCD".index(answer)


def hellaswag(path):
    def clean(text):
        text = text.strip().replace(" [title]", ". ")
        text = re.sub(r"\[.*?\]", "", text)
        return text.replace("  ", " ")

    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        context = row["activity_label"] + ": " + row["ctx_a"] + " " + row["ctx_b"].capitalize()
        yield clean(context), [clean(ending) for ending in row["endings"]], int(row["label"])


def piqa(path, labels):
    for line, label in zip(open(path, encoding="utf-8"), open(labels)):
        row = json.loads(line)
        yield f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]], int(label)


def qnli(path):
    rows = [line.rstrip("\n").split("\t") for line in open(path, encoding="utf-8")][1:]
    for _, asked, sentence, label in rows:
        context = f"{asked}\n{sentence}\nQuestion: Does this response answer the question?\nAnswer:"
        yield context, ["yes", "no"], ["entailment", "not_entailment"].index(label)


def read(name, path, labels):
    if name == "piqa":
        return list(piqa(path, labels))
    return list({"mmlu": mmlu, "arc_easy": arc, "arc_challenge": arc, "hellaswag": hellaswag, "qnli": qnli}[name](path))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--adapter")
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--stride", type=int, required=True)
    parser.add_argument("--text")
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--labels")
    parser.add_argument("--examples", action="append", default=[])
    parser.add_argument("--shots", type=int, default=0)
    options = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float64)
    if options.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, options.adapter)
    model.eval()

    def encode(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    @torch.no_grad()
    def likelihood(context, continuation):
        before, whole = encode(context), encode(context + continuation)
        kept = whole[-(options.length + 1) :]
        wanted = len(whole) - len(before)
        logits = model(torch.tensor([kept[:-1]])).logits.double().log_softmax(-1)[0]
        return sum(logits[len(kept) - 1 - wanted + i, kept[-wanted + i]].item() for i in range(wanted))

    result = {"tasks": {}}
    if options.text:
        ids = encode(open(options.text, encoding="utf-8").read())
        window = options.length
        previous, total, count = 0, 0.0, 0
        for begin in range(0, len(ids), options.stride):
            end = min(begin + window, len(ids))
            fresh = end - max(previous, begin + 1)
            if fresh > 0:
                piece = torch.tensor([ids[begin:end]])
                with torch.no_grad():
                    logits = model(piece).logits.double().log_softmax(-1)[0]
                for place in range(end - begin - fresh, end - begin):
                    total -= logits[place - 1, piece[0, place]].item()
                    count += 1
            previous = end
            if end == len(ids):
                break
        result["text"] = {"perplexity": math.exp(total / count), "tokens": count}
    examples = dict(one.split("=", 1) for one in options.examples)
    for task in options.task:
        name, path = task.split("=", 1)
        rows = read(name, path, options.labels)
        shown = read(name, examples[name], options.labels) if options.shots else []
        subject = re.sub(r"_(test|dev|val)$", "", os.path.basename(path)[:-4]).replace("_", " ")
        lead = f"The following are multiple choice questions (with answers) about {subject}.\n\n" if name == "mmlu" else ""
        answers, normalised, right = [], [], 0
        for context, choices, answer in rows:
            worked = [row for row in shown if row[0] != context][: options.shots]
            prefix = lead + "".join(f"{c} {a[i]}\n\n" for c, a, i in worked)
            scores = [likelihood(prefix + context, " " + choice) for choice in choices]
            answers.append(max(range(len(scores)), key=lambda i: scores[i]))
            per_length = [score / len(choice) for score, choice in zip(scores, choices)]
            normalised.append(max(range(len(scores)), key=lambda i: per_length[i]))
            right += answers[-1] == answer
        result["tasks"][name] = {"answers": answers, "normalised": normalised, "accuracy": right / len(rows)}
    print(json.dumps(result))


main()
