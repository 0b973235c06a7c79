package fsm

import (
	"fmt"
	"maps"
	"slices"
)

// CheckUsed compares what a repository is said to have with what is in it, a line for what does not fit. It reads all
// links and manifests of the repository: as Check, it is for no request.
func (v View) CheckUsed(repository string) (all []string) {
	r, exists := v.repository(repository)
	if !exists {
		return nil
	}
	want := repositoryRecord{Store: r.Store}
	for key, value := range v.scan(links, within(repository), nil) {
		l := mustDecode[linkRecord](value)
		_, d := cutName(key)
		b, _ := v.blob(l.Store, Digest(d))
		want.countLink(l.Store, 1, b.Size)
	}
	for _, value := range v.scan(manifests, within(repository), nil) {
		want.countManifest(1, mustDecode[manifestRecord](value).inState())
	}
	if want.Bytes != r.Bytes || want.InState != r.InState {
		all = append(all, fmt.Sprintf("repository %s is said to have %d bytes, %d of them in manifests, and has %d and %d",
			repository, r.Bytes, r.InState, want.Bytes, want.InState))
	}
	if !slices.Equal(want.Elsewhere, r.Elsewhere) {
		all = append(all, fmt.Sprintf("repository %s is said to have in other stores %+v and has %+v", repository, r.Elsewhere, want.Elsewhere))
	}
	return all
}

// CheckUsedBelow compares what is said of the prefixes of names with what their repositories are said to have, a line
// for each that does not fit. It reads the records of all repositories.
func (v View) CheckUsedBelow() []string {
	_, findings := v.checkUsedBelow()
	return findings
}

func (r reader) checkUsedBelow() (prefixes int, findings []string) {
	want := map[string]Used{}
	for name, value := range r.scan(repositories, nil, nil) {
		for prefix := range above(string(name)) {
			want[prefix] = want[prefix].plus(mustDecode[repositoryRecord](value).used(true))
		}
	}
	for _, prefix := range slices.Sorted(maps.Keys(want)) {
		if have := r.usedBelow(prefix); have != want[prefix] {
			findings = append(findings, fmt.Sprintf("below %q there are said to be %d repositories with %d bytes, and there are %d with %d",
				prefix, have.Repositories, have.Bytes, want[prefix].Repositories, want[prefix].Bytes))
		}
	}
	return len(want), findings
}

// used checks what repositories and prefixes are said to have.
func (c *checker) used() {
	for name := range c.v.scan(repositories, nil, nil) {
		for _, line := range c.v.CheckUsed(string(name)) {
			c.found("%s", line)
		}
	}
	prefixes, findings := c.v.checkUsedBelow()
	for _, line := range findings {
		c.found("%s", line)
	}
	c.expected[below] = prefixes
	c.expected[quotas] = int(c.v.limits().Quotas) //nolint:gosec // at most maxQuotas
}
