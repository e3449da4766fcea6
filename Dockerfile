# One image for web, worker and beat. Built and started by ops/deploy/deploy_production.sh.

FROM python:3.13-slim-bookworm AS packages
COPY requirements.txt .
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --quiet -r requirements.txt

FROM python:3.13-slim-bookworm
# PostgreSQL's client programs in the major version of the server: PostgreSQL 15 cannot load dumps of a newer pg_dump.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-client-15 tini \
    && rm -rf /var/lib/apt/lists/* \
    && python -m pip uninstall --yes --quiet --root-user-action ignore pip \
    && groupadd --gid 10001 homerack \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin homerack \
    && install -d -o homerack -g homerack -m 0700 /var/lib/homerack /var/lib/homerack/backups /var/lib/homerack/uploads
COPY --from=packages /opt/venv /opt/venv
LABEL org.opencontainers.image.title=HomeRack
WORKDIR /srv/homerack
# Behind a published port all clients may have the same address. BEHIND_PROXY=true uses X-Forwarded-For instead.
ENV PATH=/opt/venv/bin:/usr/lib/postgresql/15/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=homerack.settings \
    CLIENT_ADDRESSES_DIFFER=false \
    BACKUP_DIR=/var/lib/homerack/backups \
    TMPDIR=/var/lib/homerack/uploads
COPY . .
# The settings require a key; this one signs nothing.
RUN SECRET_KEY=only-for-the-build DATABASE_URL=sqlite://:memory: python manage.py collectstatic --no-input --verbosity 0 \
    && PYTHONDONTWRITEBYTECODE= python -m compileall -q homerack ops
USER homerack
EXPOSE 8000
VOLUME ["/var/lib/homerack/backups", "/var/lib/homerack/uploads"]
ENTRYPOINT ["tini", "--"]
# gunicorn's heartbeat files are in memory.
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "--worker-tmp-dir", "/dev/shm", "--access-logfile", "-", "--no-control-socket"]
# /health/live/, not /ready/: a restart helps a web server that hangs, not an unreachable database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live/', timeout=4)"]
