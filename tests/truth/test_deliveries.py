"""Deliveries are not tokens: seconds a token under assisted decoding, and new tokens where the prompt is no part of the output."""

from itertools import accumulate, pairwise

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from jitwarmup import steady_state
from jitwarmup.integrations.transformers import TokenTimer, time_generate, warmed_generation
from jitwarmup.testing import FakeClock, capture_events

PROMPT = torch.arange(1, 9).reshape(1, 8)
GREEDY = {"do_sample": False}


def small(**more):
    torch.manual_seed(0)
    size = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "eos_token_id": None, "pad_token_id": 0}
    return LlamaForCausalLM(LlamaConfig(**size, **heads, **more)).eval()


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.mark.parametrize("widths", [(1, 1, 1), (2, 2, 2), (1, 4, 1, 5), (3,), (1,), (6, 1), (1, 6)])
def test_a_token_costs_the_time_between_the_deliveries_by_the_tokens_they_brought(widths):
    clock, timer = FakeClock(), TokenTimer()

    def generate(streamer):
        streamer.put(PROMPT)
        for place, width in enumerate(widths):
            clock.ns += 1_000_000 * (place + 1)
            streamer.put(torch.ones(1, width, dtype=torch.long))
        clock.ns += 5_000_000  # after the last one: no token's
        streamer.end()

    with capture_events(), steady_state(clock=clock, iterations=1, measurements=5) as steady:
        report = steady.measure(generate, timer)
    stamps = list(accumulate(1_000_000 * (place + 1) for place in range(len(widths))))
    later = sum(widths[1:])
    run = report.measured[0]
    assert run.items == sum(widths)
    assert len(run.item_gaps_s) == later
    if not later:
        assert (report.item_gap, report.facts.get("decode_token_s")) == (None, None)
        return
    wanted = (stamps[-1] - stamps[0]) / later / 1e9
    assert report.item_gap.mean_s == pytest.approx(wanted)
    assert report.facts["decode_token_s"] == pytest.approx(wanted)
    if set(widths) != {1}:
        assert report.item_gap.median_s == pytest.approx(wanted)
    assert timer.gaps_ns == tuple(after - before for before, after in pairwise(stamps))  # deliveries, as they came
    assert timer.times[-1].delivered == widths


def test_assisted_decoding_of_a_real_model(model):
    helper = small()  # it is always right: everything that it proposes is accepted
    asked = {"max_new_tokens": 25, "assistant_model": helper, **GREEDY}
    with capture_events():
        report = warmed_generation(model.generate, iterations=1, measurements=5).measure(input_ids=PROMPT, **asked)
        timing = time_generate(model, PROMPT, **asked)
    assert report.facts["output_tokens"] == report.measured[0].items == sum(timing.counts) == 25
    assert len(timing.gaps_ns) < 20  # several tokens came together
    assert all(len(run.item_gaps_s) in range(20, 25) for run in report.measured)
    after_the_first_delivery = len(report.measured[0].item_gaps_s)
    assert timing.inter_token_s == pytest.approx(sum(timing.gaps_ns) / 1e9 / after_the_first_delivery)


def prompts(model):
    embedded = model.get_input_embeddings()(PROMPT).detach()
    return {
        "ids": {"input_ids": PROMPT},
        "inputs": {"inputs": PROMPT},
        "embeddings": {"inputs_embeds": embedded},
        "embeddings and ids": {"input_ids": PROMPT, "inputs_embeds": embedded},
        "none": {"bos_token_id": 1},
        "as a dictionary": {"input_ids": PROMPT, "return_dict_in_generate": True},
        "several of one prompt": {"input_ids": PROMPT, "num_return_sequences": 2, "do_sample": True},
        "batch of embeddings": {"inputs_embeds": embedded.repeat(3, 1, 1)},
    }


@pytest.mark.parametrize("which", prompts(small()))
def test_new_tokens_are_those_that_generate_added(model, which):
    generate = warmed_generation(model.generate, iterations=1, measurements=2)
    with capture_events():
        report = generate.measure(max_new_tokens=6, **{**GREEDY, **prompts(model)[which]})
    assert report.failure is None, report.failure.traceback
    assert report.facts["output_tokens"] == 6
    assert report.facts.get("new_tokens_min", 6) == 6


@pytest.mark.parametrize("begun", [None, 3])
def test_a_decoder_that_was_begun_has_made_what_it_added(begun):
    torch.manual_seed(0)
    size = {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**size, decoder_start_token_id=0, eos_token_id=None)).eval()
    more = {} if begun is None else {"decoder_input_ids": torch.zeros(1, begun, dtype=torch.long)}
    generate = warmed_generation(model.generate, iterations=1, measurements=2)
    with capture_events():
        report = generate.measure(input_ids=PROMPT, max_new_tokens=6, **GREEDY, **more)
    assert report.facts["output_tokens"] == 6
