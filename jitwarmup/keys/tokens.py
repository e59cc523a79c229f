"""Keys for texts that a tokenizer cuts up: what a model's program depends on is their length in tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any

from jitwarmup.host.arguments.signatures import DEPTH, WIDTH
from jitwarmup.keys.shapes import ShapeKey, by_bucket
from jitwarmup.records.errors import ArgumentError


def by_tokens(tokenizer: Any, sizes: Iterable[int]) -> Callable[..., ShapeKey]:
    """
    A key function for prompts that are padded to a few sizes: as ``by_bucket``, with texts counted in tokens.

        @warmed(key=by_tokens(tokenizer, [64, 256, 1024]))

    Each call tokenizes its texts once for the key; lists and tuples of texts count as (texts, tokens of the longest).

    Args:
        tokenizer: has ``encode(text)`` (transformers, tokenizers, tiktoken, sentencepiece), or is a function of a text;
            the answer is a sequence of tokens, a mapping with ``input_ids``, or how many there are.
        sizes: in tokens.

    Raises:
        ArgumentError: the tokenizer is none, or the sizes are no positive whole numbers.

    """
    by_size, encode = by_bucket(sizes), getattr(tokenizer, "encode", tokenizer)
    if not callable(encode) or isinstance(tokenizer, str):  # its name; it has an encode() too
        raise ArgumentError(
            f"by_tokens got a {type(tokenizer).__name__} as its tokenizer; wanted an object with encode(text), or a "
            "function from a text to its tokens or their number"
        )

    def counted(value: Any, depth: int = DEPTH) -> Any:
        """With each text as long as it has tokens; nothing but lengths enters a key."""
        if isinstance(value, str):
            return " " * number_of(encode(value))
        if isinstance(value, list | tuple) and depth and len(value) <= WIDTH:
            items = [counted(item, depth - 1) for item in value]
            return items if isinstance(value, list) else tuple(items)
        return value

    def by_length(*args: Any, **kwargs: Any) -> ShapeKey:
        return by_size(*map(counted, args), **{name: counted(value) for name, value in kwargs.items()})

    return by_length


def number_of(tokens: Any) -> int:
    """How many tokens there are in what a tokenizer answers."""
    found = tokens["input_ids"] if isinstance(tokens, Mapping) else tokens
    return len(found) if isinstance(found, Sized) else int(found)
