# Sourced by the other scripts: makes .venv beside them, once, and again when pyproject.toml has changed.
#   make_environment GROUP...   installs tdsproxy (editable) and the named dependency groups, and compiles it
# Needs Python 3.11 or later with its venv module, and a package index; nothing else.

find_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  echo "tdsproxy needs Python 3.11 or later on the PATH; none was found." >&2
  return 1
}

make_environment() {
  local python stamp group arguments=()
  python=$(find_python)
  stamp="$(cksum <pyproject.toml) $*"
  if [ "$(cat .venv/.stamp 2>/dev/null)" = "$stamp" ]; then
    compile_bytecode
    return 0
  fi
  for group in "$@"; do arguments+=(--group "$group"); done
  echo "making the environment in $PWD/.venv ..." >&2
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable . "${arguments[@]}"
  echo "$stamp" >.venv/.stamp
  compile_bytecode
}

# An editable install has no bytecode until it has run, and never with PYTHONDONTWRITEBYTECODE set: every start
# would compile the sources anew, which takes longer than all the rest of it.
compile_bytecode() {
  .venv/bin/python -m compileall -q tdsproxy || true
}
