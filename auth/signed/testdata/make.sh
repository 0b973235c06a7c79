#!/usr/bin/env bash
# Makes what lies beside it: images in one repository of a registry, signed with the tools that people sign with.
#
#   REGISTRY=127.0.0.1:5000 ./make.sh
#
# wants an empty registry without a login, and cosign 3.1.3, notation 1.3.2, crane, openssl, curl, jq and python3. Everything is made anew, keys and
# all, and private keys are not kept. A tag names an image by how it is signed; each has a layer of its own.
set -euo pipefail
cd "$(dirname "$0")"
repository=$REGISTRY/app
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export COSIGN_PASSWORD=password COSIGN_EXPERIMENTAL=1 XDG_CONFIG_HOME=$work NOTATION_CONFIG=$work/notation
rm -rf blobs keys tags.json
mkdir -p blobs keys "$work/notation"

image() {
	echo "$1" >"$work/file"
	tar -C "$work" --mtime=@0 --owner=0 --group=0 -cf "$work/$1.tar" file
	crane append --insecure --oci-empty-base -f "$work/$1.tar" -t "$repository:$1" >/dev/null 2>&1
}
named() { echo "$repository@$(crane digest --insecure "$repository:$1")"; }

# Keys of cosign.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/p256.pem"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/another.pem"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out "$work/p384.pem"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out "$work/p521.pem"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/rsa.pem" 2>/dev/null
openssl genpkey -algorithm ED25519 -out "$work/ed25519.pem"
for key in p256 another p384 p521 rsa ed25519; do
	(cd "$work" && cosign import-key-pair --key $key.pem --output-key-prefix $key 2>/dev/null)
	cp "$work/$key.pub" keys/
done
openssl rsa -in "$work/rsa.pem" -RSAPublicKey_out -out keys/rsa-pkcs1.pub 2>/dev/null

# Certificates of notation: a root, leaves that it has signed, of which one holds for a day, and a root that has signed nothing. And
# those of a clock, which says when something was signed.
certificate() { # name, subject, extensions, who signs, days
	openssl req -new -newkey rsa:3072 -nodes -keyout "$work/$1.key" -subj "$2" -out "$work/$1.csr" 2>/dev/null
	local by=(-signkey "$work/$1.key")
	[[ $4 == "$1" ]] || by=(-CA "keys/$4.crt" -CAkey "$work/$4.key" -CAcreateserial)
	openssl x509 -req -in "$work/$1.csr" "${by[@]}" -days "${5:-36500}" -extfile <(printf '%b' "$3") -out "keys/$1.crt" 2>/dev/null
	rm -f keys/*.srl
}
root='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'
leaf='basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n'
certificate root "/C=DE/O=Example/CN=Root" "$root" root
certificate stranger "/C=DE/O=Example/CN=Root" "$root" stranger
certificate leaf "/C=DE/ST=Berlin/O=Example/CN=Builder" "$leaf" root
certificate brief "/C=DE/O=Example/CN=Brief" "$leaf" root 1
certificate clock "/C=DE/O=Example/CN=Clock" "$root" clock
certificate hand "/C=DE/O=Example/CN=Hand" 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n' clock
for name in leaf brief; do
	cat keys/$name.crt keys/root.crt >"$work/$name.chain"
	jq -n --arg name $name --arg work "$work" '{name: $name, keyPath: "\($work)/\($name).key", certPath: "\($work)/\($name).chain"}'
done | jq -s '{default: "leaf", keys: .}' >"$work/notation/signingkeys.json"
cat >"$work/clock.cnf" <<-END
	[tsa]
	default_tsa = clock
	[clock]
	serial = $work/serial
	signer_digest = sha256
	default_policy = 1.3.6.1.4.1.57264.2
	digests = sha256, sha384, sha512
	ess_cert_id_alg = sha256
END
cat >"$work/clock.py" <<-'END'
	import http.server, os, subprocess
	class Clock(http.server.BaseHTTPRequestHandler):
	    def do_POST(self):
	        with open("query", "wb") as f: f.write(self.rfile.read(int(self.headers["Content-Length"])))
	        subprocess.run(["openssl", "ts", "-reply", "-config", "clock.cnf", "-queryfile", "query", "-inkey", "hand.key", "-signer", "hand.crt", "-chain", "clock.crt", "-out", "reply"], check=True)
	        self.send_response(200)
	        self.send_header("Content-Type", "application/timestamp-reply")
	        self.end_headers()
	        with open("reply", "rb") as f: self.wfile.write(f.read())
	    def log_message(self, *_): pass
	server = http.server.HTTPServer(("127.0.0.1", 0), Clock)
	with open("port.new", "w") as f: f.write(str(server.server_port))
	os.rename("port.new", "port")
	server.serve_forever()
END
cp keys/clock.crt "$work/"
mv keys/hand.crt "$work/"
rm keys/brief.crt
(cd "$work" && exec python3 clock.py 2>clock.log) &
clock=$!
trap 'kill $clock; rm -rf "$work"' EXIT
until [[ -s $work/port ]]; do sleep 0.1; done

sign() { # image, key, more
	cosign sign --yes --allow-http-registry --key "$work/$2.key" --tlog-upload=false --use-signing-config=false "${@:3}" "$(named "$1")" 2>"$work/log" ||
		{ cat "$work/log" >&2; return 1; }
}
notarize() { # image, more
	notation sign --insecure-registry --force-referrers-tag=false "${@:2}" "$(named "$1")" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

image unsigned
image old # a tag with a layer for each key
for key in p256 p384 p521 rsa ed25519; do sign old $key --new-bundle-format=false; done
image referrer # the same manifest, as a referrer
sign referrer p256 --new-bundle-format=false --registry-referrers-mode=oci-1-1
image new # a bundle for each key
for key in p256 p384 p521 rsa ed25519; do sign new $key; done
image another # by another key
sign another another --new-bundle-format=false
sign another another
image attested # attestations, and no signature
echo '{}' >"$work/predicate"
for form in true false; do
	cosign attest --yes --allow-http-registry --key "$work/p256.key" --tlog-upload=false --use-signing-config=false --new-bundle-format=$form \
		--type spdxjson --predicate "$work/predicate" "$(named attested)" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
done
image notation
notarize notation --signature-format jws
notarize notation --signature-format cose
image expiring
notarize expiring --signature-format jws --expiry 438000h # fifty years
image timestamped # by who could sign for a day only
for format in jws cose; do
	notarize timestamped --signature-format $format --key brief \
		--timestamp-url "http://127.0.0.1:$(cat "$work/port")" --timestamp-root-cert keys/clock.crt
done
image both
sign both p256
notarize both
crane index append --insecure -m "$(named unsigned)" -t "$repository:index" >/dev/null 2>&1
sign index p256
notarize index

# What is in the repository now: the manifests of all tags and their referrers, what these are made of, and the tags.
get() { curl -sSf "http://$REGISTRY/v2/app/$1" "${@:2}"; }
accept='Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json'
keep() { # the digest of a manifest
	[[ ! -e blobs/${1#sha256:} ]] || return 0
	get "manifests/$1" -H "$accept" >"blobs/${1#sha256:}"
	for blob in $(jq -r '.layers[]?.digest' "blobs/${1#sha256:}"); do get "blobs/$blob" >"blobs/${blob#sha256:}"; done
	for more in $(get "referrers/$1" | jq -r '.manifests[].digest'); do keep "$more"; done
}
for tag in $(crane ls --insecure "$repository"); do
	digest=$(crane digest --insecure "$repository:$tag")
	keep "$digest"
	jq -n --arg tag "$tag" --arg digest "$digest" '{($tag): $digest}'
done | jq -s add >tags.json
