"""Loads a PEFT adapter onto its base model in float64 and prints a JSON fingerprint of the logits.

    python tools/oracle/check_adapter.py MODEL_DIR ADAPTER_DIR TOKENS_JSON

TOKENS_JSON is a batch.json or a list of lists of token ids. Refuses an adapter whose tensors PEFT would not all use.
"""

import json
import sys

import oracle

if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    sequences = oracle.read_tokens(sys.argv[3])
    model = oracle.load_adapted(sys.argv[1], sys.argv[2])
    print(json.dumps(oracle.fingerprint(model, sequences)))
