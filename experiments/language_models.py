"""Language models at equal size: LSTM, Aaren, attention and S6 on tiny Shakespeare and WikiText-2.

Characters of Shakespeare, about 0.42 million weights; words of WikiText-2 with an adaptive softmax,
about 5.4 million, at a size that two CPU cores train in twenty minutes. LSTM and S6 carry their
state through the text; attention and Aaren, whose order comes from learned positions, see the chunk
of 128 tokens that they are in. ``test/tokens`` is the number of tokens scored.
"""

from functools import partial
from typing import Any

from graphseq import Aaren, Experiment, Recurrent, SequenceModel
from graphseq.sequence.data import tiny_shakespeare, wikitext2
from graphseq.sequence.nn import S6, SoftmaxAttention
from graphseq.sequence.tasks import NextTokenPrediction

CHUNK = 128


def models(lstm: int, s6: int, s6_ff: int, lstm_layers: int, **common: Any) -> dict[str, Any]:
    """Four models of about as many weights."""
    stack = {"num_layers": 2, "dropout": 0.1, **common}
    transformer = {"hidden_channels": 128, "ff_channels": 512, "max_length": CHUNK, **stack}
    recurrent = {"hidden_channels": lstm, "num_layers": lstm_layers, "dropout": 0.1, **common}
    state_space = {"hidden_channels": s6, "ff_channels": s6_ff, **stack}
    return {
        "lstm": partial(Recurrent, cell="lstm", **recurrent),
        "aaren": partial(Aaren, num_heads=4, norm="pre", activation="gelu", **transformer),
        "attention": partial(
            SequenceModel, mixer=partial(SoftmaxAttention, num_heads=4), **transformer
        ),
        "s6": partial(SequenceModel, mixer=partial(S6, state_size=16), **state_space),
    }


def language_model(name: str, data: Any, model: Any, **task: Any) -> Experiment:
    """One model on one text."""
    carries = name.startswith(("lstm", "s6"))
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
        for name, model in models(lstm=224, s6=144, s6_ff=600, lstm_layers=1).items()
    ),
    *(
        language_model(f"{name}_wikitext2", partial(wikitext2), model, epochs=3)
        for name, model in models(
            lstm=128, s6=128, s6_ff=640, lstm_layers=3, cutoffs=(2_000, 10_000)
        ).items()
    ),
]
