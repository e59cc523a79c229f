import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def _one_thread():
    """Two shared cores: threads of torch wait for one another here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny():
    """A function that makes a small random Llama; each has weights of its own, so each is compiled by itself."""

    def make(**over):
        settings = {
            "vocab_size": 256,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "bos_token_id": 1,
            "eos_token_id": None,
            "pad_token_id": 0,
        }
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings | over)).eval()

    return make


@pytest.fixture
def asked():
    """Arguments of ``generate`` for a prompt length and batch."""

    def make(length=8, batch=1, new=8, **more):
        ids = torch.arange(2, 2 + length * batch).remainder(250).add(2).reshape(batch, length)
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "max_new_tokens": new,
            "do_sample": False,
            **more,
        }

    return make


@pytest.fixture
def compiled_on_cpu():
    """Arguments that make ``generate`` compile its decode on a CPU, by a backend that needs milliseconds.

    Modules of one class share what dynamo has compiled, and what it has learnt of varying sizes: begin afresh. (The
    reset drops our own callbacks too; every test after it shows that they are armed again.)
    """
    torch._dynamo.reset()
    config = transformers.CompileConfig(backend="eager", mode=None)
    config._compile_all_devices = True
    return {"cache_implementation": "static", "compile_config": config}
