# What the scripts of this folder share. To be sourced at the project's root.

work="${CARGO_TARGET_DIR:-target}/sdk"
mkdir -p "$work"

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# need PACKAGES COMMAND...: installs Debian's packages if the command fails and we may.
need() {
  local packages="$1"
  shift
  "$@" >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $packages"
    apt-get update -qq >/dev/null
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >/dev/null
  fi
  "$@" >/dev/null 2>&1 || fail "\`$*\` does not work: install what is missing (on Debian: apt-get install $packages)"
}

# Node's packages, as pinned, with the scripts beside them, for that is where imports are looked for.
node_packages() {
  need "nodejs npm" node --version
  need npm npm --version
  node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
    fail "node is $(node --version), and the SDK needs 20 or later: install that first"
  mkdir -p "$work/node"
  cp examples/gateway/sdk/*.mjs "$work/node/"
  if ! cmp -s examples/gateway/sdk/package.json "$work/node/installed.json"; then
    cp examples/gateway/sdk/package.json "$work/node/package.json"
    (cd "$work/node" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error)
    cp examples/gateway/sdk/package.json "$work/node/installed.json"
  fi
}

# Processes that end with this one.
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT

# Starts the gateway; sets GATEWAY_URL, gateway_pid and, with a mock, MOCK_URL.
start_gateway() {
  cargo build --quiet --package gateway
  local told line
  exec {told}< <(exec "${CARGO_TARGET_DIR:-target}/debug/tower-429-gateway" "$1" 2>"$work/gateway.log")
  gateway_pid=$!
  pids+=("$gateway_pid")
  read -r line <&"$told" || fail "the gateway did not start: $(cat "$work/gateway.log")"
  export GATEWAY_URL="${line##* }"
  if grep -q '^at = "mock"$' "$1"; then
    read -r line <&"$told"
    export MOCK_URL="${line##* }"
  fi
}

# Asks it to stop, as a service manager does, and checks that it went in peace.
stop_gateway() {
  kill -TERM "$gateway_pid"
  wait "$gateway_pid" || fail "the gateway ended with $?: $(cat "$work/gateway.log")"
}
