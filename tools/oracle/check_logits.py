"""Answers each line of standard input, a JSON list MODEL_DIR, TOKENS_JSON and maybe ADAPTER_DIR, with a line of JSON: the
fingerprint of the logits of a Hugging Face model directory, with a PEFT adapter on it if one is given, in float64.

    echo '["MODEL_DIR", "TOKENS_JSON", "ADAPTER_DIR"]' | python tools/oracle/check_logits.py

TOKENS_JSON is a batch.json or a list of lists of token ids. Ends at a model or an adapter whose tensors are not all used
and all there, so that transformers' silent re-initialisation cannot hide a wrong name. Many lines are one process, because
loading the libraries takes longer than a small model.
"""

import json
import sys

import oracle

if __name__ == "__main__":
    if len(sys.argv) != 1:
        raise SystemExit(__doc__)
    for line in sys.stdin:
        model_directory, tokens, *adapter = json.loads(line)
        model = oracle.load_adapted(model_directory, *adapter) if adapter else oracle.load_model(model_directory)
        print(json.dumps(oracle.fingerprint(model, oracle.read_tokens(tokens))), flush=True)
