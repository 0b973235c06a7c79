// Package ldap knows names and passwords from an LDAP server: it looks for the one entry that has the name, with an
// account of its own, and binds as that entry with the password.
//
// A server that is slow or gone holds up nobody for long: each step has its time, few logins are under way at once, and
// after some failures in a row it is left alone for a while. What was right is remembered for a minute (auth/remember).
// Start reading at Verify; pool.go has the connections, dial.go makes one.
package ldap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	ldap "github.com/go-ldap/ldap/v3"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/semaphore"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/remember"
)

const (
	atOnce          = 8 // logins under way
	defaultPatience = 5 * time.Second
)

// Config is a server, and how names are looked for.
type Config struct {
	Address string
	Port    int // 0: the usual one
	// Insecure says that a connection begins without TLS, and StartTLS that it goes on with it.
	Insecure, StartTLS bool
	SkipVerify         bool   // whoever answers is believed to be the server
	CAFile             string // of certificates that the server's is signed by; "": the system's
	// Account looks for entries, or the one in CredentialsFile.
	Account         Account
	CredentialsFile string
	BaseDN          string
	Subtree         bool // entries at any depth below BaseDN; else of the level right below
	UserAttribute   string
	UserFilter      string // that entries match besides; "": all do
	GroupAttribute  string // whose values are the groups; "": there are none
	// Patience is how long the server has for a step: dial, bind, search. A login has twice as long, and after some
	// failures the server is left alone for as long. 0: 5 s.
	Patience time.Duration
	Logger   hclog.Logger
}

// Server is an LDAP server. Its methods may be called concurrently.
type Server struct {
	config  Config
	slots   *semaphore.Weighted
	right   *remember.Memory[[]string]
	breaker *breaker
	pool    *pool
}

var (
	_ auth.Method   = (*Server)(nil)
	_ auth.Recaller = (*Server)(nil)
)

var errBusy = errors.New("too many logins are under way")

// Open reads the files that a configuration names; it does not ask the server, which may come up later.
func Open(c Config) (*Server, error) {
	if err := errors.Join(CheckFilter(c.UserFilter), CheckAttribute(c.UserAttribute)); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	if c.Port == 0 {
		c.Port = 636
		if c.Insecure {
			c.Port = 389
		}
	}
	s := &Server{
		config: c, slots: semaphore.NewWeighted(atOnce), right: remember.New[[]string](),
		breaker: &breaker{rest: c.Patience, log: c.Logger}, pool: &pool{},
	}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// CheckFilter fails for what is no filter (RFC 4515); "" is all entries.
func CheckFilter(filter string) error {
	if filter == "" {
		return nil
	}
	if _, err := ldap.CompileFilter(withParentheses(filter)); err != nil {
		return fmt.Errorf("%q is no LDAP filter: %w", filter, err)
	}
	return nil
}

// CheckDN fails for what is no distinguished name (RFC 4514).
func CheckDN(dn string) error {
	if _, err := ldap.ParseDN(dn); err != nil {
		return fmt.Errorf("%q is no distinguished name", dn)
	}
	return nil
}

// CheckAttribute fails for what is no attribute's name or number (RFC 4512, 2.5).
func CheckAttribute(name string) error {
	odd := func(c rune) bool {
		return !strings.ContainsRune("-.;_", c) && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	if name == "" || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("%q is no attribute", name)
	}
	return nil
}

// withParentheses adds those that people leave out around a filter.
func withParentheses(filter string) string {
	if strings.HasPrefix(filter, "(") {
		return filter
	}
	return "(" + filter + ")"
}

// Reload reads the files again, and reports whether they have changed. If one cannot be read what was read before
// holds.
func (s *Server) Reload() (changed bool, err error) {
	d, err := newDialer(s.config)
	if err != nil {
		return false, err
	}
	return s.pool.dialBy(d), nil
}

// Close closes the connections that nobody uses. Others close when their login has ended.
func (s *Server) Close() { s.pool.close() }

// Recall is as auth.Recaller says.
func (s *Server) Recall(name, password string) ([]string, bool) {
	return s.right.Find(s.right.Of(name, password))
}

// Verify is as auth.Method says. The groups are the values of the group attribute as they stand in the entry.
func (s *Server) Verify(ctx context.Context, name, password string) ([]string, error) {
	if name == "" || password == "" { // to bind without a password succeeds, as nobody (RFC 4513, 5.1.2)
		return nil, auth.ErrUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.config.Patience)
	defer cancel()
	if err := s.slots.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("ask LDAP server: %w", errors.Join(errBusy, err))
	}
	defer s.slots.Release(1)
	if err := s.breaker.begin(); err != nil {
		return nil, err
	}
	groups, err := s.verify(ctx, name, password)
	if err == nil || errors.Is(err, auth.ErrUnknown) || errors.Is(err, auth.ErrWrong) {
		s.breaker.end(nil)
	} else {
		err = fmt.Errorf("ask LDAP server %s: %w", s.address(), err)
		s.breaker.end(err)
	}
	if err == nil {
		s.right.Keep(s.right.Of(name, password), groups)
	}
	return groups, err
}

func (s *Server) address() string {
	return net.JoinHostPort(strings.Trim(s.config.Address, "[]"), strconv.Itoa(s.config.Port))
}

func (s *Server) verify(ctx context.Context, name, password string) ([]string, error) {
	entry, err := s.find(ctx, name)
	if errors.Is(err, auth.ErrUnknown) {
		// As long as for a name that is there, as far as the server's part goes. Neither the name nor the password is
		// told: they may be of use elsewhere.
		_ = s.bind(ctx, "cn="+rand.Text()+","+s.config.BaseDN, rand.Text())
	}
	if err != nil {
		return nil, err
	}
	if err := s.bind(ctx, entry.DN, password); err != nil {
		return nil, err
	}
	if s.config.GroupAttribute == "" {
		return nil, nil
	}
	return entry.GetEqualFoldAttributeValues(s.config.GroupAttribute), nil
}

// find looks for the one entry of a name.
//   - auth.ErrUnknown if there is none, or several
//   - another error if the server does not say
func (s *Server) find(ctx context.Context, name string) (*ldap.Entry, error) {
	found, err := s.pool.search(ctx, s.request(name))
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
	case err != nil:
		return nil, fmt.Errorf("search below %q: %w", s.config.BaseDN, err)
	case len(found.Entries) == 0:
		return nil, auth.ErrUnknown
	}
	if len(found.Entries) != 1 || err != nil {
		s.config.Logger.Warn("several LDAP entries have one name, so nobody can log in by it", "user", name, "attribute", s.config.UserAttribute, "request_id", requestID(ctx))
		return nil, auth.ErrUnknown
	}
	entry := found.Entries[0]
	if entry.DN == "" { // to bind as it would be to bind as nobody, which succeeds
		return nil, auth.ErrUnknown
	}
	// Spaces and some characters say nothing to the server, but tell names apart for who decides what they may do.
	spelled := entry.GetEqualFoldAttributeValues(s.config.UserAttribute)
	if len(spelled) > 0 && !slices.ContainsFunc(spelled, func(v string) bool { return strings.EqualFold(v, name) }) {
		return nil, auth.ErrUnknown
	}
	return entry, nil
}

func (s *Server) request(name string) *ldap.SearchRequest {
	filter := fmt.Sprintf("(%s=%s)", s.config.UserAttribute, ldap.EscapeFilter(name)) // RFC 4515
	if s.config.UserFilter != "" {
		filter = "(&" + filter + withParentheses(s.config.UserFilter) + ")"
	}
	scope := ldap.ScopeSingleLevel
	if s.config.Subtree {
		scope = ldap.ScopeWholeSubtree
	}
	attributes := []string{s.config.UserAttribute}
	if s.config.GroupAttribute != "" {
		attributes = append(attributes, s.config.GroupAttribute)
	}
	const two = 2 // tell that there is more than one
	seconds := int((s.config.Patience + time.Second - 1) / time.Second)
	return ldap.NewSearchRequest(s.config.BaseDN, scope, ldap.NeverDerefAliases, two, seconds, false, filter, attributes, nil)
}

// bind is whether an entry has a password. Its connection is for nothing else: it has the entry's rights afterwards.
//   - auth.ErrWrong
//   - another error if the server does not say
func (s *Server) bind(ctx context.Context, dn, password string) error {
	c, err := s.pool.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	err = c.do(ctx, func(c *ldap.Conn) error { return c.Bind(dn, password) })
	for _, code := range refusals() {
		if ldap.IsErrorWithCode(err, code) {
			return auth.ErrWrong
		}
	}
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// refusals are answers to a bind that say no to the entry: it has another password or none, is locked, or gone.
func refusals() []uint16 {
	return []uint16{
		ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultConstraintViolation,
		ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultNoSuchObject,
	}
}

// requestID is the id of the request for which somebody is looked for, as the label that whoever answers it has set.
func requestID(ctx context.Context) string {
	id, _ := pprof.Label(ctx, "request_id")
	return id
}
