# What the scripts share: where things are kept, the Python that runs them, where Rust builds.
# shellcheck shell=bash

set -euo pipefail

# Whose credentials and profiles stand in the environment is no matter of LocalStack's.
unset "${!AWS_@}" 2>/dev/null || true

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CGW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cgw}

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# LocalStack 4.13.1 is pinned for Python 3.11, Debian 12's own.
find_python() {
  local candidate
  for candidate in python3.11 /usr/bin/python3.11 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

need_python() {
  find_python && return
  command -v apt-get >/dev/null || die "Python 3.11 with its venv module is needed"
  say "installing Python 3.11 and its venv module"
  as_root apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq python3.11 python3.11-venv >&2 ||
    die "this system has no package python3.11-venv; install Python 3.11 with its venv module"
  find_python || die "Python 3.11 was installed but does not run"
}

# Sets `python` to the interpreter of a virtual environment that holds exactly the lock file.
#
# The environment's name carries the lock file's hash, so a new lock is a new environment. The mark is written last:
# without it the environment is an interrupted one and is built again.
need_venv() {
  local lock=$here/requirements.lock venv
  venv=$cache/venv-$(sha256sum <"$lock" | cut -c1-16)
  python=$venv/bin/python
  [[ -e $venv/complete ]] && return
  mkdir -p "$cache"
  (
    flock 8
    [[ -e $venv/complete ]] && exit
    base=$(need_python)
    say "setting up LocalStack in $venv (once)"
    rm -rf "$venv"
    "$base" -m venv "$venv"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --requirement "$lock" >&2
    touch "$venv/complete"
  ) 8>"$cache/venv.lock"
}

# What the build and the tests take from Debian.
need_packages() {
  local package missing=()
  for package in build-essential pkg-config libssl-dev openssl openssh-server openssh-client curl; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  as_root apt-get update -qq >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >&2
}

# Exports `CARGO_TARGET_DIR`, and puts cargo on the path where rustup alone has set it up.
#
# Cargo tells the files of two clones apart by their times alone: what another clone built is built anew.
need_cargo() {
  local clone
  clone=$(dirname "$here")
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
  [[ -d $HOME/.cargo/bin ]] && PATH=$PATH:$HOME/.cargo/bin
  command -v cargo >/dev/null || die "Rust is needed: https://rustup.rs"
  if [[ $(cat "$CARGO_TARGET_DIR/clone" 2>/dev/null) != "$clone" ]]; then
    mkdir -p "$CARGO_TARGET_DIR"
    touch "$clone"/src/{lib,main}.rs "$clone"/tests/it/main.rs
    printf '%s\n' "$clone" >"$CARGO_TARGET_DIR/clone"
  fi
}

# Loopback is never asked of a proxy.
export NO_PROXY=127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}
export no_proxy=$NO_PROXY

# Python must leave no byte code in the clone.
export PYTHONPYCACHEPREFIX=$cache/pycache

# Prints the PowerShell that can play the Windows Server, if there is one.
find_pwsh() {
  local beside=$here/../../shared/tools/pwsh/pwsh
  if [[ -n ${CGW_PWSH:-} ]]; then
    echo "$CGW_PWSH"
  elif command -v pwsh >/dev/null; then
    command -v pwsh
  elif [[ -x $beside ]]; then
    realpath "$beside"
  fi
}

# Sets `port`, and `state`, the folder of the LocalStack on one port.
choose_port() {
  [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] || die "not a port: $1"
  port=$1
  state=$cache/localstack/$port
}

# A process id alone may have been handed out again; its start time tells them apart.
started_at() { stat_field "$1" 20; }
state_of() { stat_field "$1" 1; }

# A field of the process's stat file, counted after the program's name, which may hold anything.
stat_field() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return
  cut -d' ' -f"$2" <<<"${stat##*) }"
}

# Sets `pid` when the LocalStack that start made for this port is still alive.
running() {
  local since
  [[ -e $state/pid ]] || return 1
  read -r pid since <"$state/pid" || return 1
  [[ -n $since && $(started_at "$pid") == "$since" && $(state_of "$pid") != Z ]]
}
