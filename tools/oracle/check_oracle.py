"""Questions the oracle itself: are its gradients derivatives, its optimizer the stated formulas, its tolerances fair?

    python tools/oracle/check_oracle.py [DIR]      (default test/fixtures/oracle)

Reads the fixtures, prints one line per case and check, exits with 1 when a bound is broken.
"""

import json
import math
import pathlib
import sys

import numpy
import oracle
import torch

failures = []


def report(case, what, value, bound):
    print(f"{case:18} {what:58} {value:.1e}  (bound {bound:.0e})")
    if not value <= bound:
        failures.append(f"{case}: {what}")


def load_case(directory, mode, dtype=torch.float64):
    if mode == "full":
        return oracle.load_model(directory / "model", dtype, held=torch.float32).requires_grad_(True)
    return oracle.load_adapted(directory / "model", directory / "lora" / "adapter", dtype)


def check_derivatives(case, model, batch, gradients):
    """One random direction per tensor: a fourth-order central difference against the gradient's inner product."""
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    for name, parameter in oracle.trainable(model).items():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        # Tilted towards the gradient, so that the slope is not small by luck.
        direction += gradients[name] / gradients[name].norm() * direction.norm()
        origin = parameter.detach().clone()
        step = 1e-3 / direction.norm().item()

        def at(multiple):
            with torch.no_grad():
                parameter.copy_(origin + multiple * step * direction)
                return oracle.loss_of(model, batch).item()

        slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
        with torch.no_grad():
            parameter.copy_(origin)
        truth = (gradients[name] * direction).sum().item()
        worst = max(worst, abs(slope - truth) / abs(truth))
    report(case, "finite differences, worst tensor, relative", worst, 1e-7)


def check_accumulation(case, model, batch, gradients):
    """Each sequence alone, unpadded: gradients of the loss sums, added up, then divided by the sum of weights."""
    total, weight = {name: torch.zeros_like(g) for name, g in gradients.items()}, 0.0
    for row, count in enumerate(batch["lengths"]):
        alone = {key: [batch[key][row][:count]] for key in ("tokens", "targets", "weights")}
        weight += sum(alone["weights"][0])
        for name, gradient in oracle.gradients_of(model, alone)[1].items():
            total[name] += gradient * sum(alone["weights"][0])
    worst = max(((total[name] / weight - g).norm() / g.norm()).item() for name, g in gradients.items())
    report(case, "two unpadded micro-batches against the padded batch", worst, 1e-12)


def rate_at(step):
    """The rate of step t = 1..STEPS by the formula in README.md."""
    peak, warmup = oracle.PEAK_RATE, oracle.WARMUP_STEPS
    if step <= warmup:
        return peak * (step - 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - 1 - warmup) / (oracle.STEPS - warmup)))


def check_optimizer(case, model, batch, expected):
    """AdamW and clipping from the formulas in README.md, in numpy, against torch's loss curve."""
    names = oracle.trainable(model)
    moments = {name: (numpy.zeros(p.shape), numpy.zeros(p.shape)) for name, p in names.items()}
    worst = 0.0
    for step in range(1, oracle.STEPS + 1):
        loss, gradients = oracle.gradients_of(model, batch)
        worst = max(worst, abs(loss - expected["losses"][step - 1]) / loss)
        norm = math.sqrt(sum(float((g.numpy() ** 2).sum()) for g in gradients.values()))
        worst = max(worst, abs(norm - expected["gradientNorms"][step - 1]) / norm)
        rate = rate_at(step)
        worst = max(worst, abs(rate - expected["rates"][step - 1]) / oracle.PEAK_RATE)
        for name, parameter in names.items():
            gradient = gradients[name].numpy() * min(1.0, oracle.CLIP_NORM / (norm + 1e-6))
            first, second = moments[name]
            first += (1 - oracle.BETAS[0]) * (gradient - first)
            second += (1 - oracle.BETAS[1]) * (gradient**2 - second)
            unbiased = first / (1 - oracle.BETAS[0] ** step)
            spread = numpy.sqrt(second / (1 - oracle.BETAS[1] ** step)) + oracle.EPSILON
            value = parameter.detach().numpy()
            with torch.no_grad():
                decayed = value * (1 - rate * oracle.WEIGHT_DECAY)
                parameter.copy_(torch.from_numpy(decayed - rate * unbiased / spread))
    report(case, "losses and norms of AdamW written out, relative", worst, 1e-9)


def check_float32(case, directory, mode, batch, expected, gradients):
    """What plain float32 PyTorch loses: the tolerances of the tests (1e-5, 1e-4, 1e-4) must leave room for it."""
    model = load_case(directory, mode, torch.float32)
    loss, rough = oracle.gradients_of(model, batch)
    report(case, "float32: loss at step 0, relative", abs(loss - expected["loss"]) / loss, 1e-6)
    worst = max(((rough[name].double() - g).norm() / g.norm()).item() for name, g in gradients.items())
    report(case, "float32: gradients, worst tensor, relative to its norm", worst, 1e-5)
    losses = oracle.train(load_case(directory, mode, torch.float32), batch)["losses"]
    worst = max(abs(a - b) / b for a, b in zip(losses, expected["curve"]["losses"], strict=True))
    report(case, "float32: loss curve, relative", worst, 1e-5)


def exact_frequencies(config, parameters):
    """The formulas of the papers in float64, and by how much a frequency's own rounding may show, relative."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    theta, factor = parameters["rope_theta"], parameters.get("factor", 1.0)
    exponents = numpy.arange(0, width, 2) / width
    plain = theta**-exponents
    # Not one rounding: the exponent i/d is rounded to float32 first, and the power multiplies that by ln(theta). The
    # bound is that, half a step of the exponent, and two roundings and a one-step power for the rest.
    bound = numpy.log(theta) * numpy.spacing(exponents.astype("f4")).astype("f8") / 2 + 3 * 2.0**-24
    kind = parameters["rope_type"]
    if kind == "default":
        return plain, bound
    if kind == "linear":
        return plain / factor, bound + 2.0**-24
    assert kind == "llama3", kind
    # Turns within the original length: up to `low` the frequency is divided, from `high` on it is kept.
    turns = parameters["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    kept = numpy.clip((turns - low) / (high - low), 0, 1)
    assert 0 in kept and 1 in kept and ((kept > 0) & (kept < 1)).any(), "the fixture exercises all three ranges"
    return plain * (kept + (1 - kept) / factor), bound * (1 + turns) + 10 * 2.0**-24


def check_rope(case, directory, batch, expected):
    """transformers' float32 frequencies against the formula, and what tables in float64 would change."""
    model = load_case(directory, "full")
    rotary, config = model.model.rotary_emb, model.config
    nested = config.model_type == "gemma3_text"
    kinds = rotary.layer_types if nested else [None]
    tables = {}
    for kind in kinds:
        tables[kind], bound = exact_frequencies(config, config.rope_parameters[kind] if nested else config.rope_parameters)
        stored = getattr(rotary, f"{kind}_inv_freq" if nested else "inv_freq").numpy().astype(numpy.float32)
        steps = numpy.abs(stored.view(numpy.int32) - tables[kind].astype(numpy.float32).view(numpy.int32))
        print(f"{case:18} rope frequencies differ from the rounded double by {steps.tolist()} float32 steps")
        off = numpy.abs(stored.astype("f8") - tables[kind]) / tables[kind]
        report(case, "rope frequencies off the double, share of the error bound", float((off / bound).max()), 1)

    def in_double(self, x, position_ids, layer_type=None):
        angles = position_ids[..., None].double() * torch.from_numpy(tables[layer_type])
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    original = type(rotary).forward
    gradients = oracle.gradients_of(model, batch)[1]
    try:
        type(rotary).forward = in_double
        loss, moved = oracle.gradients_of(model, batch)
    finally:
        type(rotary).forward = original
    report(case, "float64 rope tables would move the loss, relative", abs(loss - expected["loss"]) / loss, 1e-6)
    worst = max(((moved[name] - g).norm() / g.norm()).item() for name, g in gradients.items())
    report(case, "float64 rope tables would move the gradients, relative", worst, 1e-5)


def main():
    root = pathlib.Path(__file__).resolve().parents[2] / "test" / "fixtures" / "oracle"
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root
    for family in json.loads((root / "manifest.json").read_text())["families"]:
        directory = root / family
        batch = json.loads((directory / "batch.json").read_text())
        for mode in ("full", "lora"):
            case = f"{family}/{mode}"
            expected = json.loads((directory / mode / "expected.json").read_text())
            model = load_case(directory, mode)
            loss, gradients = oracle.gradients_of(model, batch)
            report(case, "stored loss, relative", abs(loss - expected["loss"]) / loss, 1e-12)
            check_derivatives(case, model, batch, gradients)
            check_accumulation(case, model, batch, gradients)
            check_optimizer(case, load_case(directory, mode), batch, expected["curve"])
            check_float32(case, directory, mode, batch, expected, gradients)
        if not family.startswith("gpt2"):
            check_rope(family, directory, batch, json.loads((directory / "full" / "expected.json").read_text()))
    if failures:
        raise SystemExit("broken: " + "; ".join(failures))


if __name__ == "__main__":
    main()
