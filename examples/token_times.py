"""Time to the first token and the gaps after it: model.generate decorated, and one call in the framework's way."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from jitwarmup.integrations.transformers import time_generate, warmed_generation

config = LlamaConfig(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    bos_token_id=1,
    eos_token_id=None,
    pad_token_id=0,
)
model = LlamaForCausalLM(config).eval()
ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

generate = warmed_generation(model.generate, iterations=3, measurements=10)
report = generate.measure(**inputs, max_new_tokens=16, do_sample=False)
print(f"first token {report.first_item.median_s * 1e3:.3f} ms, gap {report.item_gap.median_s * 1e3:.3f} ms")
print({name: report.facts[name] for name in ("batch", "input_tokens", "output_tokens", "outputs_equal")})
assert generate.unwrap() == model.generate

time_generate(model, inputs, warmup=True, max_new_tokens=16)  # silent, nothing measured
timing = time_generate(model, inputs, max_new_tokens=16)
print(f"one call: {len(timing.gaps_ns)} gaps, tokens of each sequence {timing.counts}")
