"""What runs inside one training process: data, backbones, training, metrics and records.

Knows nothing of Prefect, Kubernetes or plotting; it meets the flow side only in ``worker.contract``.
"""
