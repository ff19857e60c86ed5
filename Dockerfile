# sdxl-train in a container whose image has torch: for the GTX 16 to the RTX 50 series.
#
#   docker build -t sdxl-train .
#   docker run --gpus all --shm-size 8g -v "$PWD":/work sdxl-train lora --data pictures --dry-run
#
# What is fetched while running (a base from the hub, tokenizers) is kept in the volume at /opt/cache with
#   -v sdxl-train-cache:/opt/cache
FROM pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime

# A compiler, since triton builds its launchers while a run starts; the libraries that OpenCV wants.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git gcc libc6-dev libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

ENV SDXL_TRAIN_HOME=/opt/sdxl-train \
    XDG_CACHE_HOME=/opt/cache \
    PIP_NO_CACHE_DIR=1

COPY . /opt/source
# The image's own torch is used; the command itself gets a venv, so that neither disturbs the other.
RUN python -m venv /opt/cli && /opt/cli/bin/pip install /opt/source && ln -s /opt/cli/bin/sdxl-train /usr/local/bin/sdxl-train
RUN sdxl-train setup --torch existing --python "$(command -v python)" --extra tagger --extra lycoris

WORKDIR /work
ENTRYPOINT ["sdxl-train"]
CMD ["--help"]
