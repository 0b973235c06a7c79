package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	ldap "github.com/go-ldap/ldap/v3"
)

// dialer makes connections. It is replaced when a file has changed that it was made of.
type dialer struct {
	host, address string
	tls           *tls.Config
	insecure      bool
	startTLS      bool
	account       Account
	ca            string        // what the CA file holds
	patience      time.Duration // for each step
}

func newDialer(c Config) (*dialer, error) {
	host := strings.Trim(c.Address, "[]")
	d := &dialer{
		host: host, address: net.JoinHostPort(host, strconv.Itoa(c.Port)), insecure: c.Insecure, startTLS: c.StartTLS,
		account: c.Account, patience: c.Patience,
	}
	if c.CredentialsFile != "" {
		account, err := ReadAccount(c.CredentialsFile)
		if err != nil {
			return nil, fmt.Errorf("credentialsFile: %w", err)
		}
		d.account = account
	}
	if err := d.account.check(); err != nil {
		return nil, err
	}
	d.tls = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.SkipVerify} //nolint:gosec // the operator asks for it
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cacert: %w", err)
		}
		d.ca, d.tls.RootCAs = string(pem), x509.NewCertPool()
		if !d.tls.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cacert: %s holds no certificate in PEM", c.CAFile)
		}
	}
	return d, nil
}

// same reports whether another would make the same connections.
func (d *dialer) same(e *dialer) bool { return e != nil && d.account == e.account && d.ca == e.ca }

// dial makes a connection that is encrypted as it has to be, and bound as nobody.
func (d *dialer) dial(ctx context.Context) (*conn, error) {
	within, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(within, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	if !d.insecure {
		encrypted := tls.Client(raw, d.tls)
		if err := encrypted.HandshakeContext(within); err != nil {
			return nil, errors.Join(fmt.Errorf("TLS: %w", err), raw.Close())
		}
		c := &conn{raw: raw, patience: d.patience, Conn: ldap.NewConn(encrypted, true)}
		c.Start()
		return c, nil
	}
	c := &conn{raw: raw, patience: d.patience, Conn: ldap.NewConn(raw, false)}
	c.Start()
	if d.startTLS {
		if err := c.do(within, func(l *ldap.Conn) error { return l.StartTLS(d.tls) }); err != nil {
			c.close()
			return nil, fmt.Errorf("StartTLS: %w", err)
		}
	}
	return c, nil
}

// dialBound makes a connection of the account that looks for entries.
func (d *dialer) dialBound(ctx context.Context) (*conn, error) {
	c, err := d.dial(ctx)
	if err != nil || d.account.DN == "" {
		return c, err
	}
	if err := c.do(ctx, func(l *ldap.Conn) error { return l.Bind(d.account.DN, d.account.Password) }); err != nil {
		c.close()
		return nil, fmt.Errorf("bind as %q: %w", d.account.DN, err)
	}
	return c, nil
}

// conn is a connection, each step on which has an end.
type conn struct {
	*ldap.Conn

	raw      net.Conn
	patience time.Duration
	used     time.Time
}

// do takes a step. The library's own timeout does not cover what is written, nor the handshake of StartTLS.
func (c *conn) do(ctx context.Context, step func(*ldap.Conn) error) error {
	end := time.Now().Add(c.patience)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(end) {
		end = earlier
	}
	if err := c.raw.SetDeadline(end); err != nil {
		return err
	}
	if err := step(c.Conn); err != nil {
		return err
	}
	return c.raw.SetDeadline(time.Time{})
}

func (c *conn) close() {
	_ = c.raw.SetDeadline(time.Now()) // whoever writes or reads stops
	_ = c.Close()                     // nothing is lost with it
}
