#!/bin/sh
# Checks a bundle, unpacked in a folder, with coreutils, awk, sed and openssl: every file, every list, the seal, its time stamp.
# It does not rebuild the log's tree nor look at runs: verify.py does. Exit code: 0 verified, 4 not verified, 2 wrong usage.
# usage: sh verify/verify.sh [--key FINGERPRINT] [--tsa-roots PEM] [FOLDER]
set -u
LC_ALL=C
export LC_ALL
key='' roots='' folder=''
while [ $# -gt 0 ]; do
    case $1 in
        --key) [ $# -ge 2 ] || { echo "error: --key needs a fingerprint" >&2; exit 2; }; key=$2; shift 2 ;;
        --tsa-roots) [ $# -ge 2 ] || { echo "error: --tsa-roots needs a file" >&2; exit 2; }; roots=$2; shift 2 ;;
        -*) echo "error: unknown option $1" >&2; exit 2 ;;
        *) folder=$1; shift ;;
    esac
done
[ -z "$roots" ] || [ -r "$roots" ] || { echo "error: cannot read $roots" >&2; exit 2; }
[ -z "$roots" ] || roots=$(cd "$(dirname "$roots")" && pwd)/$(basename "$roots")
[ -n "$folder" ] || folder=$(dirname "$0")/..
cd "$folder" 2>/dev/null || { echo "error: $folder is not a folder" >&2; exit 2; }
[ -f bagit.txt ] || [ -d seal ] || { echo "error: $folder is not a bundle" >&2; exit 2; }
if [ -n "$key" ]; then
    key=$(printf %s "$key" | tr 'A-F' 'a-f' | sed 's/^sha256://')
    printf %s "$key" | grep -Eqx '[0-9a-f]{64}' || { echo "error: $key is not a fingerprint" >&2; exit 2; }
fi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM
problems=0
problem() { problems=$((problems + 1)); printf 'problem: %s\n' "$1"; }

# 1. Names: plain files only, nothing that no list names, nothing twice.
for list in manifest-sha256.txt tagmanifest-sha256.txt seal/sha256.txt; do
    [ -f "$list" ] || { problem "$list: is missing"; continue; }
    if grep -Evq '^[0-9a-f]{64}  [A-Za-z0-9_][A-Za-z0-9._/-]*$' "$list" || grep -Eq '(/|  )\.\.?(/|$)|//' "$list"; then
        problem "$list: is not spelt as a list of digests"
    fi
    cut -c67- "$list" | sort -c -u 2>/dev/null || problem "$list: is not spelt as a list of digests"
    [ -z "$(tail -c 1 "$list" | tr -d '\n')" ] || problem "$list: is not spelt as a list of digests"
done
find . ! -type f ! -type d | sed 's|^\./||; s|$|: is neither a file nor a folder|' > "$work/odd"
while IFS= read -r line; do problem "$line"; done < "$work/odd"
{ cut -c67- manifest-sha256.txt tagmanifest-sha256.txt seal/sha256.txt 2>/dev/null
  printf '%s\n' tagmanifest-sha256.txt seal/sha256.txt; } | sort > "$work/listed"
find . -type f | sed 's|^\./||' | sort > "$work/present"
comm -13 "$work/listed" "$work/present" | sed 's|$|: is not listed|' > "$work/extra"
comm -23 "$work/listed" "$work/present" | sed 's|$|: is missing|' > "$work/gone"
tr 'A-Z' 'a-z' < "$work/present" | sort | uniq -d | sed 's|$|: occurs twice|' > "$work/twice"
for found in extra gone twice; do while IFS= read -r line; do problem "$line"; done < "$work/$found"; done
if cut -c67- manifest-sha256.txt 2>/dev/null | grep -qv '^data/'; then problem "manifest-sha256.txt: lists what is not data"; fi
if cut -c67- tagmanifest-sha256.txt 2>/dev/null | grep -Eq '^(data|seal)/'; then problem "tagmanifest-sha256.txt: lists what is not its part"; fi

# 2. Content.
for list in manifest-sha256.txt tagmanifest-sha256.txt seal/sha256.txt; do
    [ -f "$list" ] || continue
    sha256sum -c "$list" 2>/dev/null | sed -n 's/: FAILED$/: has other content than listed/p' > "$work/bad"
    while IFS= read -r line; do problem "$line"; done < "$work/bad"
done
for name in bagit.txt bag-info.txt log/proof.json keys/signer.pem keys/log.vkey keys/allowed_signers seal/bundle.dsse.json \
    seal/bundle.sigstore.json seal/tagmanifest-sha256.txt.sig verify/VERIFY.md verify/verify.py verify/verify.sh verify/words.txt; do
    [ -f "$name" ] || problem "$name: is missing"
done

# 3. The seal: an envelope with one signature over the digest of tagmanifest-sha256.txt.
fingerprint=''
if [ -f keys/signer.pem ] && openssl pkey -pubin -in keys/signer.pem -outform DER -out "$work/key.der" 2>/dev/null; then
    fingerprint=$(sha256sum < "$work/key.der" | cut -c1-64)
else
    problem "keys/signer.pem: is not a public key"
fi
if [ -f seal/bundle.dsse.json ]; then
    b64='[A-Za-z0-9+/]*=\{0,2\}'
    form="^{\"payloadType\":\"application/vnd.in-toto+json\",\"payload\":\"\\($b64\\)\",\"signatures\":\\[{\"keyid\":\"\\([0-9a-f]\\{64\\}\\)\",\"sig\":\"\\($b64\\)\"}\\]}\$"
    payload=$(sed -n "s|$form|\\1|p" seal/bundle.dsse.json)
    keyid=$(sed -n "s|$form|\\2|p" seal/bundle.dsse.json)
    signature=$(sed -n "s|$form|\\3|p" seal/bundle.dsse.json)
    printf %s "$payload" | base64 -d > "$work/payload" 2>/dev/null || problem "seal/bundle.dsse.json: is not spelt as a DSSE envelope"
    printf %s "$signature" | base64 -d > "$work/signature" 2>/dev/null || problem "seal/bundle.dsse.json: is not spelt as a DSSE envelope"
    printf '{"payloadType":"application/vnd.in-toto+json","payload":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}' \
        "$(base64 -w0 < "$work/payload")" "$keyid" "$(base64 -w0 < "$work/signature")" > "$work/respelt"
    cmp -s "$work/respelt" seal/bundle.dsse.json || problem "seal/bundle.dsse.json: is not spelt as a DSSE envelope"
    [ "$keyid" = "$fingerprint" ] || problem "seal/bundle.dsse.json: is signed by $keyid, not by $fingerprint"
    { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c < "$work/payload")"; cat "$work/payload"; } > "$work/pae"
    openssl pkeyutl -verify -pubin -inkey keys/signer.pem -rawin -in "$work/pae" -sigfile "$work/signature" >/dev/null 2>&1 ||
        problem "seal/bundle.dsse.json: has a signature that does not verify"
    tags=$(sha256sum < tagmanifest-sha256.txt 2>/dev/null | cut -c1-64)
    begin='{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"tagmanifest-sha256.txt","digest":{"sha256":"'
    begin="$begin$tags\"}}],\"predicateType\":\"https://affidavit.example/evidence/bundle/v1\",\"predicate\":{\"format\":\"affidavit/bundle/1\","
    [ "$(head -c ${#begin} "$work/payload")" = "$begin" ] || problem "tagmanifest-sha256.txt: is not what was sealed"

    # 4. The time stamp over the seal.
    case $(tail -c 40 "$work/payload") in
        *'"timestamp":{"required":true}}}')
            if [ ! -f seal/bundle.dsse.json.tsr ]; then
                problem "seal/bundle.dsse.json.tsr: is missing"
            elif [ -n "$roots" ]; then
                openssl ts -verify -data seal/bundle.dsse.json -in seal/bundle.dsse.json.tsr -CAfile "$roots" >/dev/null 2>&1 ||
                    problem "seal/bundle.dsse.json.tsr: does not verify as a time stamp"
                openssl ts -reply -in seal/bundle.dsse.json.tsr -text 2>/dev/null | sed -n 's/^Time stamp: /stamped      /p'
            else
                echo "warning: time stamps were not checked: no roots were given to check them with"
            fi ;;
        *'"timestamp":{"required":false}}}')
            [ ! -f seal/bundle.dsse.json.tsr ] || problem "seal/bundle.dsse.json.tsr: is not part of this bundle" ;;
        *) problem "seal/bundle.dsse.json: does not state the facts of a bundle of this format" ;;
    esac
fi
# Tokens beside the checkpoints.
if [ -n "$roots" ]; then
    for token in log/checkpoints/*.tsr; do
        [ -f "$token" ] || continue
        cat log/checkpoints/*.chain.pem > "$work/chain.pem" 2>/dev/null
        if [ -s "$work/chain.pem" ]; then set -- -untrusted "$work/chain.pem"; else set --; fi
        openssl ts -verify -data "${token%%.note.*}.note" -in "$token" -CAfile "$roots" "$@" >/dev/null 2>&1 ||
            problem "$token: does not verify as a time stamp"
    done
fi

echo "fingerprint  $fingerprint"
echo "             compare it with the one you were given outside this bundle"
if [ -n "$key" ] && [ "$key" != "$fingerprint" ]; then problem "keys/signer.pem: is signed by $fingerprint, not by $key"; fi
files=$(wc -l < "$work/present")
if [ "$problems" -gt 0 ]; then echo "NOT verified ($problems problems): $files files"; exit 4; fi
if [ -z "$key" ]; then echo "consistent, signer not authenticated: $files files"; exit 4; fi
echo "verified: $files files (not the log's tree, nor the runs: verify.py does that)"
echo "This shows what the collector recorded, in full and in order; not that the recorded answers were true."
