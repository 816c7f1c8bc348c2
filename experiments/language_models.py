"""Language models at equal size: LSTM, Aaren, attention and S6 on tiny Shakespeare and WikiText-2.

Characters of Shakespeare with 100,000 characters each for validation and test, about 0.4 million
weights; words of WikiText-2 with an adaptive softmax at a size that two CPU cores train in twenty
minutes. The recurrent models carry their state through the text; attention sees its chunk only.
``test/tokens`` is the number of tokens scored.
"""

from functools import partial
from typing import Any

from graphseq import Aaren, Experiment, Recurrent, SequenceModel
from graphseq.sequence.data import tiny_shakespeare, wikitext2
from graphseq.sequence.nn import S6, SoftmaxAttention
from graphseq.sequence.tasks import NextTokenPrediction

CHUNK = 128


def models(width: int, layers: int, lstm: int, s6: int, **common: Any) -> dict[str, Any]:
    """Four models of about as many weights."""
    stack = {"num_layers": layers, "dropout": 0.1, **common}
    transformer = {"hidden_channels": width, "ff_channels": 4 * width, "max_length": CHUNK, **stack}
    return {
        "lstm": partial(
            Recurrent, cell="lstm", hidden_channels=lstm, num_layers=1, dropout=0.1, **common
        ),
        "aaren": partial(
            Aaren, num_heads=4, norm="pre", activation="gelu", **{**transformer, "max_length": None}
        ),
        "attention": partial(
            SequenceModel, mixer=partial(SoftmaxAttention, num_heads=4), **transformer
        ),
        "s6": partial(
            SequenceModel,
            mixer=partial(S6, state_size=16),
            hidden_channels=s6,
            ff_channels=4 * s6,
            **stack,
        ),
    }


def language_model(name: str, data: Any, model: Any, **task: Any) -> Experiment:
    """One model on one text."""
    carries = not name.startswith("attention")
    return Experiment(
        name=name,
        data=data,
        model=model,
        task=partial(
            NextTokenPrediction,
            lr=2e-3,
            weight_decay=0.01,
            schedule="cosine",
            num_streams=32,
            chunk_length=CHUNK,
            carry_state=carries,
            **task,
        ),
        seeds=range(1),
    )


experiments = [
    *(
        language_model(f"{name}_shakespeare", partial(tiny_shakespeare), model, epochs=8)
        for name, model in models(128, 2, 256, 144).items()
    ),
    *(
        language_model(f"{name}_wikitext2", partial(wikitext2), model, epochs=3)
        for name, model in models(
            128, 2, 256, 144, cutoffs=(2_000, 10_000)
        ).items()
    ),
]
