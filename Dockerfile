# Two images. `worker` trains one arm and knows neither Prefect nor Kubernetes; `flows` runs the flow and has no torch.
# `make image` builds both with whatever engine is there; docs/decisions/0014-images.md says why they are made this way.

# Any image with Python 3.11 or newer and its venv module.
ARG BASE_IMAGE=python:3.11-slim

# The packages below the source: a stage of this file, or an image of that stage that was kept.
ARG WORKER_PACKAGES=worker-packages
ARG FLOWS_PACKAGES=flows-packages

# Wheels that are preferred to the package index: --build-context wheels=FOLDER
FROM scratch AS wheels

FROM ${BASE_IMAGE} AS base
# The user has no entry in passwd, so what is looked up there is said here. Everything that is written goes to /tmp or a volume.
ENV PATH=/app/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=freeze-bench \
    DO_NOT_TRACK=1

FROM base AS builder
ARG UV_VERSION=0.13.9
ARG HATCHLING_VERSION=1.33.0
ENV HOME=/root \
    PYTHONPATH= \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/venv
WORKDIR /build
COPY scripts/image/with-build-secrets scripts/image/install-packages /usr/local/bin/
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=cache,target=/root/.cache \
    python3 -m venv --without-pip "$VIRTUAL_ENV" \
    && python3 -m venv /opt/tools \
    && with-build-secrets /opt/tools/bin/python -m pip install --quiet "uv==$UV_VERSION" "hatchling==$HATCHLING_VERSION"

FROM builder AS worker-install
ARG TORCH=cuda
# Not every engine notices that the content of a mounted folder has changed; every one notices another argument.
ARG WHEELS_DIGEST=none
COPY pyproject.toml requirements.lock ./
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=cache,target=/root/.cache \
    --mount=type=bind,from=wheels,target=/wheels \
    echo "torch: $TORCH, wheels: $WHEELS_DIGEST" && install-packages worker s3
# Loading a module for the first time compiles it. The root is read-only later, so what workers load is compiled here:
# 84 MB more, and each of them starts in less than half the time.
RUN python -c "import accelerate, babel.core, datasets, gguf, prometheus_client, s3fs, structlog, torch, transformers; \
    import transformers.modeling_gguf_pytorch_utils; \
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast; \
    from transformers import Gemma3TextModel, LlamaModel, MistralModel, Qwen2Model, Qwen3Model, SmolLM3Model"

FROM builder AS flows-install
COPY pyproject.toml requirements.lock ./
RUN --mount=type=secret,id=ca --mount=type=secret,id=index --mount=type=cache,target=/root/.cache \
    install-packages flows s3
# As above: what the flow, the runner and Prefect's server load.
RUN python -c "import kubernetes.client, matplotlib.pyplot, matplotlib.backends.backend_agg, matplotlib.backends.backend_svg; \
    import prefect.cli.server, prefect.flow_engine, prefect.runner, prefect.server.api.server, prefect.server.services; \
    import alembic.command, rich.live, s3fs, typer, uvicorn"

# Both sides of the project from one wheel. The flow shares the contract with the worker, and nothing else of it.
FROM builder AS source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY plans plans
COPY worker worker
COPY flows flows
RUN /opt/tools/bin/python -m hatchling build --target wheel \
    && /opt/tools/bin/uv pip install --quiet --offline --no-deps --compile-bytecode --target /flows dist/*.whl \
    && rm /flows/.lock \
    && mkdir /worker \
    && cp --archive /flows/worker /flows/freeze_bench-*.dist-info /worker/ \
    && find /flows/worker -mindepth 1 -maxdepth 1 ! -name __init__.py ! -name contract -exec rm -r {} +

# From here on nothing is run, so that an engine leaves nothing of its own in the image.
FROM base AS worker-packages
COPY --from=worker-install /opt/venv /opt/venv

FROM base AS flows-packages
COPY --from=flows-install /opt/venv /opt/venv

FROM ${WORKER_PACKAGES} AS worker
COPY --from=source /worker /app
# The driver's libraries are the node's; these are the parts of it that training needs.
# Where the container runtime puts them, the loader finds them; GKE's device plugin mounts them into /usr/local/nvidia and
# tells nobody.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64
WORKDIR /
EXPOSE 9464
STOPSIGNAL SIGTERM
USER 65532:65532
ENTRYPOINT ["python", "-m", "worker"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="freeze-bench worker" \
      org.opencontainers.image.description="Trains one arm of a comparison: one JSON document in, records out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

FROM ${FLOWS_PACKAGES} AS flows
COPY --from=source /flows /app
# Prefect's server copies its pages to a folder of its own before it serves them.
ENV PREFECT_SERVER_UI_STATIC_DIRECTORY=/tmp/prefect-ui \
    PREFECT_SERVER_ANALYTICS_ENABLED=false
WORKDIR /
EXPOSE 4200 4280
STOPSIGNAL SIGTERM
USER 65532:65532
ENTRYPOINT ["freeze-bench"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="freeze-bench flows" \
      org.opencontainers.image.description="Runs comparisons on Prefect: the flow, its server, the chart and the report" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
