#!/bin/sh
# Checks a bundle, unpacked in a folder, with coreutils, sed, grep and openssl: every file, every list, the seal, time stamps, and
# transitions from an older key. It does not rebuild the log's tree nor look at runs: verify.py does. Exit code: 0 verified, 4 not verified, 2 wrong usage.
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
b64='[A-Za-z0-9+/]*=\{0,2\}'
if [ -f seal/bundle.dsse.json ]; then
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
# Tokens beside the checkpoints: the log up to the largest of these was seen outside.
covered=0
if [ -n "$roots" ]; then
    for token in log/checkpoints/*.tsr; do
        [ -f "$token" ] || continue
        cat log/checkpoints/*.chain.pem > "$work/chain.pem" 2>/dev/null
        if [ -s "$work/chain.pem" ]; then set -- -untrusted "$work/chain.pem"; else set --; fi
        if openssl ts -verify -data "${token%%.note.*}.note" -in "$token" -CAfile "$roots" "$@" >/dev/null 2>&1; then
            size=$(basename "$token" | sed -n 's/^0*\([0-9][0-9]*\)\.note\..*/\1/p')
            [ "${size:-0}" -le "$covered" ] || covered=$size
        else
            problem "$token: does not verify as a time stamp"
        fi
    done
fi
payload_of() { sed -n 's/^{"payloadType":"[^"]*","payload":"\([A-Za-z0-9+/=]*\)".*/\1/p' "$1" | base64 -d 2>/dev/null; }
# What nobody outside has shown: runs that end in a leaf no token covers, and what came after the last leaf.
bare='' last='' before=''
for leaf in log/entries/*.dsse.json; do
    case $leaf in
        *-run-close.dsse.json | *-run-abort.dsse.json)
            index=${leaf##*/} index=${index%%-*} index=${index#"${index%%[!0]*}"}
            # The first leaf may end a run that began before the range: it is there for its time alone.
            if [ -n "$before" ] && [ "${index:-0}" -ge "$covered" ]; then last=$leaf bare=${bare:-$leaf}; fi ;;
    esac
    before=$leaf
done 2>/dev/null
run_of() { payload_of "$1" | sed 's/.*"predicate":{//' | grep -o '"run":[0-9]\{1,8\}' | head -n 1 | cut -c7-; }
unknown='nothing shown here says what came after the last leaf: what attests the rest still holds when a tail is cut off; compare with a newer checkpoint held elsewhere'
if [ "$covered" -eq 0 ]; then
    echo 'warning: no outside anchor: nothing here shows that the log was not cut short or rewritten whole by the holder of its key; compare with a checkpoint held elsewhere; time stamps bound a rewriting, and show no cut'
else
    if [ -n "$bare" ]; then
        runs="runs $(run_of "$bare") to $(run_of "$last") are"
        [ "$bare" != "$last" ] || runs="run $(run_of "$last") is"
        unknown="$runs covered by no outside anchor that was checked, and could be cut off unseen; $unknown"
    fi
    echo "warning: $unknown"
fi

# 5. The key. One that came before is followed leaf by leaf: each transition is signed by the key before it, and by the key it names.
signed_by() { # DER file, signature in base64
    printf %s "$2" | base64 -d > "$work/sig" 2>/dev/null &&
        openssl pkeyutl -verify -pubin -keyform DER -inkey "$1" -rawin -in "$work/pae" -sigfile "$work/sig" >/dev/null 2>&1
}
known=no
followed() { # from the key that was given to the key of the seal
    at=''
    ls keys/leaves log/entries 2>/dev/null | grep -E '^[0-9]{12}-(genesis|key-transition|key-revocation)\.dsse\.json$' | sort > "$work/leaves"
    while IFS= read -r name; do
        leaf=log/entries/$name
        [ -f "$leaf" ] || leaf=keys/leaves/$name
        payload_of "$leaf" > "$work/payload"
        case $name in
            *-key-revocation.*) [ "$known" = no ] || return 1; continue ;;
            *-genesis.*) text=$(sed -n 's|.*,"key":{"scheme":"[a-z0-9-]*","spki":"\([A-Za-z0-9+/=]*\)"},.*|\1|p' "$work/payload") ;;
            *) place=${name%%-*} place=${place#"${place%%[!0]*}"}
               form='"predicateType":"https://affidavit.example/evidence/key-transition/v1","predicate":{"index":'$place',"recordedOn":"[0-9TZ:.-]*"'
               form="$form,\"oldKey\":\"\\([0-9a-f]*\\)\",\"newKey\":{\"scheme\":\"[a-z0-9-]*\",\"pem\":\"-----BEGIN PUBLIC KEY-----\\\\n\\([A-Za-z0-9+/=\\\\]*\\)"
               form="$form\\\\n-----END PUBLIC KEY-----\\\\n\"},\"fromIndex\":$((place + 1)),\"reason\":\"[^\"]*\"}}\$"
               [ -z "$at" ] || [ "$(sed -n "s|.*$form|\\1|p" "$work/payload")" = "$at" ] || return 1
               text=$(sed -n "s|.*$form|\\2|p" "$work/payload" | sed 's/\\n//g') ;;
        esac
        printf %s "$text" | base64 -d > "$work/next.der" 2>/dev/null || return 1
        next=$(sha256sum < "$work/next.der" | cut -c1-64)
        if [ -n "$at" ]; then
            form="^.*\"signatures\":\\[{\"keyid\":\"$at\",\"sig\":\"\\($b64\\)\"},{\"keyid\":\"$next\",\"sig\":\"\\($b64\\)\"}\\]}\$"
            { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c < "$work/payload")"; cat "$work/payload"; } > "$work/pae"
            signed_by "$work/at.der" "$(sed -n "s|$form|\\1|p" "$leaf")" &&
                signed_by "$work/next.der" "$(sed -n "s|$form|\\2|p" "$leaf")" || return 1
        fi
        if [ -n "$at" ] || [ "$next" = "$key" ]; then at=$next known=yes; mv "$work/next.der" "$work/at.der"; fi
    done < "$work/leaves"
    [ "$at" = "$fingerprint" ]
}
echo "fingerprint  $fingerprint"
if [ -z "$key" ] || [ "$key" = "$fingerprint" ]; then
    echo "             compare it with the one you were given outside this bundle"
elif followed; then
    echo "             the key you gave handed over to it, by transitions that both keys signed"
elif [ "$known" = yes ]; then
    problem "keys/signer.pem: is signed by $fingerprint, not by $key, an older key of this log whose transitions cannot be followed here: verify.py says whether it may be relied on"
else
    problem "keys/signer.pem: is signed by $fingerprint, not by $key"
fi
files=$(wc -l < "$work/present")
if [ "$problems" -gt 0 ]; then echo "NOT verified ($problems problems): $files files"; exit 4; fi
if [ -z "$key" ]; then echo "consistent, signer not authenticated: $files files"; exit 4; fi
echo "verified: $files files (not the log's tree, nor the runs: verify.py does that)"
echo "This shows what the collector recorded, in full and in order; not that the recorded answers were true."
