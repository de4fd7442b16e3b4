#!/bin/sh
# What `make browser` needs besides Python: Chromium from apt-get where this runs as root, axe-core from npm's registry.
# It never fails: what stays missing is told, and its tests are skipped.
set -u
here=$(dirname "$0")
version=4.14.1
integrity="sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="

if [ ! -x /usr/bin/chromium ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null ||
      echo "apt-get could not install chromium" >&2
  else
    echo "make browser needs the Debian package chromium" >&2
  fi
fi

if [ ! -f "$here/.cache/axe.min.js" ] && command -v npm >/dev/null; then
  mkdir -p "$here/.cache"
  ( cd "$here/.cache" && npm pack --silent "axe-core@$version" >/dev/null 2>&1 )
  archive="$here/.cache/axe-core-$version.tgz"
  found="sha512-$(openssl dgst -sha512 -binary "$archive" 2>/dev/null | base64 -w0)"
  if [ "$found" = "$integrity" ]; then
    tar -xzf "$archive" -C "$here/.cache" --strip-components=1 package/axe.min.js package/LICENSE
  else
    echo "axe-core $version is not to be had, or is not what it was: $found" >&2
  fi
  rm -f "$archive"
fi
exit 0
