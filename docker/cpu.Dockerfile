# pan_mm on CPUs: docker build -f docker/cpu.Dockerfile -t pan_mm:cpu .
FROM python:3.12-slim-bookworm

# For OpenCV, which MMAction2 requires in its variant with windows.
# Unpinned: Debian keeps one version, and a pinned one is soon gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /pan_mm
COPY . .
ARG EXTRAS=lite,demo,export
# The index of CPU builds that pytorch.org names. Without it comes the CUDA build: it works, but is
# gigabytes larger.
ARG TORCH_INDEX
RUN pip install --no-cache-dir -c requirements/constraints.txt torch \
        ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
    && pip install --no-cache-dir -c requirements/constraints.txt ".[${EXTRAS}]" \
    && python -c 'import pan_mm.apis'

RUN useradd --create-home --uid 1000 pan
USER 1000
WORKDIR /home/pan
EXPOSE 7860
ENTRYPOINT ["python", "-m", "pan_mm"]
CMD ["--help"]
