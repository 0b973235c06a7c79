package ldap_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	ldap "github.com/go-ldap/ldap/v3"
)

// directory is a server that knows as much of LDAP as the tests ask for: what no real one does when it is told to.
type directory struct {
	t       testing.TB
	tls     *tls.Config // nil: there is none
	entries map[string]entry
	account [2]string // who alone may search; zero: everybody

	mu       sync.Mutex
	said     []string // what was asked, a line each
	answer   uint16   // instead of all others, if it is no success
	stalls   bool     // nothing is answered
	drops    int      // how many searches end their connection
	open     map[net.Conn]bool
	searched []string // filters

	serving sync.WaitGroup // connections
}

type entry struct {
	password   string
	attributes map[string][]string
}

// starts serves until the test ends, from the first byte with TLS or not, and returns the port.
func (d *directory) starts(implicit bool) int {
	d.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is there at once
	if err != nil {
		d.t.Fatal(err)
	}
	d.open = map[net.Conn]bool{}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.open[c] = true
			d.mu.Unlock()
			d.serving.Go(func() { d.serve(c, implicit) })
		}
	})
	d.t.Cleanup(func() {
		_ = l.Close()
		d.hangUp()
		all.Wait()
		d.serving.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// hangUp closes all connections, as a server does with idle ones.
func (d *directory) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.open {
		_ = c.Close()
	}
}

func (d *directory) serve(raw net.Conn, implicit bool) {
	defer raw.Close() //nolint:errcheck // its client has gone
	c := raw
	if implicit {
		c = tls.Server(raw, d.tls)
	}
	r := bufio.NewReader(c)
	bound := ""
	for {
		p, err := ber.ReadPacket(r)
		if err != nil {
			return
		}
		op := p.Children[1]
		d.mu.Lock()
		stalls, code := d.stalls, d.answer
		d.mu.Unlock()
		switch {
		case stalls:
		case op.Tag == ldap.ApplicationUnbindRequest:
			return
		case op.Tag == ldap.ApplicationBindRequest:
			name, password := op.Children[1].Data.String(), op.Children[2].Data.String()
			d.note("bind " + name)
			if code == ldap.LDAPResultSuccess {
				code = d.bind(name, password)
			}
			bound = name
			write(c, p, ldap.ApplicationBindResponse, code)
		case op.Tag == ldap.ApplicationSearchRequest && d.drop():
			return
		case op.Tag == ldap.ApplicationSearchRequest:
			d.search(c, p, op, bound)
		case op.Tag == ldap.ApplicationExtendedRequest:
			d.note("StartTLS")
			write(c, p, ldap.ApplicationExtendedResponse, code)
			c = tls.Server(raw, d.tls)
			r = bufio.NewReader(c)
		}
	}
}

func (d *directory) drop() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drops--
	return d.drops >= 0
}

func (d *directory) note(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, text)
}

func (d *directory) heard(prefix string) (count int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, text := range d.said {
		if strings.HasPrefix(text, prefix) {
			count++
		}
	}
	return count
}

// bind lets those in without a password as nobody, as many servers do.
func (d *directory) bind(name, password string) uint16 {
	switch e, ok := d.entries[name]; {
	case password == "", name == d.account[0] && password == d.account[1], ok && e.password == password:
		return ldap.LDAPResultSuccess
	}
	return ldap.LDAPResultInvalidCredentials
}

func (d *directory) search(c net.Conn, p, op *ber.Packet, bound string) {
	filter, err := ldap.DecompileFilter(op.Children[6])
	d.mu.Lock()
	d.searched = append(d.searched, filter)
	code := d.answer
	d.mu.Unlock()
	switch {
	case err != nil:
		code = ldap.LDAPResultProtocolError
	case code == ldap.LDAPResultSuccess && bound != d.account[0]:
		code = ldap.LDAPResultInsufficientAccessRights
	case code == ldap.LDAPResultSuccess:
		for dn, e := range d.entries {
			if slices.ContainsFunc(e.attributes["uid"], func(value string) bool {
				return strings.Contains(strings.ToLower(filter), "(uid="+ldap.EscapeFilter(strings.TrimSpace(value))+")")
			}) {
				writeEntry(c, p, dn, e.attributes)
			}
		}
	}
	write(c, p, ldap.ApplicationSearchResultDone, code)
}

func envelope(p *ber.Packet) *ber.Packet {
	answer := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	answer.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, p.Children[0].Value, ""))
	return answer
}

func text(of string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, of, "")
}

func write(c net.Conn, p *ber.Packet, tag ber.Tag, code uint16) {
	answer := envelope(p)
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	op.AppendChild(text(""))
	op.AppendChild(text(""))
	answer.AppendChild(op)
	_, _ = c.Write(answer.Bytes())
}

func writeEntry(c net.Conn, p *ber.Packet, dn string, attributes map[string][]string) {
	answer := envelope(p)
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	op.AppendChild(text(dn))
	list := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for name, values := range attributes {
		one := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		one.AppendChild(text(name))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range slices.Sorted(slices.Values(values)) {
			set.AppendChild(text(v))
		}
		one.AppendChild(set)
		list.AppendChild(one)
	}
	op.AppendChild(list)
	answer.AppendChild(op)
	_, _ = c.Write(answer.Bytes())
}

// certificate makes one for 127.0.0.1 that has signed itself, and returns its file.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca-"+strconv.Itoa(len(der))+".pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, path
}
