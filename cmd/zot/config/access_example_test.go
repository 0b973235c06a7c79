package config_test

import (
	"testing"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// The example that docs/access.md begins with says what that page says of it.
func TestExampleOfAccess(t *testing.T) {
	t.Parallel()
	c, notes, err := config.Load("../../../deploy/examples/access.json")
	if err != nil || len(notes) > 0 {
		t.Fatalf("%v, %v", err, notes)
	}
	a := c.HTTP.Auth
	rules, err := access.Compile(*a.Access)
	if err != nil || a.Htpasswd == "" || !a.APIKeys {
		t.Fatalf("%+v, %v", a, err)
	}
	all := access.Read | access.Create | access.Update | access.Delete
	for who, may := range map[string]map[string]access.Action{
		"alice": {"public/app": all, "team/app": all},
		"bob":   {"public/app": access.Read, "team/app": access.Read},
		"":      {"public/app": access.Read, "team/app": 0},
	} {
		for repository, want := range may {
			for _, do := range []access.Action{access.Read, access.Create, access.Update, access.Delete} {
				if got := rules.May(access.Identity{Name: who}, do, repository); got != (want&do != 0) {
					t.Errorf("%q may do %v to %s: %t", who, do, repository, got)
				}
			}
		}
	}
}

// Who begins with it and has no file of passwords yet is told how to make one.
func TestPasswordsThatAreNotThere(t *testing.T) {
	t.Parallel()
	const want = "http.auth.htpasswd.path: open /nowhere/htpasswd: no such file or directory; make it, a line NAME:HASH for each user, by htpasswd -B or openssl passwd -6"
	_, _, err := config.ParseWithFiles("c.json", []byte(`{"storage": {"rootDirectory": "`+t.TempDir()+`"}, "http": {"auth": {"htpasswd": {"path": "/nowhere/htpasswd"}}}}`))
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
