"""What every claim about speed is measured with: both sides on the same work, in alternation.

``python -m benchmarks --list`` names the claims, ``make bench`` measures them, docs/benchmarks.md is what came of it.
``metrics_cost.py`` and ``scrape_cost.py`` are older scripts that stand alone and write their own page.
"""
