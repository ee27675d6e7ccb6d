"""What runs in Prefect: the flow, its executors, the comparison, the chart and the command line.

Never loads torch or transformers; it meets the worker only in ``worker.contract``.
"""
