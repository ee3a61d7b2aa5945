# Not built where it was written: no container engine runs there. tests/deploy/test_images.py checks what can be read.
#
# A worker with an accelerator. CUDA and cuDNN come as wheels with TensorFlow, in its own versions; the driver is
# Dataflow's, which mounts it under /usr/local/nvidia. Build from the repository's root:
# docker build --file deploy/images/gpu-worker.Dockerfile .
FROM apache/beam_python3.11_sdk:2.77.0 AS beam

FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 OPENBLAS_NUM_THREADS=1
ENV PATH=/usr/local/nvidia/bin:${PATH} LD_LIBRARY_PATH=/usr/local/nvidia/lib64 NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=beam /opt/apache/beam /opt/apache/beam

WORKDIR /opt/q1net
COPY deploy/requirements/gpu-worker.txt requirements.txt
RUN pip install --require-hashes --no-deps --requirement requirements.txt

COPY setup.py pyproject.toml README.md LICENSE NOTICE ./
COPY q1net_core q1net_core
COPY pipelines pipelines
COPY training training
# The build fails where the closure has a gap or a run could not start.
RUN pip install --no-deps --no-build-isolation . && pip check && q1net doctor

ENTRYPOINT ["/opt/apache/beam/boot"]
