"""The worker's log: one JSON line per event, on standard output."""

import logging

import structlog


class _Forward(logging.Handler):
    """Makes events of what the contract says, which knows the standard library's log only."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record's text under its level."""
        log.log(record.levelno, record.getMessage(), source=record.name)


def configure_events() -> None:
    """Send every event as one JSON line with a UTC time and a level."""
    contract_log = logging.getLogger("freeze_bench")
    contract_log.handlers = [_Forward()]
    contract_log.propagate = False
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        cache_logger_on_first_use=True,
    )


log: structlog.stdlib.BoundLogger = structlog.get_logger()
