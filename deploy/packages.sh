# Installs Debian packages that are missing, as root or with sudo. Sourced by deploy/demo.sh and tests/run.sh.
# usage: need COMMAND PACKAGE …: installs the packages unless the command (a name or a path) is there.

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else
    echo "error: '$*' needs root, and there is no sudo; run this script as root" >&2
    return 1
  fi
}

missing_packages=()

need() {
  local command=$1
  shift
  compgen -G "$command" >/dev/null || command -v "$command" >/dev/null || missing_packages+=("$@")
}

install_missing() {
  [ ${#missing_packages[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "error: please install: ${missing_packages[*]} (there is no apt-get here)" >&2
    return 1
  fi
  echo "installing ${missing_packages[*]}"
  # A freshly installed server must not start by itself: we run private ones.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod +x $policy
    made=yes
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null
  [ -z "$made" ] || as_root rm -f $policy
  missing_packages=()
}
