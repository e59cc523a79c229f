"""torchrun's ranks with one Llama that transformers itself has split: ``from_pretrained(..., tp_plan="auto")``."""

import os
import sys
from pathlib import Path

import torch
from common import RANK, RESULTS, measured, plain, write_results
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from jitwarmup import Report, until_steady
from jitwarmup.integrations.transformers import time_generate, warmed_generation

NEW_TOKENS = 6
IDS = torch.tensor([[1, 2, 3, 4]])
ASKED = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": NEW_TOKENS}


def saved(folder):
    """A tiny random Llama on disk, the same from every rank."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def sampling(model):
    """generate() that draws. Every rank has to draw the same, so a seed belongs to it."""

    def generate(ids):
        torch.manual_seed(11)
        return model.generate(ids, **ASKED, do_sample=True)

    return generate


folder = saved(Path(sys.argv[1], f"model-{RANK}"))
whole = LlamaForCausalLM.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, tp_plan="auto")
weight = model.model.layers[0].self_attn.q_proj.weight
RESULTS["split"] = {
    "shape": list(weight.shape),
    "local": list(weight.to_local().shape) if isinstance(weight, DTensor) else None,
    "backend": torch.distributed.get_backend(),
    "world": int(os.environ["WORLD_SIZE"]),
}
RESULTS["whole"] = plain(whole.generate(IDS, **ASKED, do_sample=False))
RESULTS["control"] = plain(model.generate(IDS, **ASKED, do_sample=False))

measured("sampled", lambda: sampling(model), IDS)
generate = warmed_generation(model.generate, iterations=until_steady(at_most=6), measurements=4, ranks="world")
RESULTS["value"] = plain(generate(IDS, **ASKED, do_sample=False))
report: Report = generate.measure(IDS, **ASKED, do_sample=False)
RESULTS["generation"] = report.to_dict()
RESULTS["state"] = str(generate.state)
timed = time_generate(model, {"input_ids": IDS}, **ASKED, do_sample=False)
RESULTS["timed"] = {
    "latency_s": timed.latency_s,
    "output": plain(timed.output),
    "counts": timed.counts,
    "rank_durations_ns": timed.run.rank_durations_ns,
}
write_results()
