"""The flow side's metrics: what the results store says of every arm of the last day, for Prometheus.

``records`` reads, ``arm_reader`` and ``store_reader`` follow, ``arms`` says, ``site`` answers, ``exporter`` joins them.
"""
