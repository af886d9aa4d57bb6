"""Loads a Hugging Face model directory in float64 and prints a JSON fingerprint of the logits.

    python tools/oracle/check_model.py MODEL_DIR TOKENS_JSON

TOKENS_JSON is a batch.json or a list of lists of token ids. Refuses a directory whose tensors are not all used and
all there, so that transformers' silent re-initialisation cannot hide a wrong name.
"""

import json
import sys

import oracle

if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    sequences = oracle.read_tokens(sys.argv[2])
    print(json.dumps(oracle.fingerprint(oracle.load_model(sys.argv[1]), sequences)))
