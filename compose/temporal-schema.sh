#!/bin/sh
# Creates or upgrades the two databases of the Temporal server. Safe to repeat.
# Needs temporal-sql-tool, and POSTGRES_SEEDS, DB_PORT, POSTGRES_USER and SQL_PASSWORD as the server has them.
set -eu

: "${POSTGRES_SEEDS:?the host of PostgreSQL}" "${POSTGRES_USER:?the role of Temporal}" "${SQL_PASSWORD:?its password}"

tool() {
  temporal-sql-tool --plugin postgres12 --endpoint "$POSTGRES_SEEDS" --port "${DB_PORT:-5432}" --user "$POSTGRES_USER" "$@"
}

for database in temporal visibility; do
  name=temporal
  [ "$database" = temporal ] || name=temporal_visibility
  # The role may not create databases: postgres-roles.sh made them. A database without a schema gets version 0.0 first.
  tool --database "$name" --quiet setup-schema --version 0.0 > /dev/null 2>&1 || true
  tool --database "$name" update-schema --schema-name "postgresql/v12/$database"
done
