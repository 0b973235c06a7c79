package fsm_test

import (
	"strings"

	"github.com/seed-16d79997/zot/fsm"
)

// usedAt is what the repository that is called so and those below it have, by going through all of them.
func (m *model) usedAt(prefix string) (used fsm.Used) {
	for name := range m.repos {
		if prefix != "" && name != prefix && !strings.HasPrefix(name, prefix+"/") {
			continue
		}
		used = fsm.Used{Bytes: used.Bytes + m.bytesOf(name), Repositories: used.Repositories + 1}
	}
	return used
}

// fits says what speaks against so many bytes more in a repository.
func (m *model) fits(name string, bytes int64) *fsm.Refusal {
	if m.repos[name] == nil && m.maxRepos > 0 && int64(len(m.repos)) >= m.maxRepos {
		return fsm.ErrTooManyRepositories
	}
	for prefix, quota := range m.quotas {
		above := prefix == "" || prefix == name || strings.HasPrefix(name, prefix+"/")
		if above && bytes > 0 && m.usedAt(prefix).Bytes+bytes > quota {
			return fsm.ErrQuotaExceeded
		}
	}
	return nil
}

// fitsBlob says what speaks against a blob in a repository that may not have it yet.
func (m *model) fitsBlob(name string, d fsm.Digest, size int64) *fsm.Refusal {
	if r := m.repos[name]; r != nil {
		if _, recorded := r.links[d]; recorded {
			return nil
		}
	}
	return m.fits(name, size)
}

func (m *model) setLimits(c fsm.SetLimits) (fsm.None, *fsm.Refusal) {
	m.maxRepos, m.quotas = c.MaxRepositories, map[string]int64{}
	for _, q := range c.Quotas {
		m.quotas[q.Prefix] = q.Bytes
	}
	return fsm.None{}, nil
}

func (m *model) setReadOnly(c fsm.SetReadOnly) (fsm.None, *fsm.Refusal) {
	switch {
	case !c.On:
		m.readOnly = nil
	case m.readOnly == nil:
		m.readOnly = &fsm.ReadOnly{Since: m.date, Reason: c.Reason}
	default:
		m.readOnly = &fsm.ReadOnly{Since: m.readOnly.Since, Reason: c.Reason}
	}
	return fsm.None{}, nil
}

// setLimits makes up limits about as tight as what is there, mostly none.
func (g *generator) setLimits() operation {
	var c fsm.SetLimits
	if chance(g.r, 30) {
		c.MaxRepositories = int64(between(g.r, 1, len(g.u.repositories)))
	}
	for _, prefix := range g.u.prefixes {
		if chance(g.r, 15) {
			c.Quotas = append(c.Quotas, fsm.Quota{Prefix: prefix, Bytes: max(1, g.m.usedAt(prefix).Bytes+int64(between(g.r, -50, 400)))})
		}
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.setLimits(c) }))
}

func (g *generator) setReadOnly() operation {
	c := fsm.SetReadOnly{On: (g.m.readOnly == nil) != chance(g.r, 20)}
	if c.On {
		c.Reason = pick(g.r, []string{"", "a new disk"})
	}
	return g.must(operationOf(c, func(m *model) (fsm.None, *fsm.Refusal) { return m.setReadOnly(c) }))
}

// bytesOf is what a repository has.
func (m *model) bytesOf(name string) (bytes int64) {
	for d := range m.repos[name].links {
		bytes += m.blobOf(name, d).size
	}
	for _, man := range m.repos[name].manifests {
		bytes += int64(len(man.put.Body))
	}
	return bytes
}
