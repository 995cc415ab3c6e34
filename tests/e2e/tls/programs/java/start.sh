#!/bin/sh
# A trust store with the authority alone, as people make them, and the program.
set -eu
mkdir -p "$SCRATCH"
store=$SCRATCH/trust.p12
[ -e "$store" ] || keytool -importcert -noprompt -alias authority -file "$CA_FILE" \
    -keystore "$store" -storetype PKCS12 -storepass changeit >/dev/null 2>&1
exec java -Xmx128m -Djavax.net.ssl.trustStore="$store" -Djavax.net.ssl.trustStorePassword=changeit \
    -cp . Asker
