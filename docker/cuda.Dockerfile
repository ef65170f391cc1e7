# pan_mm on NVIDIA GPUs: docker build -f docker/cuda.Dockerfile -t pan_mm:cuda .
# The CUDA libraries come with torch's wheel; the host needs a driver and the NVIDIA container toolkit.
FROM python:3.12-slim-bookworm

# OpenCV's libraries, and a C compiler, with which Triton builds its launcher.
# Unpinned: Debian keeps one version, and a pinned one is soon gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /pan_mm
COPY . .
ARG EXTRAS=lite,demo,export
RUN pip install --no-cache-dir -c requirements/constraints.txt ".[${EXTRAS}]" \
    && python -c 'import pan_mm.apis'

RUN useradd --create-home --uid 1000 pan
USER 1000
WORKDIR /home/pan
EXPOSE 7860
ENTRYPOINT ["python", "-m", "pan_mm"]
CMD ["--help"]
