package api

import (
	"net/http"

	spec "github.com/opencontainers/distribution-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/fsm"
)

// listTags lists the tags of a repository in the order of their bytes (end-8).
func (g *Registry) listTags(w *answer, r *http.Request, q request) error {
	p, err := pageOf(r)
	if err != nil {
		return err
	}
	list := spec.TagList{Name: q.repository, Tags: []string{}}
	err = g.readList(w, r, func(v fsm.View) (int, error) {
		if _, err := v.Repository(q.repository); err != nil {
			return 0, err
		}
		for _, t := range v.Tags(q.repository, p.last, p.n+1) {
			list.Tags = append(list.Tags, t.Name)
		}
		return len(list.Tags), nil
	})
	if err != nil {
		return err
	}
	list.Tags = cut(w, r, p, list.Tags)
	return writeJSON(w, "application/json", list)
}

// listRepositories lists the repositories that have a manifest.
func (g *Registry) listRepositories(w *answer, r *http.Request, _ request) error {
	p, err := pageOf(r)
	if err != nil {
		return err
	}
	list := spec.RepositoryList{Repositories: []string{}}
	err = g.readList(w, r, func(v fsm.View) (int, error) {
		list.Repositories = append(list.Repositories, readable(w.caller, p.last, p.n+1, v.Catalog)...)
		return len(list.Repositories), nil
	})
	if err != nil {
		return err
	}
	list.Repositories = cut(w, r, p, list.Repositories)
	return writeJSON(w, "application/json", list)
}

// cut takes the one off that was read too many, and says where to go on. A page of none leads nowhere.
func cut(w *answer, r *http.Request, p page, names []string) []string {
	if len(names) <= p.n {
		return names
	}
	names = names[:p.n]
	if p.n > 0 {
		linkNext(w, r, p.n, names[p.n-1])
	}
	return names
}
