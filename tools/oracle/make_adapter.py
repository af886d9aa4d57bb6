"""Writes a random PEFT LoRA adapter (A and B non-zero) for a model directory, as PEFT itself lays it out.

    python tools/oracle/make_adapter.py MODEL_DIR OUT_DIR --targets q_proj v_proj [--rank 8] [--alpha 16] [--seed NAME]

For round trips with any model and any choice of targets; the fixtures' own adapters come from make_fixtures.py.
"""

import argparse
import pathlib

import make_fixtures

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--targets", nargs="+", required=True)
    parser.add_argument("--rank", type=int, default=make_fixtures.RANK)
    parser.add_argument("--alpha", type=float, default=make_fixtures.ALPHA)
    parser.add_argument("--seed", default="adapter")
    given = parser.parse_args()
    make_fixtures.make_adapter(given.model, given.targets, given.out, given.model, given.seed, given.rank, given.alpha)
