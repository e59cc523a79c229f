"""Every spelling of compiled generation is known, decode is looked at, and a chat that streams from a thread is marked."""

import threading

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TextIteratorStreamer

from jitwarmup import State, warmed
from jitwarmup.integrations.transformers import warmed_generation
from jitwarmup.testing import capture_events

PROMPT = torch.ones(1, 4, dtype=torch.long)


@pytest.fixture
def model():
    torch._dynamo.reset()
    torch.manual_seed(0)
    small = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "eos_token_id": None, "pad_token_id": 0}
    yield LlamaForCausalLM(LlamaConfig(**small, **heads)).eval()
    torch._dynamo.reset()


def forward_wrapped(model):
    model.forward = torch.compile(model.forward, backend="eager")
    return model.generate


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


def compiled_layers(model):
    for layer in model.model.layers:
        layer.compile(backend="eager")
    return model.generate


def measured(target, new=3):
    generate = warmed_generation(target, iterations=1, measurements=2)
    with capture_events():
        report = generate.measure(input_ids=PROMPT, max_new_tokens=new, do_sample=False)
    return report, generate


@pytest.mark.parametrize("spelling", [forward_wrapped, compiled_in_place, compiled_layers])
def test_each_spelling_is_asked_for_and_looked_at(model, spelling):
    report, generate = measured(spelling(model))
    assert report.facts["compile_asked"] is True
    assert report.facts["decode_compiled"] is True
    assert generate.state is State.WARM


def test_a_compiled_model_whose_generate_goes_around_it(model):
    report, generate = measured(torch.compile(model, backend="eager"))
    assert report.facts["compile_asked"] is True
    assert report.facts["decode_compiled"] is False
    assert report.facts["output_tokens"] == 3
    assert report.first_item is not None
    assert report.verdict.state == "degraded"
    assert "not_compiled" in [reason.kind for reason in report.verdict.reasons]
    assert "compile_in_place" in [fix.kind for fix in report.advice]
    assert generate.state is State.DEGRADED  # the key says what the verdict says


def test_eager_generation_asks_for_nothing(model):
    report, generate = measured(model)
    assert report.facts["compile_asked"] is False
    assert report.verdict.state != "degraded"
    assert generate.state is State.WARM


def test_no_decode_step_is_not_looked_at(model):
    report, _ = measured(forward_wrapped(model), new=1)
    assert "decode_compiled" not in report.facts
    assert report.facts["decode_evidence"] == "no decode step"
    assert [fix.kind for fix in report.advice] == ["warm_with_decode_steps"]


class Words:
    """The least of a tokenizer."""

    def decode(self, tokens, **_):
        return f"{tokens}\n"


@pytest.mark.slow
def test_a_chat_that_streams_from_a_thread_is_marked_where_its_prompt_compiles_anew(model):
    model.forward = torch.compile(model.forward, backend="eager", dynamic=False)

    def chat(length):
        streamer = TextIteratorStreamer(Words(), timeout=60)
        asked = {"input_ids": torch.ones(1, length, dtype=torch.long), "max_new_tokens": 2, "do_sample": False}
        thread = threading.Thread(target=model.generate, kwargs={**asked, "streamer": streamer})
        thread.start()
        text = "".join(streamer)
        thread.join()
        return text

    served = warmed(iterations=1)(chat)
    with capture_events() as events:
        served(4)
        served(4)
        served(7)
    calls = [event for event in events if event["event"] == "jitwarmup.call"]
    assert [event["contaminated"] for event in calls] == [False, False, True]
    assert any("dynamo.recompile" in work for work in calls[-1]["work"])
    assert served.state is State.DEGRADED
