# Two stages: the first builds a virtual environment, the second holds it and nothing else.
# tests/test_dockerfile.py runs the RUN steps of the first stage in a clean directory.
FROM python:3.13.9-slim-trixie AS build
WORKDIR /src
RUN python -m venv /opt/gateway
COPY requirements-runtime.lock ./
RUN /opt/gateway/bin/python -m pip install --no-cache-dir --only-binary=:all: --require-hashes -r requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway ./gateway
RUN /opt/gateway/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .
RUN /opt/gateway/bin/python -m pip uninstall --yes setuptools pip
RUN /opt/gateway/bin/python -m compileall -q /opt/gateway

FROM python:3.13.9-slim-trixie
RUN groupadd --gid 10001 gateway \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway \
 && install -d -o gateway -g gateway -m 0700 /var/lib/gateway /var/lib/gateway/spool /var/lib/gateway/dead-letter
COPY --from=build /opt/gateway /opt/gateway
# The root file system may be read-only (docker run --read-only): what is written goes to the volumes. The spool's parent
# directory also holds the admin token, the seal key and the audit log, so it is a volume as well.
ENV PATH=/opt/gateway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/var/lib/gateway \
    GATEWAY_CONFIG=/etc/gateway/gateway.yaml
VOLUME ["/var/lib/gateway", "/var/lib/gateway/spool", "/var/lib/gateway/dead-letter"]
USER 10001:10001
EXPOSE 8443
STOPSIGNAL SIGTERM
# Alive, not ready: a full disk makes the gateway unready, and a restart would not help.
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s \
  CMD ["/opt/gateway/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9090/healthz', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["run"]
