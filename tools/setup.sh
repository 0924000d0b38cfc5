#!/usr/bin/env bash
# Set up everything: a project-local environment from requirements.lock, and the Delta jars, checked by hash.
# Needs Python 3.11 or 3.12 and the package registries. Run again, it downloads nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
# Hospitals' networks often have a certificate authority of their own: trust what the machine trusts, as pip does.
export UV_SYSTEM_CERTS=1

python=""
for candidate in "${PYTHON:-}" python3.12 python3.11 python3 python; do
  if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
    python=$(command -v "$candidate"); break
  fi
done
if [ -z "$python" ]; then
  echo "cohortlake needs Python 3.11 or 3.12, and found neither. Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2
  exit 1
fi

if [ ! -x .tools/bin/uv ]; then
  echo "· uv, into .tools"
  "$python" -m venv .tools
  .tools/bin/python -m pip install --quiet --disable-pip-version-check uv
fi
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
  .tools/bin/uv venv --quiet --clear --python "$python" .venv
fi
# Compiled once here: at run time a dozen processes would each compile what they import.
echo "· packages, from requirements.lock"
.tools/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements.lock
.tools/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --offline -e .
.venv/bin/python -c 'import pyarrow as pa; from cohortlake.core.readers.fhir_json import parse
parse(pa.array(["{}"]), pa.schema([("id", pa.string())]))'
echo "· jars of Delta and PostgreSQL, into .jars"
.venv/bin/python tools/fetch_jars.py
echo "· Spark's classes, so that it starts in half the time"
.venv/bin/python -m tools.archive_classes >/dev/null 2>&1 || echo "  none could be kept: Spark starts slower, and works as well"
touch .venv/.ready
