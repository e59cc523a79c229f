"""
What only a GPU can show of generation: python tests/gpu/generate_on_gpu.py

``reduce-overhead`` and ``max-autotune`` with CUDA graphs: capture seen in validation, replay clean, and a changed shape
marked as re-recorded. Says so and ends well where there is no GPU.
"""

import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from jitwarmup import steady_state
from jitwarmup.integrations.sweep.configurations import configuration
from jitwarmup.integrations.sweep.loading import generation_config
from jitwarmup.integrations.transformers import warmed_generation

MODEL = {
    "vocab_size": 1024,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}


def kinds(run):
    return sorted({work.kind for work in run.work})


def check(mode):
    """One compile mode; returns what went wrong."""
    model = LlamaForCausalLM(LlamaConfig(**MODEL)).to("cuda", torch.bfloat16).eval()
    model.generation_config = generation_config(configuration({"compile_mode": mode, "new_tokens": 32}))
    generate = warmed_generation(model.generate, iterations=5, measurements=20)

    def asked(length):
        ids = torch.ones((1, length), dtype=torch.long, device="cuda")
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    with torch.inference_mode():
        report = generate.measure(**asked(64))
        with steady_state(iterations=2, measurements=6) as steady:
            for trial, length in zip(steady.trials(), (64, 64, 64, 64, 64, 128, 128, 128, 128, None), strict=False):
                with trial:
                    generate(**asked(length))
    varied = steady.reports[0]
    print(f"--- {mode}: {report.explain()}")
    print(f"facts {dict(report.facts)}")
    print(f"validation paid {kinds(report.validation)}")
    print(f"kinds of the varied runs: {[(kinds(run), run.contaminated) for run in varied.measured]}")
    wrong = []
    if report.failure is not None:
        return [f"{mode}: {report.failure.type}: {report.failure.message}"]
    if report.facts.get("decode_compiled") is not True:
        wrong.append(f"{mode}: decode was not compiled")
    cold = [kind for run in (report.validation, *report.warmup) for kind in kinds(run)]
    if "cudagraph.record" not in cold:
        wrong.append(f"{mode}: no CUDA-graph recording was seen before the measured runs")
    if not any(run.contaminated for run in varied.measured):
        wrong.append(f"{mode}: a longer prompt re-recorded nothing that we saw")
    return wrong


def main():
    if not torch.cuda.is_available():
        print("no GPU here: nothing was checked")
        return 0
    wrong = [problem for mode in ("reduce-overhead", "max-autotune") for problem in check(mode)]
    print("\n".join(wrong) or "all as it should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
