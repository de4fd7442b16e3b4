#!/bin/sh
# What `make bench` needs from the system: installed with apt-get where this runs as root, else named.
set -eu
wanted=""
command -v gcc >/dev/null || wanted="$wanted gcc"
echo '#include <openssl/ssl.h>' | gcc -E - >/dev/null 2>&1 || wanted="$wanted libc6-dev libssl-dev"
PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v nginx >/dev/null || wanted="$wanted nginx-light"
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  # RUNLEVEL=1: the package is not to start a web server of the system's on port 80.
  # shellcheck disable=SC2086
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $wanted >/dev/null
else
  echo "make bench needs (Debian packages):$wanted" >&2
  exit 1
fi
