package signed_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth/signed"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func public(k any) []byte { return block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(k))) }

func TestStores(t *testing.T) {
	t.Parallel()
	if all := signed.Stores(); !slices.Equal(all, []string{"ca", "signingAuthority", "tsa"}) {
		t.Errorf("%q", all)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rs := must(rsa.GenerateKey(rand.Reader, 2048))
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(ec))
	root := file("root.crt")
	der, _ := pem.Decode(root)
	stranger, _ := pem.Decode(file("stranger.crt"))
	cosign := func(content ...[]byte) signed.Trusted {
		return signed.Trusted{Tool: signed.Cosign, Content: bytes.Join(content, nil)}
	}
	notation := func(store string, content ...[]byte) signed.Trusted {
		return signed.Trusted{Tool: signed.Notation, Store: store, Content: bytes.Join(content, nil)}
	}
	a := newAuthority(t, "Authority")
	leaf := a.issue(t, "Leaf", nil)

	ecPublic, _ := pem.Decode(file("p256.pub"))
	headed := pem.EncodeToMemory(&pem.Block{Type: ecPublic.Type, Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: ecPublic.Bytes})

	for name, test := range map[string]struct {
		given signed.Trusted
		want  string // what the message has in it; "": none
	}{
		"P-256":                 {publicKey("p256"), ""},
		"P-384":                 {publicKey("p384"), ""},
		"P-521":                 {publicKey("p521"), ""},
		"RSA":                   {publicKey("rsa"), ""},
		"RSA in PKCS 1":         {publicKey("rsa-pkcs1"), ""},
		"Ed25519":               {publicKey("ed25519"), ""},
		"words before":          {cosign([]byte("mine\n"), file("p256.pub")), "give the blocks alone"},
		"blanks before":         {cosign([]byte(" \r\n"), file("p256.pub")), ""},
		"lines of Windows":      {cosign(bytes.ReplaceAll(file("p256.pub"), []byte("\n"), []byte("\r\n"))), ""},
		"a header":              {cosign(headed), "without headers"},
		"openssl ec -text":      {cosign([]byte("read EC key\nPrivate-Key: (256 bit)\npriv:\n    bc:b6\npub:\n    04:aa\n"), file("p256.pub")), "private key"},
		"bytes in hex before":   {cosign([]byte("priv:\n    bc:b6\n"), file("p256.pub")), "give the blocks alone"},
		"blanks after":          {cosign(file("p256.pub"), []byte("\n\n")), ""},
		"nothing":               {cosign(), "it is empty"},
		"blanks":                {cosign([]byte(" \n")), "it is empty"},
		"large":                 {cosign(file("p256.pub"), bytes.Repeat([]byte(" "), 64<<10)), "more than 65536"},
		"words":                 {cosign([]byte("my key")), "give the public key in PEM"},
		"cut off":               {cosign(file("p256.pub")[:100]), "give the public key in PEM"},
		"bytes of nothing":      {cosign(block("PUBLIC KEY", []byte("x"))), "cannot be read: give the public key in PEM"},
		"two keys":              {cosign(file("p256.pub"), file("rsa.pub")), "one public key at a time"},
		"words after":           {cosign(file("p256.pub"), []byte("x")), "give the blocks alone"},
		"one cut off before":    {cosign(file("rsa.pub")[:100], []byte("\n"), file("p256.pub")), "give the blocks alone"},
		"P-224":                 {cosign(public(&must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).PublicKey)), "another curve than P-256"},
		"X25519":                {cosign(public(must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey())), "use ECDSA, RSA or Ed25519"},
		"RSA of 1024 bits":      {cosign(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&weak().PublicKey))), "RSA key of 1024 bits: use one of 2048 to 8192"},
		"a certificate":         {cosign(root), "openssl x509 -pubkey"},
		"a signing request":     {cosign(block("CERTIFICATE REQUEST", []byte("x"))), "give the public key in PEM"},
		"a private key":         {cosign(block("PRIVATE KEY", pkcs8)), "private key"},
		"cosign's private key":  {cosign(block("ENCRYPTED SIGSTORE PRIVATE KEY", pkcs8)), "private key"},
		"both keys":             {cosign(file("p256.pub"), block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ec)))), "private key"},
		"a private key, cut":    {cosign(block("PRIVATE KEY", pkcs8)[:60]), "private key"},
		"a private key in DER":  {cosign(pkcs8), "private key"},
		"SEC 1 in DER":          {cosign(must(x509.MarshalECPrivateKey(ec))), "private key"},
		"PKCS 1 in DER":         {cosign(x509.MarshalPKCS1PrivateKey(rs)), "private key"},
		"Ed25519, private":      {cosign(block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed)))), "private key"},
		"no tool":               {signed.Trusted{Content: root}, "use cosign or notation"},
		"another tool":          {signed.Trusted{Tool: "gpg", Content: root}, "use cosign or notation"},
		"root":                  {certificate("ca", "root"), ""},
		"root in DER":           {notation("ca", der.Bytes), ""},
		"two in DER":            {notation("ca", der.Bytes, stranger.Bytes), ""},
		"two roots":             {notation("signingAuthority", root, file("stranger.crt")), ""},
		"a clock's root":        {certificate("tsa", "root"), ""},
		"an authority below":    {notation("ca", a.below(t, "Below").pem()), ""},
		"a clock's authority":   {notation("tsa", a.below(t, "Below").pem()), `"CN=Below" is not that of a root`},
		"no store":              {certificate("", "root"), "use one of ca, signingAuthority, tsa"},
		"another store":         {certificate("CA", "root"), "use one of ca, signingAuthority, tsa"},
		"a leaf":                {notation("ca", leaf.pem()), "give the certificate of who has issued it"},
		"a root and a leaf":     {notation("ca", root, leaf.pem()), "give the certificate of who has issued it"},
		"a leaf of its own":     {notation("ca", newLeaf(t, "Alone").pem()), ""},
		"as s_client has them":  {notation("ca", []byte(" 0 s:CN = Root\n"), root, []byte(" 1 s:CN = Other\n"), file("stranger.crt")), "give the blocks alone"},
		"words after a root":    {notation("ca", root, []byte("---\n")), "give the blocks alone"},
		"blanks around roots":   {notation("ca", []byte("\n"), root, []byte("\n\n"), file("stranger.crt"), []byte(" ")), ""},
		"no certificate":        {notation("ca", []byte("x")), "give certificates in PEM, or in DER"},
		"a public key":          {notation("ca", file("p256.pub")), "something else than certificates"},
		"a broken certificate":  {notation("ca", root, block("CERTIFICATE", []byte("x"))), "certificate 2 cannot be read"},
		"a certificate, cut":    {notation("ca", root, file("stranger.crt")[:200]), "give the blocks alone"},
		"one that is cut first": {notation("ca", file("stranger.crt")[:200], []byte("\n"), root), "give the blocks alone"},
		"DER, cut":              {notation("ca", der.Bytes[:200]), "give certificates in PEM, or in DER"},
		"a key with it":         {notation("ca", root, block("PRIVATE KEY", pkcs8)), "private key"},
		"a key alone":           {notation("ca", pkcs8), "private key"},
		"an empty file":         {notation("ca"), "it is empty"},
		"a weak root":           {notation("ca", weakRoot()), "RSA key of 1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.given.Check()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if strings.Contains(test.want, "private key") && strings.Contains(err.Error(), "MI") {
				t.Errorf("the message has what nobody may see: %v", err)
			}
		})
	}
}

// What is said to everybody is the key, and nothing else of what was given.
func TestAuthorIsTheKey(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	given := publicKey("p256")
	given.Content = append([]byte("\n\n\t\n"), bytes.ReplaceAll(given.Content, []byte("\n"), []byte("\r\n"))...)
	for _, s := range of(t, r, r.image("referrer"), given) {
		if s.Author != string(file("p256.pub")) {
			t.Errorf("the author is %q", s.Author)
		}
	}
}
