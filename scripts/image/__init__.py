"""Builds the images: ``python -m scripts.image --help``.

Two shell scripts lie here that run inside the build: ``install-packages`` and ``with-build-secrets``.
"""
