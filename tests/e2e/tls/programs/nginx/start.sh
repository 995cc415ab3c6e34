#!/bin/sh
# Fills in the configuration, with the change that TLS_BUG names, and becomes nginx.
set -eu
bug='' where=mirror
case "${TLS_BUG:-}" in
field) bug='add_header X-Changed yes;' ;;
argument) where=mirror/more ;;
drop) bug='return 200 gone;' ;;
esac
mkdir -p "$SCRATCH"
sed -e "s|@BUG@|$bug|; s|@WHERE@|$where|; s|@PORT@|$PORT|; s|@VENDOR_PORT@|$VENDOR_PORT|" \
    -e "s|@CERT_FILE@|$CERT_FILE|; s|@KEY_FILE@|$KEY_FILE|; s|@CA_FILE@|$CA_FILE|" \
    nginx.conf >"$SCRATCH/nginx.conf"
exec nginx -e stderr -p "$SCRATCH" -c "$SCRATCH/nginx.conf"
