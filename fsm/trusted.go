package fsm

// SigningTool is what signatures of images are made with, and checked.
type SigningTool uint8

// The tools.
const (
	Cosign SigningTool = iota + 1
	Notation
)

// signingTools are their names, as the tools themselves have them.
func signingTools() map[SigningTool]string {
	return map[SigningTool]string{Cosign: "cosign", Notation: "notation"}
}

// String is the tool's name; "" of none.
func (s SigningTool) String() string { return signingTools()[s] }

// ParseSigningTool is the inverse of String; ok false for any other text.
func ParseSigningTool(name string) (tool SigningTool, ok bool) {
	for s, is := range signingTools() {
		if is == name {
			return s, true
		}
	}
	return 0, false
}

// TrustedKey is a public key, or certificates, by which signatures of images are believed. It is not secret.
type TrustedKey struct {
	Tool    SigningTool `cbor:"1,keyasint"`
	Store   string      `cbor:"2,keyasint,omitempty"` // of Notation: the kind of trust store, as "ca"
	Name    string      `cbor:"3,keyasint,omitempty"` // of Notation: what the store is called; it says nothing
	Digest  Digest      `cbor:"4,keyasint"`           // of Content
	Content []byte      `cbor:"5,keyasint"`           // as it was given
	By      string      `cbor:"6,keyasint,omitempty"` // who gave it
	Given   int64       `cbor:"7,keyasint"`           // Unix milliseconds
}

// key is where the record is.
func (k TrustedKey) key() []byte { return trustedKey(k.Tool, k.Digest, k.Store, k.Name) }

// trustedKey is the place of one with a content, in one of the stores.
func trustedKey(tool SigningTool, d Digest, store, name string) []byte {
	return append(trustedContent(tool, d), within(store, name)...)
}

// trustedContent is what the places of all begin with that have a content: no digest is the beginning of another.
func trustedContent(tool SigningTool, d Digest) []byte { return append([]byte{byte(tool)}, d...) }

// TrustedKeys returns what signatures are believed by, those of each tool together. There are 200 at most.
func (v View) TrustedKeys() (all []TrustedKey) {
	for _, value := range v.scan(trusted, nil, nil) {
		all = append(all, mustDecode[TrustedKey](value))
	}
	return all
}
