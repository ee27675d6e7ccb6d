"""The vocabulary that the flow side and the worker share: plans, run configs, results, names, errors.

Loads neither torch nor Prefect, so that both sides can import it at no cost.
"""
