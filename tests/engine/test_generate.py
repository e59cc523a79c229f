"""A real language model, small and from a config: a decorated ``generate`` gives what the plain one gives."""

from __future__ import annotations

import random

import numpy as np
import pytest

from jitwarmup import steady_state, warmed

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
VERSION = tuple(int(part) for part in transformers.__version__.split(".")[:2])
CACHE = "cache" if VERSION >= (5, 24) else "past_key_values"  # what generate() calls the cache it is given


@pytest.fixture(scope="module")
def model():
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model only waits for its helpers
    torch.manual_seed(0)
    yield transformers.LlamaForCausalLM(config).eval()
    torch.set_num_threads(threads)


@pytest.fixture
def inputs():
    ids = torch.tensor([[1, 5, 9, 3]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 5, "do_sample": True}


def seeded(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the stream of the process
    torch.manual_seed(seed)


def streams():
    """The states of all random streams of the process."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002 - see above


def test_20_seeds_give_the_same_tokens_as_the_plain_generate_and_leave_the_same_streams(model, inputs) -> None:
    different = set()
    for seed in range(20):
        seeded(seed)
        wanted, after = model.generate(**inputs), streams()
        generate = warmed(iterations=2)(model.generate)
        seeded(seed)
        assert torch.equal(generate(**inputs), wanted)
        assert streams() == after
        seeded(seed)
        assert torch.equal(generate(**inputs), wanted), "and so does a warm call"
        assert streams() == after
        different.add(tuple(wanted[0].tolist()))
    assert len(different) > 10, "the seeds matter, so equality says something"


def test_measure_and_trials_draw_the_same_tokens_in_every_run_and_leave_the_streams_as_found(model, inputs) -> None:
    got = []
    seeded(3)
    before = streams()
    with steady_state(iterations=1, measurements=3) as steady:
        report = steady.measure(lambda **kwargs: got.append(model.generate(**kwargs)), **inputs)
        for trial in steady.trials():
            with trial:
                got.append(model.generate(**inputs))
    assert streams() == before
    assert len(got) == 5 + 5
    assert all(torch.equal(tokens, got[0]) for tokens in got)
    assert report.failure is None


def test_the_name_and_signature_of_generate_are_kept(model) -> None:
    generate = warmed()(model.generate)
    assert generate.__name__ == "generate"
    assert generate._core.name.endswith("GenerationMixin.generate")


def test_a_streamer_of_generate_hears_one_run(model, inputs) -> None:
    items = []

    class Ears(transformers.generation.streamers.BaseStreamer):
        def put(self, value):
            items.append(value.flatten().tolist())

        def end(self):
            items.append("end")

    generate = warmed(iterations=2)(model.generate)
    seeded(1)
    tokens = generate(**inputs, streamer=Ears())
    assert items[-1] == "end"
    assert items.count("end") == 1
    assert [token for item in items[:-1] for token in item] == tokens[0].tolist()


CACHES = getattr(transformers.generation.utils, "ALL_CACHE_NAMES", ())
CACHE = "cache" if "cache" in CACHES else "past_key_values"  # what this release calls the argument


def test_a_cache_that_grows_needs_fresh(model, inputs) -> None:
    generate = warmed(iterations=1, fresh=lambda **kwargs: ((), {**kwargs, CACHE: transformers.DynamicCache()}))(
        model.generate
    )
    cache = transformers.DynamicCache()
    seeded(2)
    wanted = model.generate(**inputs, **{CACHE: transformers.DynamicCache()})
    seeded(2)
    assert torch.equal(generate(**inputs, **{CACHE: cache}), wanted)
    assert cache.get_seq_length() == 4 + 5 - 1, "its own run filled it, once"
