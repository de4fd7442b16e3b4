#!/bin/sh
# What `make conformance` needs from the system: installed with apt-get where this runs as root, else named.
# It never fails: what stays missing is told as skipped, examination by examination.
set -u
wanted=""
want() { command -v "$1" >/dev/null || wanted="$wanted $2"; }
want openssl openssl
want gnutls-cli gnutls-bin
want curl curl
want nghttp nghttp2-client
want testssl testssl.sh
want slowhttptest slowhttptest
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $wanted >/dev/null ||
    echo "apt-get could not install:$wanted" >&2
else
  echo "make conformance would look at more with (Debian packages):$wanted" >&2
fi
exit 0
