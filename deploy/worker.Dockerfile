# Worker: PyTorch on the CPU. For a GPU start from an image that has PyTorch with CUDA.
FROM python:3.12-slim-bookworm
WORKDIR /app
COPY trainer-worker trainer-worker
RUN pip install --no-cache-dir -c trainer-worker/constraints.txt ./trainer-worker
COPY models models
RUN useradd --create-home star && mkdir /data && chown star /data
USER star
CMD ["star-worker", "--server", "127.0.0.1:50051", "--data-dir", "/data/worker", "--worker-id", "cpu-0", "--model-root", "/app"]
