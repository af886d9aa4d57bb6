"""Hugging Face's own tokenizers on many texts: JSON {"texts": [...], "framed": [...], "ids": [[...]], "classes": [...]} on
stdin, any of them left out; JSON on stdout with the ids of `texts` as they are and of `framed` with what belongs around
them, the texts of `ids` with special tokens and without, the texts of `normalized` as the normalizer leaves them, and what
the library's Unicode calls the code points of `classes`: a letter, a number or neither."""

import json
import sys

from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split


def classes(codes):
    letters = Split(Regex(r"\p{L}"), "removed")
    numbers = Split(Regex(r"\p{N}"), "removed")
    named = []
    for code in codes:
        is_letter = not letters.pre_tokenize_str(chr(code))
        is_number = not numbers.pre_tokenize_str(chr(code))
        named.append("letter" if is_letter else "number" if is_number else "neither")
    return named


def normalized(tokenizer, text):
    return tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    asked = json.load(sys.stdin)
    lists = asked.get("ids", [])
    answer = {
        "plain": [one.ids for one in tokenizer.encode_batch(asked.get("texts", []), add_special_tokens=False)],
        "framed": [one.ids for one in tokenizer.encode_batch(asked.get("framed", []), add_special_tokens=True)],
        "kept": tokenizer.decode_batch(lists, skip_special_tokens=False),
        "left_out": tokenizer.decode_batch(lists, skip_special_tokens=True),
        "normalized": [normalized(tokenizer, text) for text in asked.get("normalized", [])],
        "classes": classes(asked.get("classes", [])),
    }
    # As one string: json.dump writes piece by piece, minutes for some megabytes.
    sys.stdout.write(json.dumps(answer))


main()
