# decodebench with every engine that runs on CPUs: docs/install.md says how to use it.
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends build-essential cmake git python3-dev python3-venv
COPY . /source
WORKDIR /source
# llama-cpp-python is compiled for the processor at hand, as a user would have it: build the image where it runs.
RUN python3 -m venv /opt/decodebench && \
    /opt/decodebench/bin/pip install --no-cache-dir --prefer-binary --constraint constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu ".[all]"

FROM debian:bookworm-slim
# clang compiles tinygrad's kernels; libgomp1 is what PyTorch's and llama.cpp's threads need.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends clang libgomp1 python3 && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/decodebench /opt/decodebench
ENV PATH="/opt/decodebench/bin:$PATH" DECODEBENCH_CACHE=/cache
VOLUME ["/cache", "/results"]
WORKDIR /results
ENTRYPOINT ["decodebench"]
CMD ["demo"]
