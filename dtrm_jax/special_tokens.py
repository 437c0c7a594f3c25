"""The tokens that an encoder's own tokenizer writes around a pair of texts."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """A pair of texts A and B is written ``first A between B last``, a text alone ``first A last``.

    Attributes:
        first: Before the utterance; its state represents the utterance (eq. 1's [CLS]).
        between: Between utterance and context. The first of them ends segment 0.
        last: After the context, or after the utterance if there is no context.
        padding: The token in unused slots.
        unknown: The token that stands for anything outside the vocabulary.
    """

    first: str
    between: tuple[str, ...]
    last: str
    padding: str
    unknown: str

    @property
    def all(self) -> tuple[str, ...]:
        """Every token once, in the order padding, unknown, first, between and last."""
        return tuple(dict.fromkeys((self.padding, self.unknown, self.first, *self.between, self.last)))


BERT_TOKENS = SpecialTokens(first="[CLS]", between=("[SEP]",), last="[SEP]", padding="[PAD]", unknown="[UNK]")
ROBERTA_TOKENS = SpecialTokens(first="<s>", between=("</s>", "</s>"), last="</s>", padding="<pad>", unknown="<unk>")
