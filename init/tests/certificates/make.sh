#!/bin/sh
# Makes the certificates that x509.rs is tested with: an authority, what it signed, and a second authority of the same name.
set -e
cd "$(dirname "$0")"
for ca in ca other-ca; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $ca.key -out $ca.crt -days 3650 -subj /CN=kubernetes
done
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr -subj /O=system:nodes/CN=system:node:skerry-1
printf 'subjectAltName=DNS:skerry-1,IP:10.0.2.15,IP:fd00::1\nauthorityKeyIdentifier=keyid\n' > leaf.ext
openssl x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile leaf.ext -out leaf.crt
rm -f ./*.key ./*.csr ./*.ext ./*.srl
