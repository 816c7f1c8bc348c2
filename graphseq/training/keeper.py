"""When a run is saved, and how it is found again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphseq.files.atomic import writing
from graphseq.training import checkpoint
from graphseq.training.distributed import World
from graphseq.training.identity import Identity, require_same_run
from graphseq.training.interrupt import Interrupt

Payload = dict[str, Any]


class Keeper:
    """Saves a run at batch boundaries: after so many seconds, and before a signal ends it.

    Args:
        out: Folder of the run; ``None`` saves nothing and leaves signals alone.
        seconds: Time between two checkpoints; 0 saves at every boundary.
        world: The first rank writes; all ranks take the decision together.
        identity: Goes into every checkpoint and must be that of one that is read.
    """

    def __init__(self, out: Path | None, seconds: float, world: World, identity: Identity) -> None:
        self.out, self.seconds, self.world, self.identity = out, seconds, world, identity
        self.interrupt = Interrupt(enabled=out is not None)
        self._saved_at = time.monotonic()
        self._checked = False

    def open(self, resume: bool) -> Payload | None:
        """The checkpoint to go on from, or ``None`` for a run that starts.

        Raises:
            ValueError: If there are checkpoints and ``resume`` is not given, or they are damaged or
                of another run.
            OSError: If the folder cannot be written.
        """
        saved = None
        if self.out is not None and self.world.writes:
            with writing(self.out):
                self.out.mkdir(parents=True, exist_ok=True)
                checkpoint.sweep(self.out)
            if not resume:
                checkpoint.require_none(self.out, "fit")
            saved = checkpoint.read(self.out) if resume else None
        saved = self.world.from_first(saved)
        if saved is not None:
            assert self.out is not None
            require_same_run(saved["identity"], self.identity, self.out)
        return saved

    def boundary(self, payload: Callable[[], Payload]) -> None:
        """A place from which the run could go on: save if it is time, leave if told to.

        Raises:
            KeyboardInterrupt: After SIGINT, once the run is saved.
            SystemExit: After SIGTERM, once the run is saved.
        """
        if self.out is None:
            return
        due = time.monotonic() - self._saved_at >= self.seconds
        due, signal = self.world.agree(due, self.interrupt.signal)
        if due or signal:
            self.save(payload)
        if signal:
            self.interrupt.leave(signal)

    def save(self, payload: Callable[[], Payload]) -> None:
        """Write a checkpoint now.

        Raises:
            OSError: If it cannot be written; the checkpoints that were there are untouched.
        """
        if self.out is None:
            return
        content = {"identity": self.identity, **payload()}  # on every rank: it gathers from all
        if self.world.writes:
            if not self._checked:
                fragile = [rank["extra"] for rank in content["ranks"]]
                checkpoint.require_loadable({"extra": fragile})
                self._checked = True
            checkpoint.write(self.out, content)
        self._saved_at = time.monotonic()
