#!/bin/sh
# What the checks of deploy/ need from the system, as arguments PROGRAM:PACKAGE: installed with apt-get where this runs as root,
# else named. It never fails: what stays missing is told as skipped, check by check.
set -u
PATH=$PATH:/usr/sbin
wanted=""
for pair in "$@"; do
  command -v "${pair%%:*}" >/dev/null || wanted="$wanted ${pair#*:}"
done
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # A package that brings a service must not start it: Prometheus's port is the gateway's admin port. (invoke-rc.d(8))
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $wanted >/dev/null ||
    echo "apt-get could not install:$wanted" >&2
else
  echo "more is checked with (Debian packages):$wanted" >&2
fi
exit 0
