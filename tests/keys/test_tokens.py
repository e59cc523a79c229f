"""``by_tokens``: texts count by their tokens, whatever tokenizer it is."""

from types import SimpleNamespace

import pytest

from jitwarmup import ArgumentError, by_tokens, warmed


def words(text):
    return text.split()


@pytest.mark.parametrize(
    "tokenizer",
    [
        words,
        lambda text: len(text.split()),
        lambda text: {"input_ids": text.split(), "attention_mask": []},
        SimpleNamespace(encode=words),
    ],
    ids=["tokens", "number", "mapping", "encode"],
)
def test_a_text_counts_by_its_tokens(tokenizer):
    key = by_tokens(tokenizer, [2, 8])
    assert key("antidisestablishmentarianism") == key("a b") != key("a b c")
    assert key("a b c") == "0 str[8]"
    assert key(["a", "a b c"], max_new_tokens=16) == key(["d e f", ""], max_new_tokens=99)
    assert "list[2,8]" in key(["a", "a b c"])


def test_a_real_tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    assert by_tokens(tokenizer, [2, 8])("a lengthy text") == "0 str[8]"


def test_no_text_enters_a_key():
    key = by_tokens(words, [4])("secret prompt", more=["secret"])
    assert "secret" not in key


def test_each_size_is_warmed_once():
    @warmed(iterations=0, key=by_tokens(words, [2, 8]))
    def generate(prompt):
        return prompt

    for prompt in ("a", "b c", "d e f", "g h i j"):
        generate(prompt)
    assert (generate.coverage().calls, generate.coverage().hits) == (4, 2)


@pytest.mark.parametrize("tokenizer", [None, 3, "gpt2"])
def test_what_is_no_tokenizer_is_refused(tokenizer):
    with pytest.raises(ArgumentError, match=r"by_tokens got a .*; wanted an object with encode"):
        by_tokens(tokenizer, [2])


def test_sizes_are_those_of_by_bucket():
    with pytest.raises(ArgumentError, match="positive whole numbers"):
        by_tokens(words, [0])
