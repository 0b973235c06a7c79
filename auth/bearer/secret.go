package bearer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/go-hclog"
)

// Secret says where a token service has put its keys: into a secret of AWS Secrets Manager, which is JSON and has, by the id
// that tokens call it, each key in PEM or as a JWKS with one key.
type Secret struct {
	Region string
	Name   string // or ARN
	// Refresh is how long the keys are believed before the secret is asked for again.
	Refresh time.Duration
}

const (
	secretTimeout = 5 * time.Second  // of a request for it, with those that repeat it
	secretPause   = 10 * time.Second // between two: whoever makes up ids of keys has it asked for no more often
	// secretStale is how much longer than Secret.Refresh the keys are believed while nobody says what they are now: one that
	// was withdrawn may be among them.
	secretStale = time.Hour
)

// secretKeys are the keys in a Secret, which is asked for when the first token comes, and again when it has to be. Who waits
// for that are the tokens that need it, and of those that do not, one.
type secretKeys struct {
	config Secret
	fetch  func(ctx context.Context) (text string, err error) // what it returns is for the log
	closed func()
	log    hclog.Logger

	mu     sync.Mutex
	keys   map[string]*key // by their ids
	since  time.Time       // they were so; zero: they are not known
	asked  time.Time       // for them, the last time
	failed error           // why they were not to be had then
	slips  string          // what was wrong with some of them, as it was logged
	asking chan struct{}   // closed when the request that is under way has ended; nil: there is none
}

func openSecret(c Secret, log hclog.Logger) (*secretKeys, error) {
	s := &secretKeys{config: c, log: log}
	var err error
	s.fetch, s.closed, err = newSecretsManager(c)
	return s, err
}

func (s *secretKeys) close() { s.closed() }

// reload does nothing: there is no file.
func (*secretKeys) reload() (bool, error) { return false, nil }

// of is for keys.
func (s *secretKeys) of(ctx context.Context, id string) (*key, error) {
	if id == "" {
		return nil, fmt.Errorf("%w: it does not name its key", ErrInvalid)
	}
	s.mu.Lock()
	age := time.Since(s.since)
	k, fresh := s.known(id), age < s.config.Refresh
	pause := secretPause
	if !fresh {
		pause = min(pause, s.config.Refresh)
	}
	done, due := s.asking, s.asking == nil && time.Since(s.asked) >= pause
	if k != nil && fresh {
		due = false
	}
	if due {
		s.asking, s.asked = make(chan struct{}), time.Now()
	}
	spared := k != nil && (fresh || s.failed != nil) // who has a key does not wait for one who may not answer again
	s.mu.Unlock()
	switch {
	case due:
		s.ask(ctx)
	case done != nil && !spared:
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch k := s.known(id); {
	case k != nil:
		return k, nil
	case s.failed != nil: // there may be a key that would do
		return nil, fmt.Errorf("ask for the keys of the token service: %w", s.failed)
	}
	return nil, fmt.Errorf("%w: the token service has no key of that id", ErrInvalid)
}

// known is a key that is believed, or nil. The caller holds the lock.
func (s *secretKeys) known(id string) *key {
	if time.Since(s.since)-secretStale >= s.config.Refresh {
		return nil
	}
	return s.keys[id]
}

// ask reads the secret. It is of use to all that wait, so it goes on when who asks has gone.
func (s *secretKeys) ask(ctx context.Context) {
	var all map[string]*key
	var slips []string
	err := errors.New("the secret was not read")
	defer func() { s.took(all, slips, err) }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), secretTimeout)
	defer cancel()
	text, err := s.fetch(ctx)
	if err == nil {
		all, slips, err = parseSecret(text)
	}
}

// took ends a request for the secret, and logs what has changed since the one before.
func (s *secretKeys) took(all map[string]*key, slips []string, err error) {
	s.mu.Lock()
	before, said := s.failed, s.slips
	s.failed, s.slips = err, strings.Join(slips, "; ")
	if err == nil {
		s.keys, s.since = all, s.asked
	}
	now := s.slips
	close(s.asking)
	s.asking = nil
	s.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		s.log.Warn("keys of the token service are not to be had, what was read before holds for an hour", "secret", s.config.Name, "error", err)
	case err == nil && before != nil:
		s.log.Info("keys of the token service are to be had again", "secret", s.config.Name)
	}
	if now != "" && now != said {
		s.log.Warn("keys of the token service are left out", "secret", s.config.Name, "why", now)
	}
}

// parseSecret reads the keys in a secret, and what is wrong with those that are left out. It fails for what has entries, but
// no key. Neither text quotes the secret.
func parseSecret(text string) (all map[string]*key, slips []string, err error) {
	entries := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(text), &entries) != nil || entries == nil {
		return nil, nil, errors.New("the secret is no JSON object of ids and keys")
	}
	all = map[string]*key{}
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		entry := ""
		err := json.Unmarshal(entries[id], &entry)
		if err != nil {
			err = errors.New("is no text")
		} else {
			all[id], err = parseEntry(entry)
		}
		if err != nil {
			delete(all, id)
			slips = append(slips, fmt.Sprintf("%q %v", id, err))
		}
	}
	if len(all) == 0 && len(slips) > 0 {
		return nil, slips, errors.New("the secret holds no key that can be used")
	}
	return all, slips, nil
}

// parseEntry reads a key in PEM, or as a JWKS.
func parseEntry(text string) (*key, error) {
	switch text = strings.TrimSpace(text); {
	case strings.Contains(text, "PRIVATE KEY-----"):
		return nil, errPrivate
	case strings.HasPrefix(text, "{"):
		return parseSet([]byte(text))
	}
	return parseKey([]byte(text))
}

var errPrivate = errors.New("holds a private key: put the public one there, and make new ones, for whoever has read it can make tokens")

// parseSet reads a JWKS with one key. What that says of its use narrows what it is believed for.
func parseSet(data []byte) (*key, error) {
	set := jose.JSONWebKeySet{}
	if json.Unmarshal(data, &set) != nil {
		return nil, errors.New("is no JWKS of keys that are known")
	}
	if len(set.Keys) != 1 {
		return nil, fmt.Errorf("has %d keys in its JWKS, and not one", len(set.Keys))
	}
	one := set.Keys[0]
	switch {
	case !one.IsPublic():
		return nil, errPrivate
	case one.Use != "" && one.Use != "sig":
		return nil, fmt.Errorf("is for %q, and not for signatures", one.Use)
	}
	k := &key{public: one.Key}
	var err error
	if k.algorithms, err = algorithmsOf(one.Key); err != nil || one.Algorithm == "" {
		return k, err
	}
	k.algorithms = slices.DeleteFunc(k.algorithms, func(a jose.SignatureAlgorithm) bool { return string(a) != one.Algorithm })
	if len(k.algorithms) == 0 {
		return nil, fmt.Errorf("is for %q, which a key of its kind cannot sign with", one.Algorithm)
	}
	return k, nil
}
