"""A foreign bound method, ``model.generate``, decorated as it is; sampling gives the same tokens as without us."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from jitwarmup import warmed

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
ids = torch.tensor([[1, 2, 3, 4]])
asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 8, "do_sample": True}

generate = warmed(iterations=3)(model.generate)
torch.manual_seed(7)
tokens = generate(**asked)
torch.manual_seed(7)
assert torch.equal(tokens, model.generate(**asked))
print(tokens[0].tolist())
print(generate.measure(**asked).explain())
