#!/bin/sh
# certbot's deploy hook: gives a renewed certificate and its key to the gateway, which takes them up by itself.
#
#   certbot certonly ... --deploy-hook /opt/meta-webhook-gateway/deploy/certbot-deploy-hook.sh
#
# certbot runs it after each certificate that it got, and says where that is (RENEWED_LINEAGE). By hand:
#
#   RENEWED_LINEAGE=/etc/letsencrypt/live/hooks.example.com deploy/certbot-deploy-hook.sh
#
# What it may be told by the environment:
#   GATEWAY_CERTS    where the configuration looks for fullchain.pem and privkey.pem
#                    (/etc/meta-webhook-gateway/certs)
#   GATEWAY_GROUP    the group of the gateway's user, a name or a number (gateway)
#
# It leaves this, the way Kubernetes mounts a secret; the one that turns `live` is the only step that counts:
#
#   fullchain.pem -> live/fullchain.pem
#   privkey.pem   -> live/privkey.pem
#   live          -> .pair.20260401T031500Z.4711     chain and key of one renewal, whole
#
# So there is no moment with the chain of one renewal and the key of another, and whatever fails on the way
# leaves what was there. The files are root's, and readable for the gateway's group alone.

set -eu
umask 077

lineage=${RENEWED_LINEAGE:?is not set; certbot sets it, by hand it is /etc/letsencrypt/live/NAME}
certs=${GATEWAY_CERTS:-/etc/meta-webhook-gateway/certs}
group=${GATEWAY_GROUP:-gateway}

say() {
    printf 'meta-webhook-gateway: %s\n' "$*" >&2
}

# Puts a symbolic link in the place of whatever stands there, in one rename(2). A plain mv would move it into
# the directory that the former link leads to: -T (GNU, busybox) and -h (BSD) say that the link itself is meant.
turn() {
    ln -s "$1" "$2.$$"
    mv -fT "$2.$$" "$2" 2>/dev/null || mv -fh "$2.$$" "$2"
}

if [ ! -d "$certs" ]; then
    mkdir -p "$certs"
    chgrp "$group" "$certs"
    chmod 0750 "$certs"
fi
pair=.pair.$(date -u +%Y%m%dT%H%M%SZ).$$
mkdir "$certs/$pair"
trap 'rm -rf "$certs/$pair" "$certs"/*."$$"' EXIT
trap 'exit 1' HUP INT TERM

for file in fullchain.pem privkey.pem; do
    # Through the link of certbot's: what it leads to may change with the next renewal.
    cat "$lineage/$file" >"$certs/$pair/$file"
done

# A key that does not belong to the certificate must not even be put there.
if command -v openssl >/dev/null; then
    openssl x509 -in "$certs/$pair/fullchain.pem" -noout -pubkey >"$certs/$pair/of-certificate"
    openssl pkey -in "$certs/$pair/privkey.pem" -pubout >"$certs/$pair/of-key"
    if ! cmp -s "$certs/$pair/of-certificate" "$certs/$pair/of-key"; then
        say "$lineage/privkey.pem is not the key of $lineage/fullchain.pem; nothing was changed"
        exit 1
    fi
    rm "$certs/$pair/of-certificate" "$certs/$pair/of-key"
fi

chgrp "$group" "$certs/$pair" "$certs/$pair/fullchain.pem" "$certs/$pair/privkey.pem"
chmod 0640 "$certs/$pair/fullchain.pem" "$certs/$pair/privkey.pem"
chmod 0750 "$certs/$pair"
# On disk before anything points to it.
sync

former=$(readlink "$certs/live" || :)
turn "$pair" "$certs/live"
trap - EXIT HUP INT TERM

# The first time only: from here on the two names are links, and stay so.
for file in fullchain.pem privkey.pem; do
    if [ "$(readlink "$certs/$file" || :)" != "live/$file" ]; then
        turn "live/$file" "$certs/$file"
    fi
done

# The former pair stays for whoever is reading it just now; those before it go.
for old in "$certs"/.pair.*; do
    case ${old##*/} in "$pair" | "$former") ;; *) rm -rf "$old" ;; esac
done
say "$lineage was installed in $certs"
