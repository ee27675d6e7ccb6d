"""Where a flow run and the process that serves it meet: one ends with the other, and hears of cancellation."""

import multiprocessing
import os
import signal
import threading
from typing import Self

from prefect.runner import Runner


class PatientRunner(Runner):
    """Prefect's runner, which still hears of cancellations after its server was away."""

    async def __aenter__(self) -> Self:
        """Let the client that asks for cancellations connect once: one that never did gives up within seconds.

        Source: prefect 3.8.8, PrefectHttpxAsyncClient.send and FlowRunCancellingObserver.
        """
        await super().__aenter__()
        await self._cancelling_observer._client.hello()  # type: ignore[union-attr] # noqa: SLF001 - no other door to it
        return self


def end_with_runner() -> None:
    """Make this flow run end when the process that serves it is gone; in any other process do nothing.

    Prefect starts a served flow run as a process of its own, which would go on without anybody who could cancel it.
    Ctrl-C is for the serving process too: it cancels the flow run, which then tells Prefect and ends its workers.
    """
    runner = multiprocessing.parent_process()
    if runner is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        runner.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="runner", daemon=True).start()
