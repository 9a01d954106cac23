#!/bin/sh
# The roles and databases of Assay and Temporal, made once when the database files are made. Nobody but the superuser may
# create more, and neither of the two sees the other's data.
set -eu

: "${ASSAY_OWNER_PASSWORD:?}" "${ASSAY_APP_PASSWORD:?}" "${TEMPORAL_PASSWORD:?}"

# psql quotes the passwords, and reads them from its environment, so that no list of processes shows them.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\getenv owner_password ASSAY_OWNER_PASSWORD
\getenv app_password ASSAY_APP_PASSWORD
\getenv temporal_password TEMPORAL_PASSWORD
create role assay_owner login password :'owner_password';
create role assay_app login password :'app_password';
create role temporal login password :'temporal_password';
create database assay owner assay_owner;
create database temporal owner temporal;
create database temporal_visibility owner temporal;
revoke all on database assay, temporal, temporal_visibility from public;
grant connect, temporary on database assay to assay_app;
SQL
