#!/bin/sh
# Authorities with keys as kubeadm writes them (SEC 1 and PKCS#1), for tests only. Good for a hundred years.
set -eu
cd "$(dirname "$0")"
openssl ecparam -name prime256v1 -genkey -noout -out ec.key
openssl genrsa -traditional -out rsa.key 2048
for kind in ec rsa; do
    openssl req -x509 -new -key $kind.key -days 36500 -subj /CN=kubernetes -addext keyUsage=critical,keyCertSign -out $kind.crt
done
